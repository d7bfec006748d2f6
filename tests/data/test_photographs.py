"""The photographs of the package: whole, few bytes, and each with its number in the archive."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from PIL import Image

from hivlp import Index, load, open_source
from hivlp.data.photographs import FOLDER, TABLE, copy

NUMBER = r"2017\d{6}|LC-US[A-Z0-9]+-[A-Z0-9-]*\d{6}"
CAPTIONS = Path(__file__).parent / "photograph_captions.tsv"


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t"))


def test_the_table_lists_the_files_and_their_numbers() -> None:
    assert sorted(row["file"] for row in rows(TABLE)) == sorted(path.name for path in FOLDER.glob("*.jpg"))
    assert len(rows(TABLE)) == 240
    for row in rows(TABLE):
        assert re.fullmatch(NUMBER, row["library_of_congress"])
        assert row["file"] == f"{row['library_of_congress']}.jpg"
        assert row["title"] == " ".join(row["title"].split()) != ""


def test_they_are_small_and_can_be_read() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 1_500_000
    for path in FOLDER.glob("*.jpg"):
        with Image.open(path) as picture:
            picture.load()
            assert 80 <= min(picture.size) <= max(picture.size) <= 256, path.name


def test_the_table_is_a_source() -> None:
    source = open_source(TABLE)
    samples = list(source)
    assert (len(samples), source.failures, source.notes) == (240, [], [])
    assert all(len(sample.captions) == 1 for sample in samples)
    assert {tuple(sample.meta) for sample in samples} == {("library_of_congress",)}


def test_a_copy_is_whole_and_may_be_made_again(tmp_path: Path) -> None:
    for _ in range(2):
        assert copy(tmp_path / "gallery") == 240
    assert {path.name for path in (tmp_path / "gallery").iterdir()} == {
        TABLE.name,
        *(row["file"] for row in rows(TABLE)),
    }


def test_the_plain_captions_are_of_these_photographs() -> None:
    captions = rows(CAPTIONS)
    files = [row["file"] for row in captions]
    assert len(set(files)) == len(files) == 120
    assert set(files) <= {row["file"] for row in rows(TABLE)}
    assert len({row["caption"] for row in captions}) == 120, "no two of them ask for the same"


def test_the_shipped_model_finds_them_by_plain_captions(tmp_path: Path) -> None:
    """A floor below what it finds: a damaged vocabulary, graph or weight would fall through it."""
    with Index.create(tmp_path / "x.hivlp", load("mini")) as index:
        index.add(open_source(TABLE))
        found = [
            row["file"] in [Path(hit.uri).name for hit in index.search(row["caption"], k=10)]
            for row in rows(CAPTIONS)
        ]
        goldfish = index.encoder.encode_texts(["goldfish", "a small orange fish", "a freight train"]).fine
    assert sum(found) >= 75
    assert goldfish[0] @ goldfish[1] > 0.2 + goldfish[0] @ goldfish[2]
