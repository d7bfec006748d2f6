"""Annotation files, parquet, webdataset tars and drawn scenes, written here byte by byte and read back."""

from __future__ import annotations

import gzip
import io
import json
import sys
import tarfile
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hivlp.data.sources import Source, open_source
from hivlp.data.sources.tars import expand_braces
from hivlp.errors import DataError, MissingExtraError


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (10, 200, 30)).save(buffer, "PNG")
    return buffer.getvalue()


def other_png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (shade, shade, shade)).save(buffer, "PNG")
    return buffer.getvalue()


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png())
    return path


def captions(source: Source) -> dict[str, tuple[str, ...]]:
    return {sample.id: sample.captions for sample in source}


def errors(source: Source) -> dict[str, str]:
    list(source)
    return {Path(failure.uri).name: failure.error for failure in source.failures}


def refused(spec: str | Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        open_source(spec, **options)
    return str(caught.value)


def write_json(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document))
    return path


# --- Annotation files ---

KARPATHY = {
    "dataset": "coco",
    "images": [
        {
            "filepath": "val2014",
            "filename": "a.png",
            "split": "restval",
            "imgid": 0,
            "cocoid": 391895,
            "sentids": [1, 2],
            "sentences": [{"raw": "A man\n.", "tokens": ["a", "man"]}, {"raw": "Two men", "tokens": []}],
        },
        {
            "filepath": "val2014",
            "filename": "b.png",
            "split": "test",
            "imgid": 1,
            "sentences": [{"raw": " "}],
        },
        {"filename": "c.png", "split": "train", "imgid": 2, "sentences": [{"raw": "A hill"}]},
        {"split": "train", "sentences": []},
    ],
}


def test_karpathy_json(tmp_path: Path) -> None:
    picture(tmp_path / "pics/val2014/a.png")
    picture(tmp_path / "pics/b.png")
    picture(tmp_path / "pics/c.png")
    path = write_json(tmp_path / "dataset_coco.json", KARPATHY)
    source = open_source(path, image_root=tmp_path / "pics")
    a, b, c = source
    assert (a.id, a.captions, a.split) == ("val2014/a.png", ("A man .", "Two men"), "train")
    assert dict(a.meta) == {"imgid": 0, "cocoid": 391895}
    assert (b.image, b.captions, b.split) == (tmp_path / "pics/b.png", (), "test")
    assert c.id == "c.png"
    assert source.splits() == {"train": 2, "test": 1}
    assert source.count() == 3
    assert "filename" in errors(source)["dataset_coco.json image 3"]
    assert list(captions(open_source(path, image_root=tmp_path / "pics", split="train"))) == [
        "val2014/a.png",
        "c.png",
    ]
    assert "take one of: train (2), test (1)" in refused(path, split="val")


def test_karpathy_pictures_beside_the_file(tmp_path: Path) -> None:
    picture(tmp_path / "val2014/a.png")
    source = open_source(write_json(tmp_path / "d.json", KARPATHY))
    assert list(captions(source)) == ["val2014/a.png"]
    assert "does not exist" in errors(source)["b.png"]


def test_coco_captions_json(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        picture(tmp_path / name)
    document = {
        "info": {},
        "images": [
            {"id": 9, "file_name": "a.png", "width": 4, "license": 3},
            {"id": 8, "file_name": "b.png"},
            {"id": 9, "file_name": "again.png"},
            {"id": 7},
        ],
        "annotations": [
            {"id": 1, "image_id": 9, "caption": "A dog "},
            {"id": 2, "image_id": 5, "caption": "Nowhere"},
            {"id": 3, "image_id": 9, "caption": "Two\tdogs"},
            {"id": 4, "image_id": 9, "caption": ""},
        ],
    }
    source = open_source(write_json(tmp_path / "captions.json", document))
    a, b = source
    assert (a.id, a.captions, dict(a.meta)) == (
        "a.png",
        ("A dog", "Two dogs"),
        {"width": 4, "license": 3, "image_id": 9},
    )
    assert (b.captions, b.split) == ((), None)
    found = errors(source)
    assert "duplicate image id 9" in found["captions.json image 2"]
    assert "file_name" in found["captions.json image 3"]
    assert "names image 5" in found["captions.json annotation 1"]


def test_lavis_lists(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        picture(tmp_path / "val2014" / name)
    one_each = [
        {"image": "val2014/a.png", "caption": "A dog", "image_id": "coco_1"},
        {"image": "val2014/b.png", "caption": "A cat", "image_id": "coco_2"},
        {"image": "val2014/a.png", "caption": "Two dogs", "image_id": "coco_1"},
        "nothing",
    ]
    several = [
        {"image": "val2014/a.png", "caption": ["A dog", "Two dogs"]},
        {"image": "val2014/b.png", "caption": []},
    ]
    source = open_source(write_json(tmp_path / "train.json", one_each))
    assert captions(source) == {"val2014/a.png": ("A dog", "Two dogs"), "val2014/b.png": ("A cat",)}
    assert next(iter(source)).meta == {"image_id": "coco_1"}
    assert "JSON str" in errors(source)["train.json entry 3"]
    assert captions(open_source(write_json(tmp_path / "test.json", several))) == {
        "val2014/a.png": ("A dog", "Two dogs"),
        "val2014/b.png": (),
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not JSON"),
        ('{"a": 1}\n{"a": 2}', "no column 'image'"),
        ("{}", "of no known kind (found: nothing)"),
        ('{"photos": []}', "found: 'photos'"),
        ("5", "found: int"),
        ("[]", "holds no rows"),
        ('[{"pixels": "a.png"}]', "no column 'image' and no column 'caption'"),
        ('{"images": [], "annotations": []}', "its lists are empty"),
        ('{"images": [{"sentences": []}]}', "'filename'"),
        ('{"images": 7, "annotations": []}', "of no known kind"),
        ("[" * 200_000, "JSON"),
    ],
)
def test_json_of_other_kinds(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "x.json").write_text(text)
    message = refused(tmp_path / "x.json")
    assert words in message or "nested too deep" in message
    assert "x.json" in message


# --- Parquet ---


def write_parquet(path: Path, columns: Mapping[str, list[Any]], **options: Any) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.table(columns), path, **options)
    return path


def test_parquet_with_paths(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    path = write_parquet(
        tmp_path / "t.parquet",
        {
            "image": ["a.png", "a.png", None],
            "caption": [["A\tdog", "Dogs"], ["Third"], ["lost"]],
            "split": ["val", "val", "val"],
            "price": [1.5, float("nan"), 2.0],
        },
    )
    source = open_source(path, split="val")
    (sample,) = source
    assert (sample.captions, sample.split, dict(sample.meta)) == (
        ("A dog", "Dogs", "Third"),
        "val",
        {"price": 1.5},
    )
    assert "no picture" in errors(source)["t.parquet row 2"]


def test_parquet_with_bytes_and_paths_inside(tmp_path: Path) -> None:
    picture(tmp_path / "on_disk.png")
    cells = [
        {"bytes": png(), "path": "one.png"},
        {"bytes": png(), "path": "one.png"},
        {"bytes": png(), "path": None},
        {"bytes": None, "path": "on_disk.png"},
        {"bytes": None, "path": None},
        {"bytes": png(), "path": "one.png"},
    ]
    path = write_parquet(
        tmp_path / "t.parquet",
        {"image": cells, "text": ["x", "y", "z", "v", "w", "u"], "split": ["train"] * 5 + ["test"]},
    )
    source = open_source(path)
    assert captions(source) == {"one.png": ("x", "y"), "t.parquet#2": ("z",), "on_disk.png": ("v",)}
    first = next(iter(source))
    assert (first.image, first.uri) == (png(), f"{path}#row=0")
    found = errors(source)
    assert "no picture" in found["t.parquet row 4"]
    assert "duplicate id 'one.png'" in found["t.parquet#row=5"]
    assert source.splits() == {"train": 5, "test": 1}
    chosen = open_source(path, split="test")
    assert (chosen.count(), captions(chosen)) == (1, {"one.png": ("u",)})
    assert "no split 'val'" in refused(path, split="val")


def test_rows_of_one_picture_are_one_sample_wherever_they_stand(tmp_path: Path) -> None:
    """Bytes without a name: five rows a picture, side by side or apart, in one file or in two."""
    shown = [png(), other_png(1), other_png(2)]
    cells = [{"bytes": data, "path": None} for data in shown]
    expected = [("0 a", "0 b"), ("1 a", "1 b"), ("2 a", "2 b")]
    words = [f"{n} {letter}" for letter in "ab" for n in range(3)]
    apart = write_parquet(tmp_path / "apart.parquet", {"image": cells * 2, "caption": words})
    beside = write_parquet(
        tmp_path / "beside.parquet",
        {
            "image": [cell for cell in cells for _ in "ab"],
            "caption": [f"{n} {x}" for n in range(3) for x in "ab"],
        },
    )
    for path in (apart, beside):
        source = open_source(path)
        assert list(captions(source).values()) == expected
        assert [sample.image for sample in source] == shown
        assert source.failures == []
    for number in range(2):
        write_parquet(
            tmp_path / f"hub/data/train-{number}.parquet",
            {"image": cells, "caption": words[3 * number : 3 * number + 3]},
        )
    for spec in ("hub", "hub/data", "hub/data/*.parquet", "hub/data/train-{0..1}.parquet"):
        assert list(captions(open_source(tmp_path / spec)).values()) == expected


def test_pictures_with_ids_of_their_own_stay_apart(tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path / "t.parquet", {"id": ["a", "b"], "image": [png(), png()], "caption": ["x", "y"]}
    )
    assert captions(open_source(path)) == {"a": ("x",), "b": ("y",)}


@pytest.mark.parametrize(
    "cell, words",
    [
        ({"en": "a dog", "de": "ein Hund"}, ("a dog", "ein Hund")),
        ([{"raw": "a dog", "tokens": ["a", "dog"]}, {"raw": "two", "tokens": []}], ("a dog", "two")),
        ([["a dog"], ["two"]], ("a dog", "two")),
        (["a dog", None], ("a dog",)),
        ("nan", ()),
        (None, ()),
    ],
)
def test_captions_in_structs_and_lists(tmp_path: Path, cell: Any, words: tuple[str, ...]) -> None:
    path = write_parquet(tmp_path / "t.parquet", {"image": [png(), other_png(1)], "caption": [cell, cell]})
    assert list(captions(open_source(path)).values()) == [words, words]


def test_lists_of_pictures(tmp_path: Path) -> None:
    cells = [[{"bytes": png(), "path": None}], [{"bytes": other_png(n), "path": None} for n in (1, 2)], []]
    path = write_parquet(tmp_path / "t.parquet", {"image": cells, "text": ["x", "y", "z"]})
    source = open_source(path)
    assert captions(source) == {
        "t.parquet#0": ("x",),
        "t.parquet#1#0": ("y",),
        "t.parquet#1#1": ("y",),
    }
    assert "no picture" in errors(source)["t.parquet row 2"]


def test_files_named_for_splits_have_them(tmp_path: Path) -> None:
    for number, name in enumerate(("train-0", "validation-0", "test-0")):
        write_parquet(tmp_path / f"data/{name}.parquet", {"image": [other_png(number)], "caption": [name]})
    source = open_source(tmp_path)
    assert source.splits() == {"train": 1, "val": 1, "test": 1}
    assert list(captions(open_source(tmp_path, split="validation")).values()) == [("validation-0",)]
    assert open_source(tmp_path / "data/train-0.parquet").splits() == {}


def test_numbers_of_classes_have_their_names(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    notes = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    table = pyarrow.table({"img": [png(), other_png(1), other_png(2)], "label": [1, 0, -1]})
    table = table.replace_schema_metadata({"huggingface": json.dumps(notes)})
    pytest.importorskip("pyarrow.parquet").write_table(table, tmp_path / "t.parquet")
    assert list(captions(open_source(tmp_path / "t.parquet")).values()) == [("dog",), ("cat",), ()]


def test_a_damaged_file_among_others_is_a_failure(tmp_path: Path) -> None:
    write_parquet(tmp_path / "0.parquet", {"image": [png()], "caption": ["x"]})
    (tmp_path / "1.parquet").write_bytes(b"PAR1 no")
    source = open_source(tmp_path)
    assert list(captions(source).values()) == [("x",)]
    assert "can't be read as parquet" in errors(source)["1.parquet"]


def test_pictures_behind_columns_of_other_names(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "t.parquet", {"pixels": [png()], "said": ["x"]})
    with pytest.raises(DataError, match="no column 'image'"):
        open_source(path)
    assert list(captions(open_source(f"{path}?image=pixels&caption=said")).values()) == [("x",)]


def test_parquet_of_img2dataset(tmp_path: Path) -> None:
    columns = {
        "url": ["http://x/1.jpg", "http://x/2.jpg"],
        "caption": ["one", "two"],
        "key": ["000", "001"],
        "status": ["success", "failed_to_download"],
        "jpg": [png(), None],
    }
    source = open_source(write_parquet(tmp_path / "t.parquet", columns))
    (sample,) = source
    assert (sample.id, sample.image, sample.captions) == ("000", png(), ("one",))
    assert "failed_to_download" in errors(source)["t.parquet row 1"]
    del columns["jpg"]
    assert "not downloaded" in refused(write_parquet(tmp_path / "meta.parquet", columns))


def test_parquet_is_streamed(tmp_path: Path) -> None:
    rows = 400
    big = b"\x89PNG" + bytes(50_000)
    cells = [big + str(number).encode() for number in range(rows)]
    path = write_parquet(
        tmp_path / "t.parquet",
        {"image": cells, "caption": ["x"] * rows},
        row_group_size=20,
        compression="none",
    )
    assert peak_of_reading(path, rows) < rows * len(big) / 2


def test_files_that_are_no_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow.parquet")
    (tmp_path / "t.parquet").write_bytes(b"PAR1 no PAR1")
    assert "can't be read as parquet" in refused(tmp_path / "t.parquet")
    (tmp_path / "e.parquet").touch()
    assert "can't be read as parquet" in refused(tmp_path / "e.parquet")
    other = write_parquet(tmp_path / "o.parquet", {"a": [1]})
    assert "it has 'a'" in refused(other)


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(
        MissingExtraError, match=r"reading parquet files needs .*pip install -e .*\[parquet\]"
    ):
        open_source(tmp_path / "t.parquet")


# --- Webdataset tars ---


def write_tar(path: Path, members: Mapping[str, bytes] | list[tuple[str, bytes]]) -> Path:
    mode = {".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".txz": "w:xz"}.get(path.suffix, "w")
    with tarfile.open(path, mode) as tar:
        for name, data in members.items() if isinstance(members, Mapping) else members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def peak_of_reading(path: Path, samples: int) -> int:
    """Most bytes allocated at a time while a source is read, at the least: other threads count too."""
    peaks = []
    for _ in range(3):
        tracemalloc.start()
        assert sum(1 for _ in open_source(path)) == samples
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    return min(peaks)


def product(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def test_tar_members_of_one_name_are_one_sample(tmp_path: Path) -> None:
    path = write_tar(
        tmp_path / "s.tar",
        {
            "./a.PNG": png(),
            "./a.txt": b"one\ndog\t runs\n\n",
            "./a.json": product(caption="not this", price=3, sizes=[1, 2]),
            "./a.seg.png": b"a mask",
            "b.json": product(title="A red shirt", colour="red"),
            "b.png": png(),
            "b.cls": b"17\n",
            "deep/c.png": png(),
            "._c.png": b"Finder",
        },
    )
    source = open_source(path)
    a, b, c = source
    assert (a.id, a.uri, a.image) == ("a", f"{path}#a.PNG", png())
    assert (a.captions, dict(a.meta)) == (("one", "dog runs"), {"price": 3, "sizes": [1, 2]})
    assert (b.captions, dict(b.meta)) == (("A red shirt",), {"colour": "red", "cls": 17})
    assert (c.id, c.captions, c.split) == ("deep/c", (), None)
    assert (source.failures, source.count(), source.splits()) == ([], None, {})


def test_names_of_members_may_have_dots(tmp_path: Path) -> None:
    members = {}
    for number in range(40):
        members[f"in/IMG.2024.{number:02}.JPG.png"] = png()
        members[f"in/IMG.2024.{number:02}.JPG.txt"] = f"caption {number}".encode()
    members |= {"one.v2.png": png(), "one.v2.json": product(caption="later"), "two.png": png()}
    members |= {"three.depth.png": b"a mask", "three.png": png(), "three.txt": b"plain"}
    source = open_source(write_tar(tmp_path / "s.tar", members))
    assert captions(source) == {
        **{f"in/IMG.2024.{number:02}.JPG": (f"caption {number}",) for number in range(40)},
        "one.v2": ("later",),
        "two": (),
        "three": ("plain",),
    }
    assert source.failures == []


@pytest.mark.parametrize("name", ["s.tar.gz", "s.tgz", "s.tar.bz2", "s.txz"])
def test_compressed_tars(tmp_path: Path, name: str) -> None:
    path = write_tar(tmp_path / name, {"a.png": png(), "a.txt": b"x" * 512, "b.png": png(), "b.txt": b"y"})
    assert captions(open_source(path)) == {"a": ("x" * 512,), "b": ("y",)}


@pytest.mark.parametrize("spec", ["{}", "{}/s-{{000..002}}.tar", "{}/s-{{000,001,002}}.tar"])
def test_folder_and_patterns_of_tars(tmp_path: Path, spec: str) -> None:
    for number in range(3):
        write_tar(tmp_path / f"s-{number:03d}.tar", {f"{number}.png": png(), f"{number}.txt": b"x"})
    source = open_source(spec.format(tmp_path))
    assert list(captions(source)) == ["0", "1", "2"]
    assert source.failures == []


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a-{00..02}.tar", ["a-00.tar", "a-01.tar", "a-02.tar"]),
        ("{9..11}", ["9", "10", "11"]),
        ("{2..1}", ["2", "1"]),
        ("{x,y}-{0..1}", ["x-0", "x-1", "y-0", "y-1"]),
        ("plain", ["plain"]),
    ],
)
def test_brace_patterns(pattern: str, names: list[str]) -> None:
    assert expand_braces(pattern) == names


def test_missing_shards(tmp_path: Path) -> None:
    write_tar(tmp_path / "s-1.tar", {"a.png": png()})
    source = open_source(f"{tmp_path}/s-{{0..1}}.tar")
    assert list(captions(source)) == ["a"]
    assert "does not exist" in errors(source)["s-0.tar"]
    assert "none of the 3 files" in refused(f"{tmp_path}/t-{{0..2}}.tar")
    assert "files of one kind" in refused(f"{tmp_path}/{{s-1.tar,t.csv}}")


def test_tars_beside_pictures_are_noted(tmp_path: Path) -> None:
    write_tar(tmp_path / "s.tar", {"a.png": png()})
    picture(tmp_path / "more/b.png")
    source = open_source(tmp_path)
    assert list(captions(source)) == ["more/b.png"]
    assert "1 tar beside the pictures" in source.notes[0]


def test_duplicate_keys_across_shards_keep_the_first(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", {"a.png": png(), "a.txt": b"first"})
    write_tar(tmp_path / "1.tar", {"a.png": png(), "a.txt": b"second", "b.png": png()})
    source = open_source(tmp_path)
    assert captions(source) == {"a": ("first",), "b": ()}
    assert f"duplicate id 'a', first at {tmp_path}/0.tar#a.png" in errors(source)["1.tar#a.png"]


def test_a_member_packed_twice_is_a_duplicate(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "s.tar", [("a.png", png()), ("a.txt", b"x"), ("a.png", png())])
    source = open_source(path)
    assert captions(source) == {"a": ("x",)}
    assert "duplicate id 'a'" in errors(source)["s.tar#a.png"]


def cut(data: bytes) -> bytes:
    return data[: 512 + 512 + 512 + 30]


def cut_in_header(data: bytes) -> bytes:
    return data[: 512 + 512 + 512 + 512 + 100]


def without_end(data: bytes) -> bytes:
    return data[: 512 * 8]


def overwritten(data: bytes) -> bytes:
    return data[: 512 * 4] + b"\xaa" * 512 + data[512 * 5 :]


@pytest.mark.parametrize("damage", [cut, cut_in_header, without_end, overwritten])
def test_damaged_tars_keep_what_was_read(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = write_tar(tmp_path / "s.tar", {"a.png": png(), "a.txt": b"x", "b.png": png(), "b.txt": b"y"})
    whole = path.read_bytes()
    assert len(png()) <= 512
    path.write_bytes(damage(whole))
    source = open_source(path)
    found = captions(source)
    assert next(iter(found)) == "a"
    assert len(found) == (2 if damage is without_end else 1)
    assert "damaged or cut off" in errors(source)["s.tar"]


def test_cut_off_compressed_tar(tmp_path: Path) -> None:
    import random

    noise = random.Random(5).randbytes(40_000)
    path = write_tar(tmp_path / "s.tar.gz", {"a.png": png(), "b.png": noise, "c.png": noise[::-1]})
    path.write_bytes(path.read_bytes()[:60_000])
    source = open_source(path)
    assert list(captions(source)) == ["a", "b"]
    assert "damaged or cut off" in errors(source)["s.tar.gz"]


@pytest.mark.parametrize(
    "data", [b"", b"this is text, not an archive\n" * 40, bytes(10_240), gzip.compress(b"x", mtime=0)]
)
def test_a_lone_tar_without_pictures_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "s.tar").write_bytes(data)
    assert "s.tar can't be used as a tar of pictures" in refused(tmp_path / "s.tar")


def test_one_broken_tar_among_others_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "0.tar").write_bytes(b"text" * 400)
    write_tar(tmp_path / "1.tar", {"a.png": png()})
    source = open_source(tmp_path)
    assert list(captions(source)) == ["a"]
    assert "damaged" in errors(source)["0.tar"]


def test_members_that_can_not_be_used_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hivlp.data.sources.tars.MAX_MEMBER_BYTES", 1000)
    path = tmp_path / "s.tar"
    with tarfile.open(path, "w") as tar:

        def add(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE) -> None:
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(data), kind, "a.png"
            tar.addfile(info, io.BytesIO(data))

        add("dir", kind=tarfile.DIRTYPE)
        add("a.png", png())
        add("a.json", b"{not json")
        add("a.txt", "müde".encode("latin-1"))
        add("link.png", kind=tarfile.SYMTYPE)
        add("huge.png", bytes(2000))
        add("photo.v2.png", png())
        add("photo.txt", b"no picture of its own")
        add("z.png", png())
        add("z.json", b"[1]")
    source = open_source(path)
    assert captions(source) == {"a": (), "photo.v2": (), "z": ()}
    found = errors(source)
    assert "left out" in found["s.tar#a.json"]
    assert "not UTF-8" in found["s.tar#a.txt"]
    assert "link" in found["s.tar#link.png"]
    assert "the limit is 1,000" in found["s.tar#huge.png"]
    assert "name it like photo.jpg" in found["s.tar#photo"]
    assert "JSON list" in found["s.tar#z.json"]


def test_tars_with_splits(tmp_path: Path) -> None:
    members = [
        (f"{n}.{kind}", data)
        for n, split in enumerate(["train", "restval", "test"])
        for kind, data in (("png", png()), ("json", product(caption="x", split=split)))
    ]
    path = write_tar(tmp_path / "s.tar", members)
    assert open_source(path).splits() == {"train": 2, "test": 1}
    assert list(captions(open_source(path, split="train"))) == ["0", "1"]
    with pytest.raises(DataError, match=r"no split 'val'; take one of: train \(2\), test \(1\)"):
        list(open_source(path, split="val"))


def test_tars_without_splits_are_used_whole(tmp_path: Path) -> None:
    source = open_source(write_tar(tmp_path / "s.tar", {"a.png": png()}), split="test")
    assert list(captions(source)) == ["a"]
    assert "has no splits" in source.notes[0]


def test_tars_are_streamed(tmp_path: Path) -> None:
    members = [(f"{n:04d}.png", bytes(4_000)) for n in range(2000)]
    path = write_tar(tmp_path / "s.tar", members)
    # Neither the pictures nor the headers of 2,000 members are kept.
    assert peak_of_reading(path, 2000) < 900_000


# --- Drawn scenes ---


def test_scenes_are_a_source() -> None:
    source = open_source("scenes:3?seed=5&size=48", split="val")
    samples = list(source)
    assert (len(samples), source.count(), source.splits(), source.failures) == (3, 3, {"val": 3}, [])
    assert len({sample.id for sample in samples}) == 3
    assert {sample.split for sample in samples} == {"val"}
    assert all(sample.captions for sample in samples)
    with Image.open(io.BytesIO(samples[0].read())) as drawn:
        assert drawn.size == (48, 48)
    assert list(source) == samples


@pytest.mark.parametrize(
    "spec",
    [
        "scenes:",
        "scenes:0",
        "scenes:-3",
        "scenes:many",
        "scenes:5?seeds=1",
        "scenes:5?seed=x",
        "scenes:5?size=",
    ],
)
def test_scenes_that_can_not_be_drawn(spec: str) -> None:
    message = refused(spec)
    assert repr(spec) in message
    assert "scenes:COUNT?seed=S&size=P" in message


def test_scenes_of_impossible_sizes_and_splits() -> None:
    assert "size=5" in refused("scenes:3?size=5")
    assert "no split 'other'; take one of: train, val, test" in refused("scenes:3", split="other")
