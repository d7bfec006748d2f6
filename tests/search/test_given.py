"""`Index` and what Python code hands over: lists of paths, images from memory, progress, and short reprs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hivlp
from fakes import COLOURS, ColourEncoder, gallery, painted, png
from hivlp.errors import DataError, HivlpError, ImageError, QueryError
from hivlp.retriever import Index
from hivlp.search.query import Part
from hivlp.search.request import OPTIONS
from hivlp.sheets.notebook import MOST
from hivlp.types import Hit, Hits, Sample, Timings


@pytest.fixture
def index(tmp_path: Path, colours: ColourEncoder) -> Iterator[Index]:
    with Index.create(tmp_path / "x.hivlp", "mini") as opened:
        yield opened


def test_a_list_of_paths_is_a_source(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = gallery(tmp_path / "pictures", "red", "blue")
    monkeypatch.chdir(tmp_path)
    report = index.add(["pictures/red.png", folder / "blue.png"])
    assert (report.indexed, report.failed) == (2, [])
    assert index.search("red", k=1)[0].id == "pictures/red.png"
    assert index.search("red", k=1)[0].uri == str(folder / "red.png")
    assert index.add(["pictures/red.png", folder / "blue.png"]).skipped == 2


def test_folders_and_tables_in_a_list_stand_for_what_is_in_them(index: Index, tmp_path: Path) -> None:
    folder, other = gallery(tmp_path / "one", "red", "blue"), gallery(tmp_path / "two", "green")
    table = tmp_path / "pairs.tsv"
    table.write_text("image\tcaption\ntwo/green.png\ta green thing\n", encoding="utf-8")
    report = index.add([folder, str(table), tmp_path / "nowhere.jpg"])
    assert report.indexed == 3
    assert [failure.uri for failure in report.failed] == [str(tmp_path / "nowhere.jpg")]
    assert index.search("green", k=1)[0].caption == "a green thing"
    assert index.add(other / "green.png").indexed + index.add(other / "green.png").skipped >= 1


def test_relative_paths_of_a_list_start_from_the_image_root(index: Index, tmp_path: Path) -> None:
    folder = gallery(tmp_path / "pictures", "red")
    assert index.add(["red.png"], image_root=folder).indexed == 1
    assert index.search("red", k=1)[0].id == "red.png"
    assert index.search("red", k=1)[0].uri == str(folder / "red.png")


@pytest.mark.parametrize(
    "form",
    {
        "array": lambda: np.asarray(painted("orange")),
        "PIL": lambda: painted("orange"),
        "bytes": lambda: png("orange"),
        "file": lambda: BytesIO(png("orange")),
    }.items(),
    ids=lambda form: form[0],
)
def test_images_from_memory_are_indexed_and_searched(
    index: Index, form: tuple[str, Callable[[], Any]]
) -> None:
    make = form[1]
    index.add([np.asarray(painted(colour)) for colour in ("red", "blue")])
    assert index.add([make()]).indexed == 1
    assert index.add([make()]).skipped == 1, "equal pixels are the same item"
    assert index.add(make()).skipped == 1, "a single image needs no list"
    for query in (make(), Part(image=make()), [Part(image=make())]):
        hit = index.search(query, k=1)[0]
        assert hit.id.startswith("image-")
        assert hit.score == pytest.approx(1, abs=1e-3)
    index.add([Sample(id="mine", image=make(), captions=["an orange"])])  # type: ignore[arg-type]
    assert {"mine", hit.id} == {found.id for found in index.search("orange", k=2)}


def test_a_bad_entry_is_a_line_of_the_report(index: Index, tmp_path: Path) -> None:
    report = index.add([painted("red"), None, float("nan"), b"no image", np.zeros((3, 3)), painted("blue")])
    assert report.indexed == 2
    assert {"entry 2", "entry 3", "entry 5"} < {failure.uri for failure in report.failed}
    assert len(report.failed) == 4
    assert {"missing value", "text file", "must be uint8"} <= {
        words
        for words in ("missing value", "text file", "must be uint8")
        for f in report.failed
        if words in f.error
    }


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (5, "is not a source: give a path, or a list of paths"),
        (None, "is not a source"),
        ({"a.jpg": "a dog"}, "is not a source"),
        ([("a.jpg", "a dog")], r"entry 1 is \('a.jpg', 'a dog'\) \(tuple\): give paths, images, or samples"),
        ([object()], "entry 1 is .*give paths"),
    ],
)
def test_what_is_no_source_is_refused(index: Index, source: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        index.add(source)


def test_strings_are_not_taken_letter_by_letter(index: Index, tmp_path: Path) -> None:
    index.add(gallery(tmp_path / "pictures", "red", "blue"))
    assert index.delete("red.png") == 1
    with pytest.raises(QueryError, match="is a single text, and a list of texts is needed"):
        index.add_texts("a dog")
    with pytest.raises(QueryError, match="ids='ab' is invalid: must be a list"):
        index.add_texts(["one", "two"], ids="ab")
    with pytest.raises(QueryError, match="text 2 is None"):
        index.add_texts(["one", None])  # type: ignore[list-item]


@pytest.mark.parametrize("bad", [None, 5, 2.5, object(), ["red"], {"text": "red"}])
def test_a_bad_query_is_an_error_of_hivlp(index: Index, bad: Any) -> None:
    with pytest.raises(HivlpError):
        index.search(bad)
    with pytest.raises(HivlpError):
        index.search_vectors(bad)
    with pytest.raises(HivlpError):
        index.search("red", colour="blue")  # type: ignore[call-arg]
    with pytest.raises(ImageError):
        index.search(np.zeros((4, 4)))


@pytest.mark.parametrize(
    "call",
    [
        lambda index: index.search("red", plan=5),
        lambda index: index.search("red", without=5),
        lambda index: index.search(Part(text=5)),
        lambda index: index.search(Part(item=5)),
        lambda index: index.search(Part(text="red", weight="much")),
        lambda index: index.add([painted("red")], batch_size=0),
        lambda index: index.add([painted("red")], batch_size="many"),
        lambda index: index.add([painted("red")], workers=0),
        lambda index: index.add_texts(["a"], batch_size=0),
        lambda index: index.add_texts(["a"], meta=[5]),
        lambda index: index.add_texts(5),
        lambda index: index.delete(None),
        lambda index: index.delete(5),
        lambda index: index.prune(5),
        lambda index: index.export(5),
        lambda index: index.tune(queries=5),
        lambda index: index.search_batch(None),
        lambda index: Index.create(5),
        lambda index: Index.open(None),
        lambda index: Index.ensure(5),
        lambda index: Sample(image="a.jpg", meta=5),
        lambda index: hivlp.open_source(None),
        lambda index: hivlp.import_index("nowhere", "out"),
    ],
)
def test_a_bad_argument_is_an_error_of_hivlp(index: Index, call: Callable[[Any], object]) -> None:
    with pytest.raises(HivlpError):
        call(index)


@pytest.mark.parametrize(("model", "threads"), [(5, 0), (None, 0), ("mini", "two"), ("mini", -1)])
def test_a_model_that_is_none_is_an_error_of_hivlp(model: Any, threads: Any) -> None:
    from hivlp.encode.base import load

    with pytest.raises(HivlpError):
        load(model, threads=threads)


def test_ids_and_metadata_of_tables_are_taken_as_they_come(index: Index) -> None:
    sample = Sample(id=7, image=png("red"), meta={"price": np.int64(3), "share": np.float32(0.5)})  # type: ignore[arg-type]
    assert index.add([sample]).indexed == 1
    hit = index.search("red", k=1, where="price = 3")[0]
    assert (hit.id, hit.meta["share"]) == ("7", 0.5)


def test_the_help_of_a_search_lists_every_option() -> None:
    for method in (Index.search, Index.search_batch):
        text = method.__doc__ or ""
        for name, option in OPTIONS.items():
            assert f"    {name}: {option.help.split('.')[0][:40]}" in text
        assert "Default: 10" in text
        assert "{options}" not in text


def test_progress_is_a_bar_or_a_function(
    index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = gallery(tmp_path / "pictures", "red", "blue", "green")
    calls: list[tuple[str, int, int | None]] = []
    index.add(folder, progress=lambda line, done=0, total=None: calls.append((line, done, total)))
    assert calls[-1][1:] == (3, 3)
    assert capsys.readouterr().err == ""
    index.add([folder / "red.png"], progress=True)
    assert "indexing" in (shown := capsys.readouterr().err)
    assert "1/1 items" in shown
    with pytest.raises(QueryError, match="progress='yes' is invalid: must be True for a bar, or a function"):
        index.add(folder, progress="yes")  # type: ignore[arg-type]


def test_reprs_are_short(index: Index, tmp_path: Path) -> None:
    index.add(gallery(tmp_path / "pictures"))
    hits = index.search("red", k=5)
    assert repr(index) == f"<Index {str(tmp_path / 'x.hivlp')!r}: 12 items, model mini, levels 8, 16, 32>"
    assert repr(hits[0]) == f"<Hit 1: 'red.png', score {hits[0].score:.3f}>"
    assert repr(hits) == f"<Hits: 5 hits, best {hits[0]!r}>"
    assert hits[:2] == (hits[0], hits[1])
    vectors = index.encoder.encode_texts(["red", "blue"])
    assert repr(vectors) == "<Embeddings of 2 inputs, 8, 16 and 32 numbers each>"


def test_hits_are_rows_for_a_table() -> None:
    hit = Hit(
        rank=1, id="a", uri="/a", score=0.5, coarse_score=0.4, coarse_rank=2, meta={"price": 3, "id": "own"}
    )
    (row,) = Hits(hits=(hit,), timings_ms=Timings(), plan={}).rows()
    assert row["id"] == "a"
    assert row["meta.id"] == "own"
    assert row["price"] == 3
    assert "meta" not in row


def test_a_notebook_shows_hits_with_small_pictures(index: Index, tmp_path: Path) -> None:
    index.add(gallery(tmp_path / "pictures"))
    painted("red", size=(3000, 2000)).save(tmp_path / "pictures" / "red.png")
    shown = index.search("red", k=12)._repr_html_()
    assert shown.count("data:image/jpeg;base64,") == len(COLOURS)
    assert len(shown) < 12 * 20_000
    (tmp_path / "pictures" / "red.png").unlink()
    assert index.search("red", k=12)._repr_html_().count("picture not found") == 1


def test_the_html_of_hits_is_escaped_and_bounded() -> None:
    bad = "<script>alert('x')</script>\"&"
    hits = tuple(
        Hit(rank=n, id=bad, uri=f"/{bad}", score=0.1, coarse_score=0.1, coarse_rank=n, caption=bad * 50)
        for n in range(1, MOST + 11)
    )
    shown = Hits(hits=hits, timings_ms=Timings(), plan={}, notes=(bad,))._repr_html_()
    assert "<script" not in shown
    assert shown.count("<figure") == MOST
    assert "and 10 hits more" in shown
    empty = Hits(hits=(), timings_ms=Timings(), plan={})
    assert "nothing found" in empty._repr_html_()
    assert repr(empty) == "<Hits: 0 hits>"


def test_dir_shows_public_names_only() -> None:
    assert dir(hivlp) == sorted(hivlp.__all__)
    assert not any(name in dir(hivlp) for name in ("Any", "TYPE_CHECKING", "import_module"))
    assert "hivlp" in sys.modules
