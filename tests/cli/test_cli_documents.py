"""The table of JSON documents in docs/cli.md says all of their fields, and no others."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from fakes import ColourEncoder, gallery
from ran import Ran

Hivlp = Callable[..., Ran]
PAGE = Path(__file__).parents[2] / "docs/cli.md"


def documented(command: str) -> set[str]:
    """The fields of a row of the table; what stands in brackets explains them."""
    (cell,) = re.findall(rf"^\| {re.escape(command)} \| (.*) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    return set(re.findall(r"`([a-z_]+)`", re.sub(r"\([^)]*\)", "", cell)))


def test_the_documents_are_as_the_page_says(tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp) -> None:
    index, pictures = tmp_path / "x.hivlp", gallery(tmp_path / "pictures")
    sheet = tmp_path / "hits.png"
    commands = {
        "`index`": ("index", pictures, "--out", index, "--prune"),
        "`search`": ("search", index, "red", "--sheet", sheet),
        "`info` of an index": ("info", index),
        "`info` of a model": ("info", "mini"),
        "`delete`": ("delete", index, "red.png"),
        "`compact`": ("compact", index),
        "`verify`": ("verify", index),
        "`demo`": ("demo", "--scenes", "--out", tmp_path / "demo", "--count", "8"),
    }
    explained = {"`verify`": {"null"}, "`demo`": {"query", "drawn_as", "found_at_rank", "search", "searches"}}
    for command, arguments in commands.items():
        fields = set(hivlp(*arguments, "--json").document)
        assert fields - {"searches"} == documented(command) - explained.get(command, set()), command


def test_the_documents_of_an_exported_index(tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp) -> None:
    pytest.importorskip("pyarrow")
    hivlp("index", gallery(tmp_path / "pictures"), "--out", tmp_path / "x.hivlp")
    ran = hivlp("export", tmp_path / "x.hivlp", "--out", tmp_path / "out", "--json")
    assert set(ran.document) == documented("`export` of an index")
    ran = hivlp("import", tmp_path / "out", "--out", tmp_path / "y.hivlp", "--json")
    assert set(ran.document) == documented("`import`")
