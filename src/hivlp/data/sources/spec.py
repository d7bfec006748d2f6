"""What a person writes for a source: a path and, behind ``?``, options such as ``image=COLUMN``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from hivlp.errors import DataError
from hivlp.messages import suggestion

_OPTION = re.compile(r"\w+=[^?]*")
COLUMN_OPTIONS = ("image", "caption", "id", "split")
_OPTIONS = ("held_out", "report", "image_root", *COLUMN_OPTIONS)
_ROOT = re.compile(r"(.+)[?&]image_root=([^?&]*)")


@dataclass(frozen=True)
class Spec:
    """A source as it was written.

    Attributes:
        path: without the options.
        held_out: the share of the pictures that become ``val``, in (0, 1); None for no option.
        report: the share of ``val`` that becomes ``report``, in (0, 1); None for no option.
        image_root: the folder that paths in a table start from; None for that of the table.
        columns: what a column is used for -> its names; only ``caption`` may have several.
    """

    path: str
    held_out: float | None
    report: float | None
    image_root: str | None
    columns: Mapping[str, tuple[str, ...]]


def parse_spec(text: str) -> Spec:
    """The parts of ``SOURCE?held_out=SHARE&image=COLUMN&caption=COLUMN&caption=COLUMN``.

    A path that exists is taken whole. In names, ``%26`` stands for ``&``, and so on as in a URL.

    Raises:
        DataError: an option of an existing path is unknown, empty or given twice, or the share is invalid.
    """
    path, mark, behind = text.rpartition("?")
    if not mark or not path or Path(text).exists():
        return Spec(text, None, None, None, {})
    parts = [part.partition("=") for part in behind.split("&")]
    names = [name for name, _, _ in parts]
    if not all(name in _OPTIONS for name in names) or not _OPTION.fullmatch(behind):
        if Path(path).exists():
            wrong = next((name for name in names if name not in _OPTIONS), behind)
            raise DataError(
                f"{path} exists, but the option {behind!r} after its ? is unknown; "
                f"{suggestion(wrong, _OPTIONS)} as in ?held_out=0.1 or ?image=COLUMN&caption=COLUMN"
            )
        return Spec(text, None, None, None, {})
    values: dict[str, list[str]] = {}
    for name, _, value in parts:
        values.setdefault(name, []).append(unquote(value).strip())
    for name, given in values.items():
        if name in COLUMN_OPTIONS and not all(given):
            raise DataError(f"the option {name}= of {text!r} is empty; name a column, such as {name}=COLUMN")
        if len(given) > 1 and name != "caption":
            raise DataError(f"{text!r} has the option {name} {len(given)} times; give it once")
    held_out, report = (_share(text, name, values.pop(name, None)) for name in ("held_out", "report"))
    (root,) = values.pop("image_root", [None])
    columns = {name: tuple(given) for name, given in values.items()}
    return Spec(path, held_out, report, root, columns)


def with_image_root(spec: str, root: str) -> str:
    """A source whose paths start from a folder: ``t.csv?image_root=FOLDER``."""
    return f"{spec}{'&' if '?' in spec else '?'}image_root={quote(root, safe='/:')}"


def split_image_root(spec: str) -> tuple[str, str | None]:
    """What `with_image_root` was given; None where a source names no such folder."""
    match = _ROOT.fullmatch(spec)
    return (spec, None) if match is None else (match[1], unquote(match[2]))


def with_columns(path: str, columns: Iterable[str] = ("image", "caption")) -> str:
    """How the columns of a table are named, for messages: ``t.csv?image=COLUMN&caption=COLUMN``."""
    return f"{path}?{'&'.join(f'{quote(name)}=COLUMN' for name in columns)}"


def _share(text: str, name: str, values: list[str] | None) -> float | None:
    if values is None:
        return None
    try:
        share = float(values[0])
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        usual = "held_out=0.1" if name == "held_out" else "report=0.5"
        raise DataError(f"{text!r} holds back {values[0]!r}; give a share between 0 and 1, such as {usual}")
    return share
