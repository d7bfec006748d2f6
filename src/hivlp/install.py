"""How the packages of an extra are installed; HiVLP itself is on no package index, so no line names it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_PROJECT = re.compile(r'^name = "hivlp"$', re.MULTILINE)


def install_line(extra: str, package: str) -> str:
    """A command that installs an extra, for any directory and any shell.

    Args:
        extra: a group of optional packages in pyproject.toml, such as ``serve``.
        package: the package of it that is missing, for an installation that does not know its extras.

    Returns:
        Where HiVLP runs from a copy of its repository, ``pip install -e "COPY[serve]"``; otherwise
        ``pip install`` and the packages of the extra.
    """
    root = _repository()
    if root is not None:
        return f'pip install -e "{root}[{extra}]"'
    return " ".join(["pip install", *(f'"{wanted}"' for wanted in _packages(extra) or [package])])


def missing(extra: str) -> list[str]:
    """The packages of an extra that are not installed; those for some systems only are not looked for."""
    from importlib import metadata  # slow to load, and seldom needed

    lacking = list[str]()
    for wanted in _packages(extra):
        name = re.split(r"[\s<>=!~\[;]", wanted, maxsplit=1)[0]
        if ";" not in wanted and not _is_installed(metadata, name):
            lacking.append(name)
    return lacking


def _is_installed(metadata: Any, name: str) -> bool:
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False


def _repository() -> Path | None:
    """The copy of the repository that this file is in; None where the package was installed without it."""
    root = Path(__file__).resolve().parents[2]
    try:
        return root if _PROJECT.search((root / "pyproject.toml").read_text(encoding="utf-8")) else None
    except OSError:
        return None


def _packages(extra: str) -> list[str]:
    """The packages of an extra with their versions and conditions, as the installed package names them."""
    from importlib import metadata  # slow to load, and seldom needed

    try:
        wanted = metadata.requires("hivlp") or []
    except metadata.PackageNotFoundError:
        return []
    found = list[str]()
    of_extra = re.compile(rf"""(?:\s+and\s+)?\(?extra == ["']{re.escape(extra)}["']\)?""")
    for requirement in wanted:
        name, _, condition = requirement.partition(";")
        left, matches = of_extra.subn("", condition.strip())
        if matches:
            left = left.strip().replace('"', "'")
            found.append(f"{name.strip()}; {left}" if left else name.strip())
    return found
