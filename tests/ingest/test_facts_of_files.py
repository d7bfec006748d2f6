"""What files say of themselves is metadata of their items, and stays right as files and tables change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from fakes import ColourEncoder, painted
from hivlp.data.sources import open_source
from hivlp.data.sources.folder import FolderSource
from hivlp.errors import FilterError
from hivlp.retriever import Index
from hivlp.types import Item

XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:subject><rdf:Bag><rdf:li>%s</rdf:li></rdf:Bag>
</dc:subject></rdf:Description></rdf:RDF></x:xmpmeta>"""


def taken(path: Path, colour: str, moment: str) -> None:
    block = Image.Exif()
    block.get_ifd(0x8769)[0x9003] = moment
    painted(colour).save(path, exif=block)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "Pictures"
    folder.mkdir()
    taken(folder / "red.jpg", "red", "2021:05:02 12:00:00")
    taken(folder / "blue.jpg", "blue", "2023:01:01 00:00:00")
    return folder


@pytest.fixture
def index(tmp_path: Path, colours: ColourEncoder) -> Iterator[Index]:
    with Index.create(tmp_path / "x.hivlp", colours) as index:
        yield index


def items(index: Index) -> dict[str, Item]:
    found = index.store.items_below("/", kind="image")  # type: ignore[attr-defined]
    return {Path(item.uri).name: item for item in found}


def test_pictures_are_filtered_by_the_day_they_were_taken(index: Index, pictures: Path) -> None:
    index.add(pictures)
    hits = index.search("red", where="taken_at >= '2022'")
    assert [Path(hit.uri).name for hit in hits] == ["blue.jpg"]
    assert hits[0].meta == {"taken_at": "2023-01-01T00:00:00", "taken_from": "exif"}


@pytest.mark.parametrize("name", ["red.jpg.xmp", "red.xmp", "red.XMP"])
def test_an_xmp_file_beside_a_picture_is_read_and_not_skipped(
    index: Index, pictures: Path, name: str
) -> None:
    (pictures / name).write_text(XMP % "Athens")
    (pictures / "gone.xmp").write_text(XMP % "nobody")
    source = FolderSource(pictures)
    index.add(source)
    assert items(index)["red.jpg"].meta["keywords"] == ["Athens"]
    assert "keywords" not in items(index)["blue.jpg"].meta
    assert source.skipped.files == {".xmp": 1}


def test_an_xmp_file_that_is_too_long_is_reported(index: Index, pictures: Path) -> None:
    (pictures / "red.xmp").write_bytes(b" " * 1_000_001)
    report = index.add(pictures)
    assert [Path(failure.uri).name for failure in report.failed] == ["red.xmp"]
    assert "1,000,000 bytes" in report.failed[0].error
    assert report.indexed == 2


def test_a_file_with_new_content_has_new_facts(index: Index, pictures: Path) -> None:
    index.add(pictures)
    painted("green").save(pictures / "red.jpg")
    taken(pictures / "blue.jpg", "white", "2020:02:02 02:02:02")
    index.add(pictures, resume=False)
    assert items(index)["red.jpg"].meta == {}
    assert items(index)["blue.jpg"].meta["taken_at"] == "2020-02-02T02:02:02"


def test_a_table_counts_more_and_keeps_the_other_facts(index: Index, pictures: Path) -> None:
    table = pictures / "table.csv"
    table.write_text("image,caption,camera\nred.jpg,my red,Box\n")
    for _ in range(2):
        index.add(open_source(str(table)), resume=False)
        item = items(index)["red.jpg"]
        assert item.caption == "my red"
        assert item.meta == {"camera": "Box", "taken_at": "2021-05-02T12:00:00", "taken_from": "exif"}


def test_the_name_that_people_try_first_is_named(index: Index, pictures: Path) -> None:
    index.add(pictures)
    with pytest.raises(FilterError, match="Did you mean taken_at"):
        index.search("red", where="date > '2022'")
