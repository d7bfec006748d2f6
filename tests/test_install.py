"""Messages on missing packages name a line that works: for the repository, or the packages themselves."""

from __future__ import annotations

import shlex
from importlib import metadata
from pathlib import Path

import pytest

from hivlp import install
from hivlp.errors import MissingExtraError

ROOT = Path(__file__).parents[1]


def test_from_a_copy_of_the_repository_the_copy_is_named() -> None:
    line = install.install_line("serve", "fastapi")
    assert line == f'pip install -e "{ROOT}[serve]"'
    assert (ROOT / "pyproject.toml").is_file()
    assert str(MissingExtraError("fastapi", "serve", "hivlp serve")) == (
        "hivlp serve needs the package 'fastapi', which is not installed. Install it with: " + line
    )


def test_without_a_copy_the_packages_are_named_with_their_conditions(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [
        "numpy>=1.26",
        "torch>=2.4; extra == 'train'",
        'ai-edge-litert>=1.2; (sys_platform != "win32") and extra == "train"',
        "ai-edge-other; sys_platform != 'win32' and extra == 'train'",
        "fastapi>=0.115; extra == 'serve'",
        "trainer; extra == 'trainer'",
    ]
    monkeypatch.setattr(metadata, "requires", lambda name: wanted)
    monkeypatch.setattr(install, "_repository", lambda: None)
    assert shlex.split(install.install_line("train", "torch")) == [
        "pip",
        "install",
        "torch>=2.4",
        "ai-edge-litert>=1.2; (sys_platform != 'win32')",
        "ai-edge-other; sys_platform != 'win32'",
    ]
    assert install.install_line("serve", "fastapi") == 'pip install "fastapi>=0.115"'


def test_an_installation_that_knows_nothing_names_the_missing_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", unknown)
    monkeypatch.setattr(install, "_repository", lambda: None)
    assert install.install_line("parquet", "pyarrow") == 'pip install "pyarrow"'


def test_a_file_of_another_project_is_no_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "lib" / "hivlp"
    folder.mkdir(parents=True)
    monkeypatch.setattr(install, "__file__", str(folder / "install.py"))
    assert install._repository() is None
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "another"\n', encoding="utf-8")
    assert install._repository() is None
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "hivlp"\n', encoding="utf-8")
    assert install._repository() == tmp_path


def test_no_message_and_no_page_names_hivlp_as_a_package_of_an_index() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("**/*.md")]
    sources = [*(ROOT / "src").glob("**/*.py"), *(ROOT / "lab/src").glob("**/*.py")]
    named = [path for path in (*pages, *sources) if "install 'hivlp" in path.read_text(encoding="utf-8")]
    assert not named


def test_missing_names_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [
        "numpy>=1",
        "no-such-package==2",
        "only-elsewhere>=1; sys_platform == 'nowhere'",
        "also_none[x]",
    ]
    monkeypatch.setattr(install, "_packages", lambda extra: wanted)
    assert install.missing("any") == ["no-such-package", "also_none"]
