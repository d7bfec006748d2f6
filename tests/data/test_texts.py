"""Texts as items: from lists, files and captions, and the four ways of searching."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fakes import ColourEncoder, gallery, painted, png
from hivlp.data.sources import open_texts
from hivlp.errors import DataError, QueryError
from hivlp.retriever import Index
from hivlp.search.query import Part
from hivlp.types import Item, Sample
from ran import Ran

Hivlp = Callable[..., Ran]


@pytest.fixture
def index(tmp_path: Path, colours: ColourEncoder) -> Iterator[Index]:
    with Index.create(tmp_path / "x.hivlp", "mini") as made:
        yield made


def items(index: Index) -> dict[str, Item]:
    found = index.search("anything", k=1000)
    return {item.id: item for item in index.store.fetch([hit.id for hit in found]) if item is not None}


def test_texts_are_items_with_their_words_and_sums(index: Index) -> None:
    report = index.add_texts(["a red thing", "a  blue\tthing"], ["r", "b"], [{"n": 1}, {"n": 2}])
    assert (report.indexed, report.skipped, report.failed) == (2, 0, [])
    stored = items(index)
    assert stored["b"] == Item(
        id="b",
        uri="b",
        kind="text",
        caption="a blue thing",
        meta={"n": 2},
        sha256=hashlib.sha256(b"a blue thing").hexdigest(),
    )


def test_a_text_without_id_is_named_by_its_content(index: Index, colours: ColourEncoder) -> None:
    assert index.add_texts(["red", "blue"]).indexed == 2
    names = set(items(index))
    seen = list(colours.texts_seen)
    again = index.add_texts(iter(["blue", "red", "green", "green"]))
    assert (again.indexed, again.skipped, len(again.failed)) == (1, 2, 1)
    assert names < set(items(index))
    assert [text for text in colours.texts_seen if text not in ("anything", *seen)] == ["green"]


def test_a_changed_text_replaces_and_new_metadata_describes(index: Index, colours: ColourEncoder) -> None:
    index.add_texts(["red", "blue"], ["a", "b"])
    colours.texts_seen.clear()
    report = index.add_texts(["green", "blue"], ["a", "b"], [{}, {"new": True}])
    assert (report.indexed, report.replaced, report.skipped) == (1, 1, 1)
    assert colours.texts_seen == ["green"]
    assert [items(index)[name].caption for name in "ab"] == ["green", "blue"]
    assert items(index)["b"].meta == {"new": True}
    assert index.add_texts(["pink", "pink"], ["a", "b"], resume=True).skipped == 2
    assert items(index)["a"].caption == "green"


def test_an_interrupt_keeps_the_batches_before_it(index: Index) -> None:
    texts = [f"red {n}" for n in range(10)]

    def stop(line: str, done: int, total: int | None) -> None:
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index.add_texts(texts, batch_size=3, progress=stop)
    assert len(index) == 6
    report = index.add_texts(texts, batch_size=3)
    assert (report.indexed, report.skipped) == (4, 6)


def test_wrong_lists_of_texts_have_messages(index: Index) -> None:
    with pytest.raises(QueryError, match=r"'red and blue' is a single text.*\[text\]"):
        index.add_texts("red and blue")
    with pytest.raises(QueryError, match="2 texts and 1 ids were passed; pass ids of the same length"):
        index.add_texts(["a", "b"], ["x"])
    with pytest.raises(QueryError, match="2 texts and 3 meta"):
        index.add_texts(["a", "b"], None, [{}, {}, {}])
    report = index.add_texts(["", " \0 ", "red"])
    assert (report.indexed, len(report.failed)) == (1, 2)
    assert "empty text" in report.failed[0].error


def test_texts_that_are_cut_are_counted(index: Index) -> None:
    assert index.add_texts(["red", "red " * 30, "blue " * 30]).notes == [
        "2 texts are longer than the model reads; the rest of each is ignored"
    ]


def test_words_and_pictures_find_both_kinds(index: Index, tmp_path: Path) -> None:
    index.add(gallery(tmp_path / "pictures", "red", "blue", "green"))
    index.add_texts(["red", "blue", "green"], ["t-red", "t-blue", "t-green"])
    for found in (
        index.search("red", k=2),
        index.search(png("red"), k=2),
        index.search_batch(["red"], k=2)[0],
    ):
        assert {(hit.id, hit.kind) for hit in found} == {("red.png", "image"), ("t-red", "text")}
    for kind, name in (("image", "blue.png"), ("text", "t-blue")):
        assert index.search("blue", k=1, kind=kind)[0].id == name
        assert index.search(png("blue"), k=1, kind=kind)[0].id == name
        assert index.search("blue", k=9, kind=kind).notes == (f"the index has only 3 {kind}s to find",)
    assert [hit.id for hit in index.search("red", kind="text", where="caption <> 'red'", k=1)] != ["t-red"]


def test_more_like_an_item_leaves_itself_out(index: Index, tmp_path: Path) -> None:
    index.add(gallery(tmp_path / "pictures", "red", "blue", "red-blue"))
    index.add_texts(["red", "blue"], ["t-red", "t-blue"])
    seen = index.encoder.pictures_seen, list(index.encoder.texts_seen)  # type: ignore[attr-defined]
    hits = index.search(Part(item="red.png"), k=2)
    assert [hit.rank for hit in hits] == [1, 2]
    assert [hit.id for hit in hits] == ["t-red", "red-blue.png"]
    assert [hit.id for hit in index.search(Part(item="t-blue"), k=1, kind="image")] == ["blue.png"]
    assert {hit.id for hit in index.search(Part(item="red.png"), k=10)} == {
        "t-red",
        "t-blue",
        "blue.png",
        "red-blue.png",
    }
    assert len(index.search(Part(item="red.png"), k=3, min_score=0.99)) == 1
    assert (index.encoder.pictures_seen, index.encoder.texts_seen) == seen  # type: ignore[attr-defined]
    with pytest.raises(QueryError, match="no item 'gone'"):
        index.search(Part(item="gone"))
    with pytest.raises(QueryError, match="k=0"):
        index.search(Part(item="red.png"), k=0)


def captioned(**captions: tuple[str, ...]) -> list[Sample]:
    return [Sample(id=c, uri=f"/p/{c}", image=png(c), captions=texts) for c, texts in captions.items()]


def test_captions_become_items_and_follow_their_picture(index: Index) -> None:
    report = index.add(captioned(red=("red one", "red two", "red three"), blue=()), captions=True)
    assert (report.indexed, report.captions) == (2, 3)
    assert report.as_dict()["captions"] == 3
    stored = items(index)
    assert stored["red#2"].meta == {"of": "red"}
    assert (stored["red#2"].kind, stored["red#2"].caption) == ("text", "red three")
    again = index.add(captioned(red=("red one", "a tomato"), blue=("sky",)), captions=True)
    assert (again.indexed, again.skipped, again.captions) == (0, 2, 2)
    stored = items(index)
    assert {name: item.caption for name, item in stored.items() if item.kind == "text"} == {
        "red#0": "red one",
        "red#1": "a tomato",
        "blue#0": "sky",
    }
    assert index.add(captioned(red=("red one", "a tomato"), blue=("sky",)), captions=True).captions == 0
    assert len(index.search("red", where="of = 'red'")) == 2


def test_captions_missing_after_an_interrupt_are_added_by_the_next_run(index: Index) -> None:
    samples = captioned(red=("one",), blue=("two",))
    index.add(samples)
    assert index.add(samples, captions=True).captions == 2


def test_captions_follow_a_picture_that_was_named_apart(tmp_path: Path, index: Index) -> None:
    for folder, colour in (("first", "red"), ("second", "blue")):
        (tmp_path / folder).mkdir()
        painted(colour).save(tmp_path / folder / "a.png")
        (tmp_path / folder / "a.txt").write_text(f"{colour}\n", "utf-8")
        index.add(tmp_path / folder, captions=True)
    texts = {item.caption: item.meta["of"] for item in items(index).values() if item.kind == "text"}
    assert texts == {"red": "a.png", "blue": str(tmp_path / "second" / "a.png")}


def test_a_text_never_takes_the_place_of_a_picture(index: Index) -> None:
    index.add(captioned(red=()))
    report = index.add_texts(["red"], ["red"])
    assert report.indexed == 0
    assert "has the id 'red' of an item of kind image; rename it" in report.failed[0].error
    index.add_texts(["blue"], ["blue"])
    report = index.add(captioned(blue=()))
    assert report.indexed == 1, "a picture is named by its whole place then"
    assert {item.kind for item in items(index).values()} == {"image", "text"}
    assert "/p/blue" in items(index)


# Files of texts.


def read(path: Path, **options: Any) -> list[tuple[str, str, dict[str, Any]]]:
    return [(s.id, s.captions[0], dict(s.meta)) for s in open_texts(path, **options)]


def test_a_text_file_has_one_a_line(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes("\ufeffone  dog\r\n\r\n[1] two\nthree\u2028四".encode())
    assert read(path) == [
        ("notes.txt#1", "one dog", {}),
        ("notes.txt#3", "[1] two", {}),
        ("notes.txt#4", "three 四", {}),
    ]
    assert next(iter(open_texts(path))).uri == f"{path}#1"


@pytest.mark.parametrize("form", ["tsv", "csv", "jsonl", "parquet"])
def test_a_table_has_a_text_column(tmp_path: Path, form: str) -> None:
    rows = [
        {"id": "a", "Text": "one", "caption": "c", "price": "3", "split": "train"},
        {"id": "", "Text": "two", "caption": "d", "price": "4", "split": "test"},
        {"id": "e", "Text": "", "caption": "e", "price": "5", "split": "test"},
    ]
    path = tmp_path / f"notes.{form}"
    if form == "parquet":
        pyarrow = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(pyarrow.Table.from_pylist(rows), path)
    elif form == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    else:
        mark = "\t" if form == "tsv" else ","
        lines = [list(rows[0]), *(row.values() for row in rows)]
        path.write_text("\n".join(map(mark.join, lines)), "utf-8")
    untyped = form in ("csv", "tsv")  # their numbers are told by how they look
    meta = [
        {"caption": row["caption"], "price": int(row["price"]) if untyped else row["price"]} for row in rows
    ]
    source = open_texts(path)
    assert [(s.id, s.captions, s.split, s.meta) for s in source] == [
        ("a", ("one",), "train", meta[0]),
        (f"notes.{form}#2", ("two",), "test", meta[1]),
    ]
    assert [failure.error for failure in source.failures] == ["the row has no text; fill its text cell"]
    assert read(path, split="test") == [(f"notes.{form}#2", "two", meta[1])]
    with pytest.raises(DataError, match="no split 'val'"):
        open_texts(path, split="val")


def test_a_cell_with_several_texts_gives_one_sample_each(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_text('{"id": "a", "captions": ["one", "two"]}\n', "utf-8")
    assert read(path) == [("a#0", "one", {}), ("a#1", "two", {})]


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("gone.txt", None, "does not exist"),
        ("notes.md", "one", "not a file of texts; such a file ends in .txt .tsv"),
        ("empty.txt", "\n\n", "holds no texts"),
        ("bad.jsonl", "[1]", "holds no texts (.*line 1: the line is a JSON list"),
        ("table.tsv", "a\tb\n1\t2\n", "no column of texts; it has 'a', 'b'. Needed: one of text/caption"),
        ("latin.txt", "собака".encode("cp1251"), "not UTF-8"),
    ],
)
def test_wrong_files_of_texts_have_messages(
    tmp_path: Path, name: str, content: str | bytes | None, words: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=words.replace("(.*", r"\(.*")):
        open_texts(path)


# The command line.


def test_index_and_search_texts(tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp) -> None:
    notes, out = tmp_path / "notes.txt", tmp_path / "x.hivlp"
    notes.write_text("red\nblue\n\ngreen\n", "utf-8")
    document = hivlp("index", notes, "--out", out, "--texts", "--json").document
    assert (document["indexed"], document["items"], document["failed"]) == (3, 3, [])
    again = hivlp("index", notes, "--out", out, "--texts", "--json").document
    assert (again["indexed"], again["skipped"]) == (0, 3)
    assert hivlp("index", gallery(tmp_path / "pictures", "red"), "--out", out).code == 0
    assert hivlp("info", out, "--json").document["kinds"] == {"image": 1, "text": 3}
    hits = hivlp("search", out, "red", "-k", "2", "--json").document["hits"]
    assert {(hit["id"], hit["kind"]) for hit in hits} == {("notes.txt#1", "text"), ("red.png", "image")}
    assert "image" in hivlp("search", out, "red").out
    hits = hivlp("search", out, "--item", "red.png", "--kind", "text", "-k", "1", "--json").document["hits"]
    assert hits[0]["caption"] == "red"
    sheet = hivlp("search", out, "--item", "notes.txt#2", "--sheet", tmp_path / "s.png", "--json")
    assert (tmp_path / "s.png").is_file() and sheet.code == 0


def test_index_captions(tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp) -> None:
    pictures = gallery(tmp_path / "pictures", "red", "blue")
    ran = hivlp("index", pictures, "--out", tmp_path / "x.hivlp", "--captions")
    assert "2 indexed, 2 captions, 0 unchanged" in ran.out
    hits = hivlp("search", tmp_path / "x.hivlp", "red", "--kind", "text", "-k", "1", "--json").document[
        "hits"
    ]
    assert (hits[0]["id"], hits[0]["meta"]) == ("red.png#0", {"of": "red.png"})


@pytest.mark.parametrize("option", ["--captions", "--image-root"])
def test_texts_have_no_pictures(tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp, option: str) -> None:
    more = [option, str(tmp_path)] if option == "--image-root" else [option]
    ran = hivlp("index", tmp_path / "notes.txt", "--out", tmp_path / "x.hivlp", "--texts", *more)
    assert ran.code == 2
    assert f"--texts and {option} exclude each other" in ran.err
    assert not (tmp_path / "x.hivlp").exists()


def test_a_table_of_texts_is_told_the_option(tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp) -> None:
    (tmp_path / "notes.tsv").write_text("text\nred\n", "utf-8")
    ran = hivlp("index", tmp_path / "notes.tsv", "--out", tmp_path / "x.hivlp")
    assert ran.code == 2
    assert "hivlp index --texts" in ran.err
