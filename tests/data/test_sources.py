"""Sources as their users meet them: folders, tables, splits, and every way in which they can be wrong."""

from __future__ import annotations

import hashlib
import json
import os
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fakes import gallery
from hivlp.data.sources import Source, open_source
from hivlp.data.sources.base import clean_captions, clean_text, plain
from hivlp.data.sources.cells import is_missing, listed
from hivlp.errors import DataError
from hivlp.types import Sample


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = BytesIO()
    Image.new("RGB", (4, 4), (10, 200, 30)).save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())
    return path


def write(path: Path, *lines: str) -> Path:
    path.write_bytes(("\n".join(lines) + "\n").encode())
    return path


def ids(source: Source) -> list[str]:
    return [sample.id for sample in source]


def captions(source: Source) -> dict[str, tuple[str, ...]]:
    return {sample.id: sample.captions for sample in source}


def errors(source: Source) -> dict[str, str]:
    """What an iteration could not use, by the last part of its place."""
    list(source)
    return {Path(failure.uri).name: failure.error for failure in source.failures}


# --- Folders ---


def test_folder_is_recursive_sorted_and_skips_what_is_hidden(tmp_path: Path) -> None:
    for name in ("b.JPG", "a/z.png", "a/c/x.webp", "d.tiff", ".hidden.jpg", ".git/y.jpg", "a/._z.png"):
        picture(tmp_path / name)
    write(tmp_path / "notes.md", "no picture")
    source = open_source(tmp_path)
    samples = list(source)
    assert [sample.id for sample in samples] == ["a/c/x.webp", "a/z.png", "b.JPG", "d.tiff"]
    assert samples[0].image == tmp_path / "a/c/x.webp"
    assert samples[0].uri == str(tmp_path / "a/c/x.webp")
    assert samples[0].captions == ()
    assert (source.count(), source.splits(), source.failures, source.notes) == (4, {}, [], [])
    assert source.name == tmp_path.name


def test_folder_by_a_relative_path_gives_absolute_uris(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(tmp_path / "pics/a.png")
    monkeypatch.chdir(tmp_path)
    (sample,) = open_source("pics")
    assert (sample.id, sample.uri) == ("a.png", str(tmp_path / "pics/a.png"))


def test_folder_captions_are_the_lines_of_the_file_beside(tmp_path: Path) -> None:
    picture(tmp_path / "dog.png")
    picture(tmp_path / "my.cat.png")
    (tmp_path / "dog.txt").write_bytes(b"\xef\xbb\xbfA dog\truns .\r\n\r\n  Two  dogs \r\n")
    write(tmp_path / "my.cat.txt", "Eine Katze, müde")
    assert captions(open_source(tmp_path)) == {
        "dog.png": ("A dog runs .", "Two dogs"),
        "my.cat.png": ("Eine Katze, müde",),
    }


def test_folder_with_a_wrongly_encoded_caption_keeps_the_picture(tmp_path: Path) -> None:
    picture(tmp_path / "dog.png")
    (tmp_path / "dog.txt").write_bytes("müde".encode("latin-1"))
    source = open_source(tmp_path)
    assert captions(source) == {"dog.png": ()}
    assert "not UTF-8" in errors(source)["dog.txt"]


def test_folder_is_read_as_pictures_even_with_a_table_inside(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    write(tmp_path / "captions.tsv", "image\tcaption", "a.png\tnot used")
    assert captions(open_source(tmp_path)) == {"a.png": ()}


def test_folder_lists_what_can_not_be_used(tmp_path: Path) -> None:
    picture(tmp_path / "good.png")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "gone.jpg")
    (tmp_path / "folder.jpg").mkdir()
    source = open_source(tmp_path)
    assert ids(source) == ["good.png"]
    assert "broken symbolic link" in errors(source)["link.jpg"]
    assert len(source.failures) == 1
    assert len(list(source)) == 1
    assert len(source.failures) == 1, "failures start anew with each iteration"


def test_folder_follows_links_but_not_in_circles(tmp_path: Path) -> None:
    picture(tmp_path / "elsewhere/x.png")
    picture(tmp_path / "pics/a.png")
    (tmp_path / "pics/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "pics/again").symlink_to(tmp_path / "pics")
    assert ids(open_source(tmp_path / "pics")) == ["a.png", "linked/x.png"]


def test_folder_that_can_not_be_listed_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "locked/b.png")
    whole = os.scandir

    def refuse(folder: str):
        if Path(folder).name == "locked":
            raise PermissionError(13, "Permission denied", folder)
        return whole(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    source = open_source(tmp_path)
    assert ids(source) == ["a.png"]
    assert "can't be read (Permission denied)" in errors(source)["locked"]


def test_file_names_that_are_not_utf8_are_failures(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    bad = tmp_path / b"m\xfcde.png".decode("utf-8", "surrogateescape")
    try:
        picture(bad)
    except OSError:
        return  # this file system takes UTF-8 names only
    source = open_source(tmp_path)
    assert ids(source) == ["a.png"]
    (failure,) = source.failures
    assert "not UTF-8" in failure.error
    json.dumps(failure.as_dict()).encode()


@pytest.mark.parametrize("name", ["a\nb.png", "emoji 🐶.png", "空.png", "semi;colon'.png", "{curly}.png"])
def test_odd_file_names(tmp_path: Path, name: str) -> None:
    picture(tmp_path / name)
    (sample,) = open_source(tmp_path)
    assert sample.id == name
    assert sample.read()


# --- Wrong paths ---


def refused(spec: str | Path, *, image_root: Path | None = None, split: str | None = None) -> str:
    with pytest.raises(DataError) as caught:
        open_source(spec, image_root=image_root, split=split)
    return str(caught.value)


def test_missing_folder_names_the_nearest_and_the_similar(tmp_path: Path) -> None:
    (tmp_path / "holidays").mkdir()
    message = refused(tmp_path / "holidasy" / "2019")
    assert str(tmp_path / "holidasy" / "2019") in message
    assert "did you mean holidays?" in message
    assert f"the nearest that does is {tmp_path}" in message
    assert "check the spelling" in refused(tmp_path / "qqq")


def test_empty_folder_and_folder_without_pictures(tmp_path: Path) -> None:
    assert "empty folder" in refused(tmp_path)
    write(tmp_path / "a.pdf", "x")
    (tmp_path / "more").mkdir()
    write(tmp_path / "more/b.docx", "x")
    message = refused(tmp_path)
    assert "holds no pictures (2 files skipped: 1 .docx, 1 .pdf)" in message
    assert " jpeg jpg " in message and " png " in message


def test_unknown_kind_of_file(tmp_path: Path) -> None:
    message = refused(write(tmp_path / "list.xlsx", "x"))
    assert "list.xlsx is a spreadsheet; save it as CSV" in message
    assert ".tsv" in message


def test_single_picture_is_no_source(tmp_path: Path) -> None:
    assert "a folder of pictures" in refused(picture(tmp_path / "a.png"))


def test_image_root_must_be_a_folder(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "image,caption", "a.png,x")
    assert "image root" in refused(table, image_root=tmp_path / "none")
    assert "is not a folder" in refused(table, image_root=table)


def test_image_root_without_effect_is_noted(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (note,) = open_source(tmp_path, image_root=tmp_path).notes
    assert "has no effect" in note


# --- Tables ---


def test_tsv_merges_the_rows_of_a_picture(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.png")
    picture(tmp_path / "images/b.png")
    table = write(
        tmp_path / "captions.tsv",
        "image\tidx\tsplit\tcaption\tyear",
        "images/a.png\t0\trestval\tA dog .\t1999",
        "images/b.png\t0\tval\tA cat\t",
        "./images/a.png\t1\ttrain\tTwo dogs\t2001",
        "images/b.png\t1\tval\t   \t",
    )
    source = open_source(table)
    first, second = source
    assert first == Sample(
        id="images/a.png",
        uri=str(tmp_path / "images/a.png"),
        image=tmp_path / "images/a.png",
        captions=("A dog .", "Two dogs"),
        split="train",
        meta={"year": 1999},
    )
    assert second.captions == ("A cat",)
    assert source.splits() == {"train": 1, "val": 1}
    assert (source.count(), source.failures, source.name) == (2, [], "captions.tsv")


def test_choosing_a_split(tmp_path: Path) -> None:
    for name in "abc":
        picture(tmp_path / f"{name}.png")
    table = write(
        tmp_path / "t.csv", "image,split,caption", "a.png,train,x", "b.png,restval,y", "c.png,test,z"
    )
    assert ids(open_source(table, split="train")) == ["a.png", "b.png"]
    assert ids(open_source(table, split="restval")) == ["a.png", "b.png"]
    chosen = open_source(table, split="test")
    assert (chosen.count(), chosen.splits()) == (1, {"train": 2, "test": 1})
    assert "has no split 'dev'; take one of: train (2), test (1)" in refused(table, split="dev")


def test_sources_without_splits_are_used_whole_with_a_note(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    table = write(tmp_path / "t.csv", "image,caption", "a.png,x")
    for spec in (tmp_path, table):
        source = open_source(spec, split="test")
        assert ids(source) == ["a.png"]
        assert "has no splits" in source.notes[0]


def test_rows_that_disagree_about_the_split_are_listed(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    table = write(tmp_path / "t.csv", "image,split,caption", "a.png,train,x", "a.png,test,y")
    source = open_source(table)
    assert captions(source) == {"a.png": ("x",)}
    assert "into split 'test'" in errors(source)["t.csv line 3"]


@pytest.mark.parametrize("image", ["image", "filepath", "path", "file", "image_path", "Image", "file_name"])
@pytest.mark.parametrize("caption", ["caption", "captions", "text", "title", "TEXT"])
def test_column_names(tmp_path: Path, image: str, caption: str) -> None:
    picture(tmp_path / "a.png")
    table = write(tmp_path / "t.csv", f"{caption},{image},price", "a dog,a.png,3")
    (sample,) = open_source(table)
    assert (sample.id, sample.captions, dict(sample.meta)) == ("a.png", ("a dog",), {"price": 3})


@pytest.mark.parametrize("mark", [",", "\t"], ids=["csv", "tsv"])
def test_a_column_whose_every_cell_is_a_number_is_one_of_numbers(tmp_path: Path, mark: str) -> None:
    for name in "ab":
        picture(tmp_path / f"{name}.png")
    columns = {
        "image": ("a.png", "b.png", "gone.png"),
        "caption": ("1", "2", "3"),
        "id": ("1.50", "2", "3"),
        "year": ("2015", " 2016 ", "1"),
        "price": ("1.5e3", "-2", ""),
        "empty": ("", "", ""),
        "code": ("007", "8", "9"),
        "sum": ("+1", "2", "3"),
        "last": ("1", "2", "three"),
        "long": ("1234567890123456789", "2", "3"),
        "size": ("NaN", "2", "3"),
    }
    rows = [mark.join(cells) for cells in (columns, *zip(*columns.values(), strict=True))]
    first, second = open_source(write(tmp_path / ("t.csv" if mark == "," else "t.tsv"), *rows))
    assert (first.id, first.captions) == ("1.50", ("1",)), "what has a meaning of its own stays text"
    assert first.meta == {
        "year": 2015, "price": 1500.0, "empty": "", "code": "007", "sum": "+1", "last": "1",
        "long": "1234567890123456789", "size": None,
    }  # fmt: skip
    assert (second.meta["year"], second.meta["price"]) == (2016, -2)


def test_a_number_that_a_row_lacks_is_null(tmp_path: Path) -> None:
    for name in "ab":
        picture(tmp_path / f"{name}.png")
    _, lacking = open_source(write(tmp_path / "t.csv", "image,caption,price", "a.png,x,1", "b.png,y,"))
    assert lacking.meta == {"price": None}


def test_columns_that_are_not_needed_are_metadata(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    rows = {"id": 7, "image": "a.png", "caption": "x", "title": "T", "text": None, "tags": ["u", 1], "n": 1.5}
    (sample,) = open_source(write(tmp_path / "t.jsonl", json.dumps(rows)))
    assert sample.id == "7"
    assert sample.meta == {"title": "T", "text": None, "tags": ["u", 1], "n": 1.5}


@pytest.mark.parametrize("suffix", ["tsv", "csv", "jsonl"])
def test_missing_columns(tmp_path: Path, suffix: str) -> None:
    lines = {
        "tsv": ["pixels\tnote", "a\tb"],
        "csv": ["pixels,note", "a,b"],
        "jsonl": ['{"pixels": "a", "note": "b"}'],
    }
    message = refused(write(tmp_path / f"t.{suffix}", *lines[suffix]))
    assert f"t.{suffix} has no column 'image' and no column 'caption'" in message
    assert "it has 'pixels', 'note'" in message
    assert "Needed: one of image/" in message


def test_missing_caption_column_alone(tmp_path: Path) -> None:
    message = refused(write(tmp_path / "t.csv", "image,photographer", "a.png,Ann"))
    assert "no column 'caption'; it has 'image', 'photographer'" in message


def test_a_table_of_urls_is_refused_with_a_remedy(tmp_path: Path) -> None:
    message = refused(write(tmp_path / "t.csv", "url,caption", "https://example.org/a.jpg,x"))
    assert "not downloaded" in message


@pytest.mark.parametrize("content", [b"", b"\n\n", b"image,caption\n", b"\xef\xbb\xbfimage,caption\r\n\r\n"])
def test_tables_without_rows(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    assert "t.csv" in refused(path)


def test_byte_order_mark_and_windows_lines(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    for suffix, mark in (("csv", ","), ("tsv", "\t")):
        path = tmp_path / f"t.{suffix}"
        path.write_bytes(f'\ufeffimage{mark}caption\r\na.png{mark}naïve dog\r\na.png{mark}"two"\r\n'.encode())
        assert captions(open_source(path)) == {"a.png": ("naïve dog", "two")}


TABLES = {
    "tsv": "image\tcaption\na.png\tcafé – two\n",
    "csv": "image;caption\na.png;café – two\n",
    "jsonl": '{"image": "a.png", "caption": "café – two"}\n',
    "json": '[{"image": "a.png", "caption": "café – two"}]',
}


@pytest.mark.parametrize("suffix", list(TABLES))
@pytest.mark.parametrize(
    ("encoding", "name"),
    [("utf-8", None), ("utf-8-sig", None), ("cp1252", "Windows-1252"), ("utf-16", "UTF-16")],
)
def test_encodings_are_recognised(tmp_path: Path, suffix: str, encoding: str, name: str | None) -> None:
    picture(tmp_path / "a.png")
    path = tmp_path / f"t.{suffix}"
    path.write_bytes(TABLES[suffix].encode(encoding))
    source = open_source(path)
    assert captions(source) == {"a.png": ("café – two",)}
    if name is not None and not (suffix == "jsonl" and encoding == "utf-16"):
        assert source.notes == [f"{path} is not UTF-8; it was read as {name}"]


@pytest.mark.parametrize("suffix", list(TABLES))
@pytest.mark.parametrize("encoding", ["cp1251", "shift_jis", "gbk"])
def test_encodings_of_other_scripts_are_refused(tmp_path: Path, suffix: str, encoding: str) -> None:
    words = "большая собака бежит по траве" if encoding == "cp1251" else "大犬在草地上走的中国人日本"
    path = tmp_path / f"t.{suffix}"
    path.write_bytes(TABLES[suffix].replace("café – two", words).encode(encoding, "replace"))
    message = refused(path)
    assert "is not UTF-8" in message
    assert "save it as UTF-8" in message


def test_bad_rows_are_listed_and_the_others_read(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "broken.png").symlink_to(tmp_path / "gone.png")
    table = write(
        tmp_path / "t.csv",
        "image,caption",
        "a.png,good",
        ",no picture",
        "gone.png,missing",
        "folder.png,a folder",
        "broken.png,a link",
        "https://example.org/x.jpg,a url",
        "a.png,too,many",
        "b.png",
        "b.png,",
        "nul\0.png,odd",
    )
    source = open_source(table)
    assert captions(source) == {"a.png": ("good", "too,many"), "b.png": ()}
    found = errors(source)
    assert "no picture" in found["t.csv line 3"]
    assert "does not exist" in found["gone.png"]
    assert "t.csv line 4" in found["gone.png"]
    assert "a folder" in found["folder.png"]
    assert "broken symbolic link" in found["broken.png"]
    assert "URL" in found["x.jpg"]
    assert "1 cells, the header 2" in found["t.csv line 9"]
    assert len(source.failures) == 7


def test_pictures_below_the_wrong_folder_are_noted(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.png")
    (tmp_path / "tables").mkdir()
    table = write(tmp_path / "tables/t.csv", "image,caption", "a.png,x")
    source = open_source(table)
    assert "--image-root" in source.notes[0]
    assert ids(source) == []
    right = open_source(table, image_root=tmp_path / "images")
    assert (ids(right), right.notes) == (["a.png"], [])


def test_absolute_paths_in_a_table(tmp_path: Path) -> None:
    path = picture(tmp_path / "elsewhere/a.png")
    (tmp_path / "tables").mkdir()
    (sample,) = open_source(write(tmp_path / "tables/t.csv", "image,caption", f"{path},x"))
    assert sample.image == path


def test_duplicate_ids_keep_the_first(tmp_path: Path) -> None:
    for name in "ab":
        picture(tmp_path / f"{name}.png")
    table = write(tmp_path / "t.csv", "id,image,caption", "7,a.png,x", "7,b.png,y", "8,a.png,z")
    source = open_source(table)
    assert captions(source) == {"7": ("x", "z")}
    assert f"duplicate id '7', first at {tmp_path / 'a.png'}" in errors(source)["b.png"]


def test_repeated_column(tmp_path: Path) -> None:
    assert "has the column 'caption' twice" in refused(
        write(tmp_path / "t.csv", "image,caption,caption", "a,b,c")
    )


def test_several_captions_in_one_cell(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    cell = json.dumps(["one\tdog", "", "two dogs"]).replace('"', '""')
    in_csv = write(tmp_path / "t.csv", "image,captions", f'a.png,"{cell}"')
    in_jsonl = write(
        tmp_path / "t.jsonl", json.dumps({"image": "a.png", "captions": ["one\tdog", None, "two dogs"]})
    )
    for table in (in_csv, in_jsonl):
        assert captions(open_source(table)) == {"a.png": ("one dog", "two dogs")}


def test_csv_with_newlines_commas_and_quotes_in_captions(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    table = write(
        tmp_path / "t.csv", "image,caption", 'a.png,"a ""big"" dog,', '\tand a\r\n cat"', "a.png,plain"
    )
    assert captions(open_source(table)) == {"a.png": ('a "big" dog, and a cat', "plain")}


@pytest.mark.parametrize("mark", [";", "\t"])
def test_csv_of_other_separators(tmp_path: Path, mark: str) -> None:
    picture(tmp_path / "a.png")
    assert captions(open_source(write(tmp_path / "t.csv", f"image{mark}caption", f"a.png{mark}x, y"))) == {
        "a.png": ("x, y",)
    }


def test_csv_with_a_quote_left_open_is_refused_with_its_line(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "image,caption", "a.png,fine", 'b.png,"open', "c.png,x", "d.png,y")
    assert "t.csv line 3 can't be read as CSV" in refused(table)


def test_csv_row_with_text_after_a_quote_is_listed(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    source = open_source(write(tmp_path / "t.csv", "image,caption", 'a.png,"big" dog', "a.png,fine"))
    assert captions(source) == {"a.png": ("fine",)}
    assert "t.csv line 2" in errors(source)


def test_tsv_reads_quoted_cells_and_bare_quotes(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    table = write(
        tmp_path / "t.tsv",
        "image\tcaption",
        'a.png\t"a "" sale "" sign"',
        'a.png\t"Hello" he says',
        'a.png\t12" pizza',
        'a.png\t"open quote',
        'a.png\tclosed here"',
        'a.png\t"two',
        'lines"',
        'a.png\t"a\ttab"',
        'a.png\t""',
        'a.png\t"',
        "a.png\tlast",
    )
    source = open_source(table)
    assert captions(source)["a.png"] == (
        'a " sale " sign',
        '"Hello" he says',
        '12" pizza',
        '"open quote',
        'closed here"',
        "two lines",
        "a tab",
        '"',
        "last",
    )
    assert source.failures == []


def test_tsv_line_numbers_count_the_lines_inside_of_cells(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    source = open_source(write(tmp_path / "t.tsv", "image\tcaption", 'a.png\t"x', 'y"', "bad row"))
    assert list(errors(source)) == ["t.tsv line 4"]


def test_jsonl_with_bad_lines(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    table = write(
        tmp_path / "t.jsonl",
        '{"image": "a.png", "caption": "x"}',
        "",
        '{"image": "a.png", "caption": ',
        "[1, 2]",
        '{"caption": "nothing to see"}',
        '{"image": 5, "caption": "y"}',
        '{"image": "a.png"}',
        '{"image": "a.png", "text": "z"}',
    )
    source = open_source(table)
    assert captions(source) == {"a.png": ("x", "z")}
    found = errors(source)
    assert "not JSON" in found["t.jsonl line 3"]
    assert "JSON list" in found["t.jsonl line 4"]
    assert "no picture" in found["t.jsonl line 5"]
    assert "no picture" in found["t.jsonl line 6"]


def test_jsonl_without_one_good_line(tmp_path: Path) -> None:
    assert "holds no rows" in refused(write(tmp_path / "t.jsonl", "hello"))


def test_reading_twice_gives_the_same(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    source = open_source(write(tmp_path / "t.csv", "image,caption", "a.png,x", "gone.png,y"))
    assert list(source) == list(source)
    assert len(source.failures) == 1


# --- Captions come through every format as they went in ---

WORDS = st.text(
    st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=40
).filter(lambda text: clean_text(text) and not is_missing(text) and listed(text) is None)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(WORDS, min_size=1, max_size=6))
def test_captions_survive_csv_and_jsonl(tmp_path: Path, rows: list[str]) -> None:
    import csv

    picture(tmp_path / "a.png")
    with (tmp_path / "t.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("image", "caption"), *(("a.png", row) for row in rows)])
    write(tmp_path / "t.jsonl", *(json.dumps({"image": "a.png", "caption": row}) for row in rows))
    expected = {"a.png": tuple(" ".join(row.split()) for row in rows)}
    assert captions(open_source(tmp_path / "t.csv")) == expected
    assert captions(open_source(tmp_path / "t.jsonl")) == expected


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(WORDS, min_size=1, max_size=6), is_quoted=st.booleans())
def test_captions_survive_tsv(tmp_path: Path, rows: list[str], is_quoted: bool) -> None:
    import csv

    # Cells with both tabs and newlines are beyond what the rule for quotes can tell apart.
    rows = [" ".join(row.split("\t")) for row in rows]
    picture(tmp_path / "a.png")
    with (tmp_path / "t.tsv").open("w", encoding="utf-8", newline="") as file:
        if is_quoted:
            csv.writer(file, delimiter="\t").writerows(
                [("image", "caption"), *(("a.png", row) for row in rows)]
            )
        else:
            # A caption wholly in quotes can't be told from a quoted cell either.
            rows = [clean_text(row).strip('"') or "x" for row in rows]
            file.write("image\tcaption\n" + "".join(f"a.png\t{row}\n" for row in rows))
    expected = {"a.png": tuple(" ".join(row.split()) for row in rows)}
    assert captions(open_source(tmp_path / "t.tsv")) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ()),
        ("", ()),
        (" \t\n ", ()),
        (float("nan"), ()),
        (7, ("7",)),
        ("a\tb\r\nc", ("a b c",)),
        (["x", ["y"], ""], ("x", "y")),
        ('["x", "y"]', ("x", "y")),
        ('["[1]"]', ("[1]",)),
        ("[1, 2]", ("[1, 2]",)),
        ("[a sign] and [another]", ("[a sign] and [another]",)),
        ("[" * 100_000 + "]", ("[" * 100_000 + "]",)),
        ("nul\0byte and \ud800", ("nul byte and \ufffd",)),
    ],
)
def test_cleaning_captions(value: object, expected: tuple[str, ...]) -> None:
    assert clean_captions(value) == expected


def test_metadata_is_plain_json() -> None:
    import datetime
    from decimal import Decimal

    value = {
        "nan": float("nan"),
        "bytes": b"x",
        "day": datetime.date(2020, 1, 2),
        "list": (1, True, None),
        "inner": {1: Decimal("1.5"), "text": "\ud800"},
    }
    expected = {
        "nan": None,
        "bytes": None,
        "day": "2020-01-02",
        "list": [1, True, None],
        "inner": {"1": "1.5", "text": "\ufffd"},
    }
    assert plain(value) == expected
    json.dumps(plain(value), allow_nan=False).encode()


def test_a_path_has_one_spelling(tmp_path: Path) -> None:
    gallery(tmp_path / "pictures", "red")
    (tmp_path / "other").mkdir()
    (sample,) = open_source(tmp_path / "other" / ".." / "pictures")
    assert sample.uri == str(tmp_path / "pictures" / "red.png")


def test_a_parent_behind_a_link_is_the_folder_it_is(tmp_path: Path) -> None:
    gallery(tmp_path / "far" / "pictures", "red")
    (tmp_path / "far" / "deep").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "far" / "deep")
    gallery(tmp_path / "pictures", "blue")
    (sample,) = open_source(f"{tmp_path}/link/../pictures")
    assert Path(sample.uri).name == "red.png", "as the system follows it, not as it looks"


def test_a_held_out_share_is_the_same_for_everyone(tmp_path):
    for number in range(60):
        picture(tmp_path / f"{number:02}.jpg")
    spec = f"{tmp_path}?held_out=0.3"
    train, val = ({sample.id for sample in open_source(spec, split=split)} for split in ("train", "val"))
    drawn = {name: int(hashlib.sha256(name.encode()).hexdigest()[:16], 16) / 16**16 for name in train | val}
    assert val == {name for name, chance in drawn.items() if chance < 0.3} and len(drawn) == 60
    assert open_source(spec).splits() == {"train": len(train), "val": len(val)}
    assert {sample.split for sample in open_source(spec)} == {"train", "val"}
    picture(tmp_path / "new.jpg")  # what is held out stays so when the source grows
    assert {sample.id for sample in open_source(spec, split="val")} - {"new"} >= val
    with pytest.raises(DataError, match="has no split 'test'; take one of: train"):
        open_source(spec, split="test")


@pytest.mark.parametrize("share", ["0", "1", "x", "", "-0.1"])
def test_a_held_out_share_is_between_0_and_1(tmp_path, share: str):
    with pytest.raises(DataError, match=r"give a share between 0 and 1, such as held_out=0\.1"):
        open_source(f"{tmp_path}?held_out={share}")


def test_what_stands_behind_a_source_is_named_where_it_is_not_known(tmp_path):
    (tmp_path / "t.tsv").write_text("image\tcaption\n")
    with pytest.raises(DataError, match=r"t\.tsv exists, but the option 'held_uot=0\.1' after its \? is un"):
        open_source(f"{tmp_path / 't.tsv'}?held_uot=0.1")
    with pytest.raises(DataError, match=r"does not exist"):
        open_source(f"{tmp_path / 'u.tsv'}?held_uot=0.1")


def test_a_part_of_val_is_set_aside_for_reporting(tmp_path):
    rows = [f"{number}.jpg\tpicture {number}\t{'val' if number % 2 else 'train'}" for number in range(400)]
    (tmp_path / "t.tsv").write_text("\n".join(["image\tcaption\tsplit", *rows]))
    for number in range(400):
        (tmp_path / f"{number}.jpg").touch()
    spec = f"{tmp_path / 't.tsv'}?report=0.5"
    counts = open_source(spec).splits()
    assert counts["train"] == 200 and counts["val"] + counts["report"] == 200
    assert 80 < counts["report"] < 120
    named = {
        name: {sample.id for sample in open_source(spec, split=name)} for name in ("train", "val", "report")
    }
    assert {name: len(ids) for name, ids in named.items()} == counts
    assert not named["val"] & named["report"]
    rest = {sample.id for sample in open_source(str(tmp_path / "t.tsv"), split="val")}
    assert named["val"] | named["report"] == rest
    with pytest.raises(DataError, match="no split 'test'; take one of"):
        open_source(spec, split="test")


def test_held_out_and_report_go_together(tmp_path):
    for number in range(60):
        picture(tmp_path / f"{number:02}.jpg")
    counts = open_source(f"{tmp_path}?held_out=0.5&report=0.5").splits()
    assert set(counts) == {"train", "val", "report"} and sum(counts.values()) == 60
    assert all(counts.values())


def test_reporting_needs_a_val(tmp_path):
    picture(tmp_path / "1.jpg")
    with pytest.raises(DataError, match="no split 'val'"):
        open_source(f"{tmp_path}?report=0.5")
    with pytest.raises(DataError, match=r"such as report=0\.5"):
        open_source(f"{tmp_path}?report=2")


def test_nothing_is_held_out_of_a_source_with_splits(tmp_path):
    picture(tmp_path / "a.jpg")
    (tmp_path / "t.tsv").write_text("image\tcaption\tsplit\na.jpg\tx\tval\n")
    with pytest.raises(DataError, match=r"t\.tsv has splits of its own \(val\); leave held_out out"):
        open_source(f"{tmp_path / 't.tsv'}?held_out=0.5")


def test_of_a_source_that_is_all_for_training_a_part_can_be_held_out(tmp_path):
    rows = [f"{picture(tmp_path / f'{number}.jpg').name}\tx\ttrain" for number in range(30)]
    (tmp_path / "t.tsv").write_text("\n".join(["image\tcaption\tsplit", *rows]))
    splits = open_source(f"{tmp_path / 't.tsv'}?held_out=0.5").splits()
    assert sum(splits.values()) == 30 and min(splits.values()) > 5
