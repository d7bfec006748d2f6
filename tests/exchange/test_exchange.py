"""Indexes out of and into clip-retrieval's layout: round trips, foreign folders, and whatever is wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes import WIDTHS as FAKE_WIDTHS
from fakes import ColourEncoder, gallery
from hivlp.errors import (
    DataError,
    HivlpError,
    IndexFolderError,
    MissingExtraError,
    NothingUsableError,
    QueryError,
)
from hivlp.exchange import ModelRecord, export_index, import_index
from hivlp.exchange.layout import shard_name
from hivlp.retriever import Index
from hivlp.retriever import import_index as import_for_people
from hivlp.stores.local import LocalStore
from hivlp.types import Item
from index_tools import WIDTHS, create, embeddings, items, unit
from ran import Ran

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
Hivlp = Callable[..., Ran]

MODEL = ModelRecord(name="mini", fingerprint="f1", widths=WIDTHS, preprocessing={"size": 224})


def mixed(count: int) -> list[Item]:
    """Pictures and texts in turn, with everything that an item can hold."""
    odd = [{"a": [1, None, {"b": "ü\n\t'\""}]}, {}, {"price": 1.5, "sold": True}]
    return [
        Item(
            id=f"{n}-雪",
            uri=f"p/{n}.jpg",
            kind="text" if n % 3 == 0 else "image",
            caption=[None, "", "a dog\u2028"][n % 3],
            meta=odd[n % 3],
            sha256=None if n % 5 == 0 else f"s{n}",
            width=None if n % 2 else 640,
            height=480,
        )
        for n in range(count)
    ]


def contents(store: LocalStore) -> dict[str, tuple[Item, list[bytes]]]:
    """Every live item with its stored bytes at every level, by id."""
    view = store.view()
    rows = view.mask.live_rows()
    found = store.folder.items.fetch(rows.tolist())
    return {
        item.id: (item, [view.level(width)[row].tobytes() for width in view.widths])
        for item, row in zip(found, rows, strict=True)
    }


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with create(tmp_path / "x.hivlp") as made:
        made.append(mixed(50), embeddings(50))
        made.delete(["1-雪", "3-雪", "49-雪"])
        yield made


@pytest.mark.parametrize("shard_size", [1, 7, 16, 32, 1_000_000])
def test_what_is_exported_and_imported_is_the_same_to_the_bit(
    store: Any, tmp_path: Path, shard_size: int
) -> None:
    report = export_index(store, tmp_path / "e", shard_size=shard_size)
    assert (report["items"], report["kinds"]) == (47, {"image": 31, "text": 16})
    told = import_index(tmp_path / "e", tmp_path / "y.hivlp")
    assert (told["items"], told["kinds"], told["widths"]) == (47, {"image": 31, "text": 16}, list(WIDTHS))
    with LocalStore.open(tmp_path / "y.hivlp") as read:
        assert contents(read) == contents(store)
        assert read.verify() == []
        ours, theirs = store.folder.manifest, read.folder.manifest
        for name in ("model_name", "model_fingerprint", "widths", "preprocessing", "dtype"):
            assert getattr(theirs, name) == getattr(ours, name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e", "x.hivlp", "y.hivlp"]


def test_the_files_are_those_of_clip_retrieval(store: Any, tmp_path: Path) -> None:
    """Read with numpy and pyarrow alone: rows of vectors and of metadata go together in every shard."""
    export_index(store, tmp_path / "e", shard_size=10)
    names = [f"img_emb/img_emb_{n}.npy" for n in range(4)]
    fine = [np.load(tmp_path / "e" / name) for name in names]
    assert [len(part) for part in fine] == [10, 10, 10, 1]
    assert {part.dtype for part in fine} == {np.dtype(np.float16)}
    tables = [parquet.read_table(tmp_path / f"e/metadata/metadata_{n}.parquet") for n in range(4)]
    lines = [line for table in tables for line in table.to_pylist()]
    expected = contents(store)
    assert [line["id"] for line in lines] == [
        name for name, (item, _) in expected.items() if item.kind == "image"
    ]
    for line, vector in zip(lines, np.concatenate(fine), strict=True):
        item, levels = expected[line["id"]]
        assert vector.tobytes() == levels[-1]
        assert (line["image_path"], line["caption"], line["kind"]) == (item.uri, item.caption, "image")
        assert json.loads(line["meta"]) == item.meta
    for width in WIDTHS[:-1]:
        stem = f"level_{width}_img_emb"
        assert np.load(tmp_path / f"e/{stem}/{stem}_3.npy").shape == (1, width)
    assert np.load(tmp_path / "e/text_emb/text_emb_1.npy").shape == (6, WIDTHS[-1])
    assert parquet.read_table(tmp_path / "e/text_metadata/text_metadata_1.parquet").num_rows == 6


def test_texts_alone_have_the_usual_metadata(tmp_path: Path) -> None:
    with create(tmp_path / "x.hivlp") as store:
        store.append([Item(id="a", uri="a", kind="text", caption="words")], embeddings(1))
        export_index(store, tmp_path / "e")
    assert (tmp_path / "e/text_emb/text_emb_0.npy").is_file()
    assert (tmp_path / "e/metadata/metadata_0.parquet").is_file()


def test_an_empty_index_goes_there_and_back(tmp_path: Path) -> None:
    with create(tmp_path / "x.hivlp") as store:
        assert export_index(store, tmp_path / "e")["items"] == 0
    assert import_index(tmp_path / "e", tmp_path / "y.hivlp")["items"] == 0
    with LocalStore.open(tmp_path / "y.hivlp") as read:
        assert read.widths == WIDTHS


def test_names_of_shards_sort_like_their_numbers() -> None:
    for shards in (1, 2, 10, 11, 1000):
        names = [shard_name("img_emb", n, shards, ".npy") for n in range(shards)]
        assert names == sorted(names)
    assert shard_name("img_emb", 0, 1, ".npy") == "img_emb/img_emb_0.npy"


def test_progress_counts_items(store: Any, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    export_index(store, tmp_path / "e", shard_size=20, progress=lambda *at: seen.append(at))
    import_index(tmp_path / "e", tmp_path / "y.hivlp", progress=lambda *at: seen.append(at))
    assert seen == [("", 20, 47), ("", 31, 47), ("", 47, 47)] * 2


def test_an_export_overwrites_nothing_and_leaves_nothing_half_done(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "mine").touch()
    with pytest.raises(QueryError, match=r"exists already.*new folder"):
        export_index(store, tmp_path / "e")
    with pytest.raises(QueryError, match="shard_size=0 is invalid"):
        export_index(store, tmp_path / "f", shard_size=0)
    monkeypatch.setattr("hivlp.index.items.ItemTable.fetch", lambda self, rows: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_index(store, tmp_path / "g")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e", "x.hivlp"]


def test_what_happens_meanwhile_is_not_in_the_export(store: Any, tmp_path: Path) -> None:
    """Adding, deleting and compacting go on while an export is running."""
    before = contents(store)

    def meanwhile(line: str, done: int, total: int) -> None:
        if done == 7:
            store.append(items(5), embeddings(5))
            store.delete(["5-雪", "6-雪"])
            store.compact()

    export_index(store, tmp_path / "e", shard_size=7, progress=meanwhile)
    assert contents(store) != before
    import_index(tmp_path / "e", tmp_path / "y.hivlp")
    with LocalStore.open(tmp_path / "y.hivlp") as read:
        assert contents(read) == before


# Folders of other tools.


def foreign(folder: Path, vectors: list[np.ndarray], rows: list[list[dict[str, Any]]]) -> Path:
    for stem in ("img_emb", "metadata"):
        (folder / stem).mkdir(parents=True, exist_ok=True)
    for n, (part, described) in enumerate(zip(vectors, rows, strict=True)):
        np.save(folder / f"img_emb/img_emb_{n}.npy", part)
        parquet.write_table(pyarrow.Table.from_pylist(described), folder / f"metadata/metadata_{n}.parquet")
    return folder


def described(first: int, count: int) -> list[dict[str, Any]]:
    return [
        {
            "image_path": f"0000{n}.jpg",
            "caption": f"picture {n}",
            "key": f"{n:09}",
            "url": f"http://x/{n}",
            "width": 640.0,
            "height": None,
            "sha256": f"{n:064x}",
            "similarity": float("nan") if n else 0.25,
        }
        for n in range(first, first + count)
    ]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_folder_of_another_tool_is_brought_to_length_one(tmp_path: Path, dtype: type) -> None:
    wide = np.random.default_rng(0).standard_normal((12, WIDTHS[-1])) * 7
    folder = foreign(
        tmp_path / "laion",
        [part.astype(dtype) for part in (wide[:8], wide[8:])],
        [described(0, 8), described(8, 4)],
    )
    told = import_index(folder, tmp_path / "y.hivlp", model=MODEL)
    assert (told["items"], told["widths"], told["kinds"]) == (12, [WIDTHS[-1]], {"image": 12})
    with LocalStore.open(tmp_path / "y.hivlp") as store:
        (item,) = store.fetch(["000000009"])
        assert item == Item(
            id="000000009",
            uri="00009.jpg",
            caption="picture 9",
            meta={"key": "000000009", "url": "http://x/9", "similarity": None},
            sha256=f"{9:064x}",
            width=640,
        )
        stored = store.view().level(WIDTHS[-1])
        np.testing.assert_allclose(stored, unit(wide), atol=2e-3)
        assert store.verify() == []
        assert store.model_fingerprint == "f1"


def test_levels_of_another_tool_are_found_by_their_names(tmp_path: Path) -> None:
    vectors = embeddings(5)
    folder = foreign(tmp_path / "f", [vectors[16]], [described(0, 5)])
    (folder / "level_4_img_emb").mkdir()
    np.save(folder / "level_4_img_emb/level_4_img_emb_0.npy", vectors[4])
    assert import_index(folder, tmp_path / "y.hivlp", model=MODEL)["widths"] == [4, 16]


def test_a_folder_of_texts_gives_texts_and_paired_texts_are_left_out(tmp_path: Path) -> None:
    folder = foreign(tmp_path / "f", [embeddings(5)[16]], [described(0, 5)])
    (folder / "text_emb").mkdir()
    np.save(folder / "text_emb/text_emb_0.npy", embeddings(5)[16])
    told = import_index(folder, tmp_path / "y.hivlp", model=MODEL)
    assert told["kinds"] == {"image": 5}
    assert "text_emb/ was left out" in told["notes"][0]
    for path in (folder / "img_emb").iterdir():
        path.unlink()
    assert import_index(folder, tmp_path / "z.hivlp", model=MODEL)["kinds"] == {"text": 5}


def test_the_model_has_to_be_named_and_to_fit(tmp_path: Path, store: Any) -> None:
    folder = foreign(tmp_path / "f", [embeddings(3)[16]], [described(0, 3)])
    with pytest.raises(DataError, match=r"does not say which model.*--model"):
        import_index(folder, tmp_path / "y.hivlp")
    narrow = ModelRecord(name="small", fingerprint="f2", widths=(4, 8), preprocessing={})
    with pytest.raises(DataError, match=r"width 16, and the model 'small' has the levels \[4, 8\]"):
        import_index(folder, tmp_path / "y.hivlp", model=narrow)
    export_index(store, tmp_path / "e")
    with pytest.raises(IndexFolderError, match=r"'mini' \(f1\), and this is 'small' \(f2\)"):
        import_index(tmp_path / "e", tmp_path / "y.hivlp", model=narrow)
    assert import_index(tmp_path / "e", tmp_path / "y.hivlp", model=MODEL)["items"] == 47


@pytest.mark.parametrize("value, length", [(0.0, "0"), (np.nan, "nan"), (np.inf, "inf")])
def test_bad_vectors_are_skipped_and_listed_or_refused(tmp_path: Path, value: float, length: str) -> None:
    vectors = embeddings(12)[16].copy()
    vectors[9] = value
    folder = foreign(tmp_path / "f", [vectors[:8], vectors[8:]], [described(0, 8), described(8, 4)])
    with pytest.raises(
        DataError, match=rf"img_emb_1\.npy row 1 is a vector of length {length}.*leave this row"
    ):
        import_index(folder, tmp_path / "y.hivlp", model=MODEL, strict=True)
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
    told = import_index(folder, tmp_path / "y.hivlp", model=MODEL)
    assert told["items"] == 11
    (failed,) = told["failed"]
    assert failed["uri"] == str(folder / "img_emb/img_emb_1.npy row 1")
    assert f"length {length}" in failed["error"]
    with LocalStore.open(tmp_path / "y.hivlp") as store:
        found = store.fetch([f"{n:09}" for n in range(12)])
        assert [n for n, item in enumerate(found) if item is None] == [9]
        (item,) = store.fetch(["000000010"])
        kept = np.delete(embeddings(12)[16], 9, axis=0)
        np.testing.assert_allclose(store.view().level(16), kept, atol=2e-3)
        assert item is not None and item.uri == "000010.jpg"


def text_into(name: str, text: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_text(text, encoding="utf-8")


def vectors_into(name: str, array: np.ndarray) -> Callable[[Path], Any]:
    return lambda folder: np.save(folder / name, array)


def manifest_with(**changes: Any) -> Callable[[Path], Any]:
    def change(folder: Path) -> None:
        path = folder / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}), encoding="utf-8")

    return change


@pytest.mark.parametrize(
    "change, words",
    [
        (
            vectors_into("img_emb/img_emb_0.npy", embeddings(9)[16]),
            r"img_emb_0\.npy has 9 rows and .* has 31",
        ),
        (vectors_into("img_emb/img_emb_0.npy", embeddings(31)[8]), "vectors of width 8, and 16 is needed"),
        (vectors_into("img_emb/img_emb_0.npy", np.zeros(3)), r"float64 of shape \(3,\).*N × D"),
        (vectors_into("img_emb/img_emb_0.npy", np.zeros((31, 16), int)), "floating-point"),
        (vectors_into("img_emb/img_emb_0.npy", np.array([{}])), r"img_emb_0\.npy can't be read as vectors"),
        (text_into("img_emb/img_emb_0.npy", "words"), r"img_emb_0\.npy can't be read as vectors"),
        (
            text_into("img_emb/img_emb_1.npy", "words"),
            r"img_emb/ has the shards \[0, 1\] and metadata/ has \[0\]",
        ),
        (text_into("img_emb/odd.npy", "words"), r"odd\.npy has no number of its own"),
        (text_into("metadata/metadata_0.parquet", "words"), "metadata_0.parquet can't be read as parquet"),
        (text_into("manifest.json", "{"), "manifest.json is damaged.*export the index again"),
        (text_into("manifest.json", "[]"), "has format None"),
        (manifest_with(format="hivlp-index"), "'hivlp-index' instead of 'hivlp-embeddings'"),
        (manifest_with(version=2), "version 2, this hivlp reads 1; upgrade"),
        (manifest_with(model=None), "is damaged"),
        (manifest_with(parts=[{"kind": "image"}]), "is damaged.*levels"),
        (
            manifest_with(parts=[{"kind": "a", "levels": {}, "metadata": "../..", "count": 1}]),
            "not the name of a folder",
        ),
        (
            lambda folder: manifest_with(
                parts=[
                    {**part, "count": 30}
                    for part in json.loads((folder / "manifest.json").read_text())["parts"]
                ]
            )(folder),
            "holds 31 vectors of kind image, and its manifest says 30",
        ),
        (lambda folder: (folder / "img_emb/img_emb_0.npy").unlink(), "img_emb holds no files .npy"),
    ],
)
def test_damaged_exports_have_messages(
    store: Any, tmp_path: Path, change: Callable[[Path], Any], words: str
) -> None:
    export_index(store, tmp_path / "e")
    change(tmp_path / "e")
    with pytest.raises(DataError, match=words):
        import_index(tmp_path / "e", tmp_path / "y.hivlp")
    assert not (tmp_path / "y.hivlp").exists()


def test_vectors_of_an_export_that_were_changed_are_refused(store: Any, tmp_path: Path) -> None:
    export_index(store, tmp_path / "e")
    path = tmp_path / "e/img_emb/img_emb_0.npy"
    np.save(path, np.load(path) * np.float16(2))
    with pytest.raises(IndexFolderError, match=r"vector of length 2.* at level 16"):
        import_index(tmp_path / "e", tmp_path / "y.hivlp")
    assert not (tmp_path / "y.hivlp").exists()


def test_a_folder_of_bad_vectors_alone_is_refused(tmp_path: Path) -> None:
    folder = foreign(tmp_path / "f", [np.full((3, 16), np.nan)], [described(0, 3)])
    with pytest.raises(NothingUsableError, match=r"no row of .*the first of 3 problems: .*row 0: .*row 2"):
        import_index(folder, tmp_path / "y.hivlp", model=MODEL)
    assert not (tmp_path / "y.hivlp").exists()


def ids_of(path: Path) -> list[str]:
    with LocalStore.open(path) as store:
        return [item.id for item in store.items_of(store.rows_where(None).tolist())]


def test_repeated_keys_get_ids_of_their_own(tmp_path: Path) -> None:
    halves = [embeddings(3)[16], embeddings(3)[16]]
    twice = [*described(1, 2), described(1, 1)[0]]
    folder = foreign(tmp_path / "f", halves, [described(0, 3), twice])
    told = import_index(folder, tmp_path / "y.hivlp", model=MODEL)
    assert ids_of(tmp_path / "y.hivlp") == [
        *(f"{n:09}" for n in range(3)),
        "1/000000001",
        "1/000000002",
        "1/000000001#2",
    ]
    assert "3 ids of earlier rows" in told["notes"][0]
    with pytest.raises(
        DataError, match=r"metadata_1\.parquet row 0 has the id '000000001' of an earlier row"
    ):
        import_index(folder, tmp_path / "z.hivlp", model=MODEL, strict=True)


def test_a_gap_in_the_numbers_of_shards_is_noted(tmp_path: Path) -> None:
    folder = foreign(tmp_path / "f", [embeddings(2)[16]] * 3, [described(2 * n, 2) for n in range(3)])
    for path in (folder / "img_emb/img_emb_1.npy", folder / "metadata/metadata_1.parquet"):
        path.unlink()
    told = import_index(folder, tmp_path / "y.hivlp", model=MODEL)
    assert told["items"] == 4
    assert told["notes"] == ["the shards from 0 to 2 lack 1; copy them too if they exist"]


def test_missing_values_are_missing(tmp_path: Path) -> None:
    rows = [
        {"image_path": "a.jpg", "caption": "nan"},
        {"image_path": None, "caption": None},
        {"image_path": "nan", "caption": "a dog"},
    ]
    folder = foreign(tmp_path / "f", [embeddings(3)[16]], [rows])
    told = import_index(folder, tmp_path / "y.hivlp", model=MODEL)
    assert ids_of(tmp_path / "y.hivlp") == ["a.jpg", "img_emb_0#1", "img_emb_0#2"]
    assert "2 rows without an id" in told["notes"][0]
    with LocalStore.open(tmp_path / "y.hivlp") as store:
        assert [item.caption for item in store.fetch(ids_of(tmp_path / "y.hivlp")) if item] == [
            None,
            None,
            "a dog",
        ]


IDS = {
    "ids.txt": "a.jpg\nb.jpg\nc d.jpg\n",
    "ids.json": '["a.jpg", "b.jpg", "c d.jpg"]',
    "one.csv": "a.jpg\nb.jpg\nc d.jpg\n",
    "ids.csv": "id,caption\na.jpg,one\nb.jpg,two\nc d.jpg,three\n",
    "rows.jsonl": '{"path": "a.jpg"}\n{"path": "b.jpg"}\n{"path": "c d.jpg"}\n',
    "rows.json": '[{"id": "a.jpg"}, {"id": "b.jpg"}, {"id": "c d.jpg"}]',
}


@pytest.mark.parametrize("name", list(IDS))
@pytest.mark.parametrize("form", ["plain.npy", "folder"])
def test_plain_vectors_with_a_list_of_ids(tmp_path: Path, name: str, form: str) -> None:
    vectors = embeddings(3)[16] * 5
    (tmp_path / "folder/img_emb").mkdir(parents=True)
    np.save(tmp_path / "plain.npy", vectors)
    np.save(tmp_path / "folder/img_emb/img_emb_0.npy", vectors)
    (tmp_path / name).write_text(IDS[name], encoding="utf-8")
    told = import_index(tmp_path / form, tmp_path / "y.hivlp", model=MODEL, ids=tmp_path / name)
    assert (told["items"], told["notes"]) == (3, [])
    assert ids_of(tmp_path / "y.hivlp") == ["a.jpg", "b.jpg", "c d.jpg"]
    with LocalStore.open(tmp_path / "y.hivlp") as store:
        np.testing.assert_allclose(store.view().level(16), embeddings(3)[16], atol=2e-3)
        (item,) = store.fetch(["b.jpg"])
        assert item is not None and item.caption == ("two" if name == "ids.csv" else None)
    (tmp_path / "few.txt").write_text("a\nb\n")
    with pytest.raises(DataError, match="2 ids and 3 vectors"):
        import_index(tmp_path / form, tmp_path / "z.hivlp", model=MODEL, ids=tmp_path / "few.txt")


def test_plain_vectors_without_ids_are_named_by_their_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "plain.npy", embeddings(2)[16])
    told = import_index(tmp_path / "plain.npy", tmp_path / "y.hivlp", model=MODEL)
    assert ids_of(tmp_path / "y.hivlp") == ["plain#0", "plain#1"]
    assert "--ids FILE" in told["notes"][0]


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("ids.json", "{", "is not JSON"),
        ("ids.json", '{"a": 1}', "is not a list of ids"),
        ("ids.xml", "<a/>", "is not a list of ids; such a file ends in .txt"),
        ("ids.csv", "id,n\na,1,2\nb,2\n", "line 2: the row has 3 cells"),
    ],
)
def test_lists_of_ids_that_are_none(tmp_path: Path, name: str, content: str, words: str) -> None:
    np.save(tmp_path / "plain.npy", embeddings(2)[16])
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=words):
        import_index(tmp_path / "plain.npy", tmp_path / "y.hivlp", model=MODEL, ids=tmp_path / name)


def test_folders_that_are_none(tmp_path: Path, store: Any) -> None:
    (tmp_path / "empty").mkdir()
    for name, words in (("gone", "is not a folder"), ("empty", "no embeddings in clip-retrieval's layout")):
        with pytest.raises(DataError, match=words):
            import_index(tmp_path / name, tmp_path / "y.hivlp", model=MODEL)
    export_index(store, tmp_path / "e")
    with pytest.raises(IndexFolderError, match="exists already"):
        import_index(tmp_path / "e", tmp_path / "x.hivlp")
    with pytest.raises(IndexFolderError, match=r"says format 'hivlp-embeddings'.*hivlp import"):
        LocalStore.open(tmp_path / "e")


def test_without_pyarrow_the_extra_is_named(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_index(store, tmp_path / "e")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    for call in (
        lambda: export_index(store, tmp_path / "f"),
        lambda: import_index(tmp_path / "e", tmp_path / "y.hivlp"),
    ):
        with pytest.raises(MissingExtraError, match=r"\[parquet\]"):
            call()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e", "x.hivlp"]


# The façade and the command line.


def test_python_names_models(tmp_path: Path, colours: ColourEncoder) -> None:
    with Index.create(tmp_path / "x.hivlp", "mini") as index:
        index.add(gallery(tmp_path / "pictures"), captions=True)
        index.export(tmp_path / "e", shard_size=5)
        before = [hit.as_dict() for hit in index.search("something red", k=5, kind="image")]
    import_for_people(tmp_path / "e", tmp_path / "y.hivlp")
    with Index.open(tmp_path / "y.hivlp", writable=True) as index:
        assert [hit.as_dict() for hit in index.search("something red", k=5, kind="image")] == before
        report = index.add(tmp_path / "pictures", captions=True)
        assert (report.indexed, report.skipped, report.captions) == (0, 12, 0)
    with pytest.raises(IndexFolderError, match=r"'mini'.*'other'"):
        import_for_people(tmp_path / "e", tmp_path / "z.hivlp", "other")
    with pytest.raises(HivlpError, match="unknown model 'gone'"):
        import_for_people(tmp_path / "e", tmp_path / "z.hivlp", "gone")


def test_the_commands(tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp) -> None:
    index, out = tmp_path / "x.hivlp", tmp_path / "e"
    assert hivlp("index", gallery(tmp_path / "pictures"), "--out", index).code == 0
    document = hivlp("export", index, "--out", out, "--shard-size", "10", "--json").document
    assert document["items"] == 12
    assert {"manifest.json", "img_emb/img_emb_1.npy", "metadata/metadata_0.parquet"} <= set(document["files"])
    read = hivlp("import", out, "--out", tmp_path / "y.hivlp", "--json").document
    assert (read["items"], read["widths"]) == (12, list(FAKE_WIDTHS))
    assert hivlp("verify", tmp_path / "y.hivlp").code == 0
    assert hivlp("search", tmp_path / "y.hivlp", "red", "--json").document["hits"][0]["id"] == "red.png"
    (out / "manifest.json").unlink()
    plain = hivlp("import", out, "--out", tmp_path / "z.hivlp", "--model", "mini")
    assert "12 items at the levels" in plain.out
    assert hivlp("search", tmp_path / "z.hivlp", "red", "--json").document["hits"][0]["id"] == "red.png"


def test_wrong_commands(tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp) -> None:
    index = tmp_path / "x.hivlp"
    assert hivlp("index", gallery(tmp_path / "pictures", "red"), "--out", index).code == 0
    for arguments, words in (
        (["export", index], "--out DIR"),
        (["export", index, "--out", tmp_path / "e", "--int8"], "--int8 is for models"),
        (["export", "mini", "--shard-size", "5"], "--shard-size is for indexes"),
        (["import", tmp_path / "gone", "--out", tmp_path / "y.hivlp"], "is not a folder"),
    ):
        ran = hivlp(*arguments, "--json")
        assert ran.code == 2
        assert words in ran.document["error"]
