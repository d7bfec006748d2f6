"""What the command line says of searches that can find little or nothing, beside an exit code of 0."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fakes import ColourEncoder
from ran import Ran

Hivlp = Callable[..., Ran]


def test_an_index_without_texts_says_how_to_add_some(photos: Path, hivlp: Hivlp) -> None:
    ran = hivlp("search", photos, "red", "--kind", "text", "--json")
    (note,) = ran.document["notes"]
    assert (ran.code, ran.document["hits"]) == (0, [])
    assert note.startswith("the index has no texts; add texts with hivlp index --texts, or captions with")
    assert "filter" not in note
    hivlp("index", photos.parent / "pictures", "--out", photos, "--captions")
    assert hivlp("search", photos, "red", "--kind", "text", "-k", "20", "--json").document["notes"] == [
        "the index has only 12 texts to find"
    ]


def test_an_index_of_texts_only_says_how_to_add_pictures(
    tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp
) -> None:
    (tmp_path / "notes.txt").write_text("red\n", encoding="utf-8")
    hivlp("index", tmp_path / "notes.txt", "--out", tmp_path / "x.hivlp", "--texts")
    ran = hivlp("search", tmp_path / "x.hivlp", "red", "--kind", "image", "--json")
    assert ran.document["notes"] == ["the index has no images; add images with hivlp index (Index.add)"]
    ran = hivlp("search", tmp_path / "x.hivlp", "red", "--kind", "text", "--json")
    assert ran.document["notes"] == ["the index has only 1 text to find"]


def test_fewer_candidates_than_hits_are_said(photos: Path, hivlp: Hivlp) -> None:
    ran = hivlp("search", photos, "red", "--candidates", "3", "-k", "5", "--json")
    assert len(ran.document["hits"]) == 3
    assert ran.document["notes"] == ["candidates=3 is less than k=5 and limits the hits; raise candidates"]
    assert not hivlp("search", photos, "red", "--candidates", "3", "-k", "3", "--json").document["notes"]


@pytest.mark.parametrize("options", [(), ("--kind", "text"), ("--where", "width > 3")])
def test_an_empty_index_says_that_it_is_empty(photos: Path, hivlp: Hivlp, options: tuple[str, ...]) -> None:
    hivlp("delete", photos, *(path.name for path in (photos.parent / "pictures").glob("*.png")))
    ran = hivlp("search", photos, "red", *options, "--json")
    assert (ran.code, ran.document["hits"]) == (0, [])
    assert ran.document["notes"] == ["the index is empty; add images with hivlp index (Index.add)"]
    assert "the index is empty" in ran.err
