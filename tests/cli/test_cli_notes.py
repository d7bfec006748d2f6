"""What the command line says of searches that can find little or nothing, beside an exit code of 0."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fakes import ColourEncoder, gallery
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


def test_the_exit_code_is_3_where_nothing_can_be_used(
    tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp
) -> None:
    table = tmp_path / "t.csv"
    table.write_text("image,caption\n" + "".join(f"gone{n}.png,x\n" for n in range(5)), encoding="utf-8")
    ran = hivlp("index", table, "--out", tmp_path / "x.hivlp", "--json")
    assert (ran.code, len(ran.document["failed"])) == (3, 5)
    for number in range(3):
        assert f"gone{number}.png: the file does not exist" in ran.err
    ran = hivlp("eval", "--model", "mini", "--data", table, "--json")
    assert ran.code == 3
    assert "the first of 5 problems" in ran.document["error"] and "and 2 more" in ran.document["error"]
    gallery(tmp_path, "red")
    with table.open("a", encoding="utf-8") as file:
        file.write("red.png,x\n")
    assert hivlp("index", table, "--out", tmp_path / "x.hivlp", "--json").code == 0
    table.write_text("image,caption\nred.png,x\n", encoding="utf-8")
    ran = hivlp("index", table, "--out", tmp_path / "x.hivlp", "--json")
    assert (ran.code, ran.document["skipped"]) == (0, 1), "what is known already is usable"


def test_long_and_equal_captions_are_said(tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp) -> None:
    gallery(tmp_path, "red", "blue", "pink")
    for name in ("red", "pink"):
        (tmp_path / f"{name}.txt").write_text(" ".join(["red"] * 30), encoding="utf-8")
    out = tmp_path / "x.hivlp"
    assert hivlp("index", tmp_path, "--out", out, "--captions", "--json").document["notes"] == [
        "2 captions are longer than the model reads; the rest of each is ignored"
    ]
    ran = hivlp("eval", "--model", "mini", "--data", tmp_path, "--classes", "--json")
    assert ran.document["notes"] == [
        "2 of 3 captions are longer than the model reads; the rest of each is ignored",
        "2 of 3 captions are worded like one of another picture; each of these pictures counts as a right "
        "answer",
    ]
    assert all(note in ran.err for note in ran.document["notes"])
    assert [one["pictures"] for one in ran.document["classes"]] == [2, 1]
    table = hivlp("eval", "--model", "mini", "--data", tmp_path, "--classes").out
    assert "most others taken for" in table and "recognised among 2 classes" in table
