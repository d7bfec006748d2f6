"""Tables as people have them: layouts of known data sets, other separators, lists in cells, odd paths."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakes import png
from hivlp.data.sources import Source, open_source, open_texts
from hivlp.data.sources.cells import is_missing, listed
from hivlp.errors import DataError

NAMES = ("a1.jpg", "b2.jpg")
WORDS = {"a1.jpg": ("A dog , brown .", 'The "big" dog'), "b2.jpg": ("A cat", "It sleeps")}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / name).write_bytes(png("red"))
    return tmp_path


def captions(source: Source) -> dict[str, tuple[str, ...]]:
    return {sample.id: sample.captions for sample in source}


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def rows(form: str) -> list[str]:
    """A line for each caption."""
    return [
        form.format(name=name, n=n, text=text, quoted='"' + text.replace('"', '""') + '"')
        for name, texts in WORDS.items()
        for n, text in enumerate(texts)
    ]


LAYOUTS = {
    "Flickr8k.token.txt": rows("{name}#{n}\t{text}"),
    "results_20130124.token": rows("{name}#{n}\t{text}"),
    "captions.txt": ["image,caption", *rows("{name},{quoted}")],
    "results.csv": ["image_name| comment_number| comment", *rows("{name}| {n}| {text}")],
    "headless.csv": rows("{name},{quoted}"),
    "numbered.csv": rows("{name},{n},{quoted}"),
    "semicolons.csv": ["image;caption", *rows("{name};{quoted}")],
    "excel.csv": ["sep=;", "image;caption", *rows("{name};{quoted}")],
    "tabs.csv": ["Image Name\tCaption Text", *rows("{name}\t{text}")],
    "trailing.csv": ["image,caption,", *rows("{name},{quoted},")],
    "index.csv": [",image,caption", *rows("{n},{name},{quoted}")],
    "pipes.txt": ["photo|description", *rows("{name}|{text}")],
}


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_layouts_of_known_data_sets(pictures: Path, name: str) -> None:
    source = open_source(write(pictures / name, *LAYOUTS[name]))
    assert captions(source) == WORDS
    assert (source.failures, source.notes) == ([], [])
    assert [dict(sample.meta) for sample in source] == [{}, {}]


@pytest.mark.parametrize(
    "image, caption",
    [
        ("image_name", "comment"),
        ("image_file", "description"),
        ("images", "prompt"),
        ("IMG", "label"),
        ("Image-Path", "Alt Text"),
        ("image_id", "sentence"),
        ("image_url", "raw"),
        ("photo", "product_name"),
    ],
)
def test_names_of_columns_that_are_common_elsewhere(pictures: Path, image: str, caption: str) -> None:
    table = write(pictures / "t.csv", f"{caption},{image}", "a dog,a1.jpg")
    assert captions(open_source(table)) == {"a1.jpg": ("a dog",)}


def test_columns_are_named_behind_the_path(pictures: Path) -> None:
    table = write(
        pictures / "t.csv", "where,said,told & more,n,part", "a1.jpg,x,y,3,train", "b2.jpg,z,,4,test"
    )
    spec = f"{table}?image=where&caption=said&caption=told %26 more&id=n&split=part"
    assert captions(open_source(spec)) == {"3": ("x", "y"), "4": ("z",)}
    assert captions(open_source(spec, split="test")) == {"4": ("z",)}
    assert captions(open_source(f"{table}?image=where&caption=part")) == {
        "a1.jpg": ("train",),
        "b2.jpg": ("test",),
    }
    both = open_source(f"{table}?caption=said&held_out=0.5&image=where")
    assert sum(both.splits().values()) == 2
    texts = open_texts(f"{table}?caption=told %26 more")
    assert [sample.captions for sample in texts] == [("y",)]


@pytest.mark.parametrize(
    "options, words",
    [
        (
            "image=wher&caption=said",
            r"no column 'wher', which image=wher names; it has 'where', 'said': did you",
        ),
        ("image=&caption=said", "is empty; name a column"),
        ("image=where&image=said", "2 times; give it once"),
        ("imge=where", r"option 'imge=where' after its \? is unknown; did you mean 'image'"),
    ],
)
def test_wrong_names_of_columns_have_messages(pictures: Path, options: str, words: str) -> None:
    table = write(pictures / "t.csv", "where,said", "a1.jpg,x")
    with pytest.raises(DataError, match=words):
        open_source(f"{table}?{options}")
    with pytest.raises(DataError, match="has no columns, so image= can't name one"):
        open_source(f"{pictures}?image=where")


def test_a_table_without_known_columns_names_the_option(pictures: Path) -> None:
    with pytest.raises(DataError, match=r"name yours: 't\.csv\?image=COLUMN&caption=COLUMN'"):
        open_source(write(pictures / "t.csv", "where,said", "x,y"))


LISTS = [
    (str(["a dog", 'it\'s "big"']), ["a dog", 'it\'s "big"']),
    ("['a dog' \"it's\"\n 'third, one']", ["a dog", "it's", "third, one"]),
    (json.dumps(["a", "b\tc"]), ["a", "b\tc"]),
    ("['a', None, nan]", ["a"]),
    ("('a', 'b')", ["a", "b"]),
    ("array(['a', 'b'], dtype=object)", ["a", "b"]),
    ("['caf\\xe9 \\u96ea \\'x\\'']", ["café 雪 'x'"]),
    ("[{'raw': 'a', 'tokens': ['a']}, {'raw': 'b'}]", [{"raw": "a", "tokens": ["a"]}, {"raw": "b"}]),
    ("[]", []),
    ("[1, 2]", None),
    ("[a dog]", None),
    ("('a dog')", None),
    ("['a' dog]", None),
    ("['a''b']", None),
    ("[" * 3000, None),
    ("a dog", None),
]


@pytest.mark.parametrize("cell, parts", LISTS, ids=range(len(LISTS)))
def test_cells_that_spell_lists(cell: str, parts: list[Any] | None) -> None:
    assert listed(cell) == parts


def test_list_cells_are_several_captions(pictures: Path) -> None:
    table = write(
        pictures / "t.csv",
        "image,captions",
        'a1.jpg,"[\'one\' ""two\'s""]"',
        "b2.jpg,\"[{'raw': 'three', 'tokens': ['three']}]\"",
    )
    assert captions(open_source(table)) == {"a1.jpg": ("one", "two's"), "b2.jpg": ("three",)}


@pytest.mark.parametrize(
    "value", ["", " ", "nan", "NaN", "None", "null", "NA", "N/A", "<NA>", None, float("nan")]
)
def test_missing_values(value: Any) -> None:
    assert is_missing(value)


@pytest.mark.parametrize("value", ["none", "a", "0", 0, 0.0, [], "nan dog"])
def test_values_that_are_there(value: Any) -> None:
    assert not is_missing(value)


def test_missing_values_are_no_captions_ids_or_splits(pictures: Path) -> None:
    table = write(
        pictures / "t.csv", "image,caption,id,split,n", "a1.jpg,nan,None,NaN,NA", "b2.jpg,x,7,val,2"
    )
    a, b = open_source(table)
    assert (a.id, a.captions, a.split, dict(a.meta)) == ("a1.jpg", (), None, {"n": None})
    assert (b.id, b.captions, b.split, dict(b.meta)) == ("7", ("x",), "val", {"n": 2})


def test_caption_columns_with_numbers_are_all_captions(pictures: Path) -> None:
    table = write(pictures / "t.csv", "image,caption_0,caption_1,caption_2", "a1.jpg,x,,z", "b2.jpg,y,nan,w")
    assert captions(open_source(table)) == {"a1.jpg": ("x", "z"), "b2.jpg": ("y", "w")}


def test_unquoted_separators_are_read_and_named_with_their_lines(pictures: Path) -> None:
    table = write(pictures / "t.csv", "image,caption", "a1.jpg,a dog, brown", "b2.jpg,a cat")
    source = open_source(table)
    assert captions(source) == {"a1.jpg": ("a dog, brown",), "b2.jpg": ("a cat",)}
    assert "1 row with unquoted ','" in source.notes[0] and "(line 2)" in source.notes[0]
    before = open_source(
        write(pictures / "u.csv", "image,caption,n", "a1.jpg,a dog, brown,1", "b2.jpg,a cat,2")
    )
    assert captions(before) == {"b2.jpg": ("a cat",)}
    assert "u.csv line 2" in before.failures[0].uri and "4 cells, the header 3" in before.failures[0].error


PATHS: list[tuple[str, str]] = [
    ("deep\\sub\\a1.jpg", "deep/sub/a1.jpg"),
    ("C:\\Users\\me\\deep\\sub\\a1.jpg", "deep/sub/a1.jpg"),
    ("/home/other/deep/sub/a1.jpg", "deep/sub/a1.jpg"),
    ("a1.jpg", "archive/Images/a1.jpg"),
    ("A1.JPG", "a1.jpg"),
    ("a1", "a1.jpg"),
    ("my%20dog.jpg", "my dog.jpg"),
    ("caf\u0065\u0301.jpg", "café.jpg"),
    ("./deep/a1.jpg", "deep/a1.jpg"),
    ("file://{}/deep/a1.jpg", "deep/a1.jpg"),
    ("['deep/a1.jpg']", "deep/a1.jpg"),
    ("odd\\name.jpg", "odd\\name.jpg"),
]


@pytest.mark.parametrize("written, lies_at", PATHS)
def test_pictures_are_found_where_they_lie(tmp_path: Path, written: str, lies_at: str) -> None:
    file = tmp_path / "set" / lies_at
    file.parent.mkdir(parents=True)
    file.write_bytes(png("red"))
    cell = written.replace("{}", str(tmp_path / "set"))
    table = write(tmp_path / "set/t.jsonl", json.dumps({"image": cell, "caption": "x"}))
    (sample,) = open_source(table)
    assert (sample.image, sample.captions) == (file, ("x",))


def test_a_picture_is_never_taken_for_another_of_its_name(tmp_path: Path) -> None:
    for name in ("one/1.jpg", "two/1.JPG", "two/1.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(png("red"))
    lost = open_source(write(tmp_path / "t.csv", "image,caption", "/gone/a/1.jpg,x", "/gone/b/1.jpg,y"))
    assert list(lost) == [] and len(lost.failures) == 2, "two rows would be one file"
    several = open_source(write(tmp_path / "u.csv", "image,caption", "two/1.Jpg,x"))
    assert list(several) == [], "two files are spelt so"


def test_several_pictures_in_a_row_have_its_captions(pictures: Path) -> None:
    line = json.dumps({"id": 7, "images": list(NAMES), "text": "two views"})
    source = open_source(write(pictures / "t.jsonl", line))
    assert captions(source) == {"7#0": ("two views",), "7#1": ("two views",)}


# --- JSON ---

DOCUMENTS: dict[str, tuple[Any, dict[str, tuple[str, ...]]]] = {
    "llava": (
        [
            {
                "id": "7",
                "image": "a1.jpg",
                "conversations": [
                    {"from": "human", "value": "<image>\nDescribe."},
                    {"from": "gpt", "value": "a dog"},
                ],
            }
        ],
        {"7": ("a dog",)},
    ),
    "messages": (
        [
            {
                "images": ["a1.jpg"],
                "messages": [
                    {"role": "user", "content": "What?"},
                    {"role": "assistant", "content": [{"type": "text", "text": "a dog"}]},
                ],
            }
        ],
        {"a1.jpg": ("a dog",)},
    ),
    "by name": ({"a1.jpg": ["x", "y"], "b2.jpg": "z"}, {"a1.jpg": ("x", "y"), "b2.jpg": ("z",)}),
    "fiftyone": (
        {"samples": [{"filepath": "a1.jpg", "tags": ["t"], "caption": {"label": "a dog"}}]},
        {"a1.jpg": ("a dog",)},
    ),
    "instances": (
        {
            "images": [{"id": 1, "file_name": "a1.jpg"}, {"id": 2, "file_name": "b2.jpg"}],
            "annotations": [
                {"image_id": 1, "category_id": 18},
                {"image_id": 1, "category_id": 18},
                {"image_id": 1, "category_id": 1},
            ],
            "categories": [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}],
        },
        {"a1.jpg": ("dog", "person"), "b2.jpg": ()},
    ),
    "ids of two types": (
        {"images": [{"id": "1", "file_name": "a1.jpg"}], "annotations": [{"image_id": 1, "caption": "x"}]},
        {"a1.jpg": ("x",)},
    ),
    "urls": (
        {
            "images": [{"id": 1, "file_name": None, "coco_url": "http://x.org/val/a1.jpg?s=1"}],
            "annotations": [{"image_id": 1, "caption": "x"}],
        },
        {"a1.jpg": ("x",)},
    ),
    "images alone": ({"images": [{"id": 1, "file_name": "a1.jpg"}], "annotations": []}, {"a1.jpg": ()}),
}


@pytest.mark.parametrize("name", list(DOCUMENTS))
def test_annotation_files_of_other_kinds(pictures: Path, name: str) -> None:
    document, expected = DOCUMENTS[name]
    source = open_source(write(pictures / "x.json", json.dumps(document)))
    assert captions(source) == expected
    assert bool(source.notes) == (name == "instances"), "it says that labels stand in for captions"


def test_lines_and_lists_are_read_whatever_the_file_is_called(pictures: Path) -> None:
    lines = [json.dumps({"image": name, "caption": name[0]}) for name in NAMES]
    expected = {"a1.jpg": ("a",), "b2.jpg": ("b",)}
    assert captions(open_source(write(pictures / "lines.json", *lines))) == expected
    whole = json.dumps([json.loads(line) for line in lines], indent=1)
    assert captions(open_source(write(pictures / "list.jsonl", whole))) == expected


# --- Compressed files and patterns ---


@pytest.mark.parametrize(
    "ending, pack", [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]
)
@pytest.mark.parametrize("kind", ["csv", "jsonl", "json"])
def test_compressed_tables(pictures: Path, ending: str, pack: Callable[[bytes], bytes], kind: str) -> None:
    text = {
        "csv": "image,caption\na1.jpg,x\n",
        "jsonl": '{"image": "a1.jpg", "caption": "x"}\n',
        "json": '[{"image": "a1.jpg", "caption": "x"}]',
    }[kind]
    path = pictures / f"PAIRS.{kind}{ending}"
    path.write_bytes(pack(text.encode()))
    assert captions(open_source(path)) == {"a1.jpg": ("x",)}
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(DataError, match="damaged or cut off"):
        list(open_source(path))


def test_a_table_that_grows_without_end_is_refused(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hivlp.data.sources.packed.MAX_UNPACKED_BYTES", 10_000)
    monkeypatch.setattr("hivlp.data.sources.packed.MAX_LINE_BYTES", 10_000)
    (pictures / "bomb.csv.gz").write_bytes(gzip.compress(b"image,caption\n" + b"a" * 1_000_000))
    with pytest.raises(DataError, match="more than 10,000 bytes when it is unpacked"):
        open_source(pictures / "bomb.csv.gz")
    (pictures / "bomb.jsonl.gz").write_bytes(gzip.compress(b"a" * 1_000_000))
    with pytest.raises(DataError, match="a line above 10,000 bytes"):
        open_source(pictures / "bomb.jsonl.gz")


@pytest.mark.parametrize("pattern", ["part-{0..1}.jsonl", "part-*.jsonl", "part-[01].jsonl"])
def test_patterns_of_tables(pictures: Path, pattern: str) -> None:
    write(pictures / "part-0.jsonl", '{"image": "a1.jpg", "caption": "x"}')
    write(
        pictures / "part-1.jsonl",
        '{"image": "b2.jpg", "caption": "y"}',
        '{"image": "a1.jpg", "caption": "z"}',
    )
    assert captions(open_source(pictures / pattern)) == {"a1.jpg": ("x", "z"), "b2.jpg": ("y",)}


@pytest.mark.parametrize("name", ["t.xlsx", "t.rar", "t.arrow", "t.npy", "t.gz"])
def test_kinds_that_are_not_read_have_a_remedy(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK\3\4")
    with pytest.raises(DataError, match=r"save it as CSV|unpack it|write it as \.parquet|hivlp import"):
        open_source(tmp_path / name)


def test_the_first_three_reasons_are_shown_where_nothing_can_be_used(tmp_path: Path) -> None:
    images = [{"id": n} for n in range(5)]
    with pytest.raises(DataError, match=r"the first of 5 problems: .*image 0.*image 1.*image 2.*and 2 more"):
        open_source(write(tmp_path / "x.json", json.dumps({"images": images, "annotations": []})))


def test_a_folder_of_tables_alone_names_them(tmp_path: Path) -> None:
    write(tmp_path / "set/t.csv", "image,caption")
    with pytest.raises(
        DataError, match=r"no pictures, but tables or archives \(1\); name the file, such as .*t\.csv"
    ):
        open_source(tmp_path)
