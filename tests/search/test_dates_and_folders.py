"""A search within a folder, within dates, and newest first, from files that carry their dates."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fakes import ColourEncoder, painted
from hivlp.errors import QueryError
from hivlp.retriever import Index
from hivlp.search.request import SearchRequest
from ran import Ran
from serve_tools import client

PHOTOS = {
    "2021/rome/a.jpg": ("red", "2021:06:01 10:00:00"),
    "2021/rome/b.jpg": ("red", "2021:09:30 23:59:59"),
    "2021/r_me/c.jpg": ("blue", "2021:10:01 00:00:00"),
    "2022/it's/d.jpg": ("red", "2022:01:15 12:00:00"),
    "2022/e.jpg": ("red", None),
}


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "library"
    for size, (name, (colour, moment)) in enumerate(PHOTOS.items(), start=24):
        picture = painted(colour, size=(size, 24))
        exif = picture.getexif()
        if moment:
            exif.get_ifd(0x8769)[0x9003] = moment
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(folder / name, exif=exif)
    return folder


@pytest.fixture
def index(tmp_path: Path, library: Path, colours: ColourEncoder) -> Iterator[Index]:
    with Index.create(tmp_path / "x.hivlp", "mini") as index:
        index.add(library)
        yield index


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"folder": "2021"}, "abc"),
        ({"folder": "2021/rome/"}, "ab"),
        ({"folder": "./2021/r_me"}, "c"),
        ({"folder": "2022/it's"}, "d"),
        ({"folder": "."}, "abcde"),
        ({"folder": "202"}, ""),
        ({"since": "2021-10"}, "cd"),
        ({"since": "2021-09-30", "until": "2021-09"}, "b"),
        ({"until": "2021"}, "abc"),
        ({"since": "2021-06-01T10:00:01"}, "bcd"),
        ({"since": "2021", "folder": "2022", "where": "id like '%d%' or id like '%a%'"}, "d"),
    ],
)
def test_only_what_lies_in_the_folder_and_was_taken_then(
    index: Index, options: dict[str, str], expected: str
) -> None:
    hits = index.search("red", k=10, **options)
    assert "".join(sorted(Path(hit.id).stem for hit in hits)) == expected


def test_a_whole_path_is_a_folder_too(index: Index, library: Path) -> None:
    hits = index.search("red", k=10, folder=str(library / "2021" / "rome"))
    assert {hit.id for hit in hits} == {"2021/rome/a.jpg", "2021/rome/b.jpg"}


def test_newest_first_among_what_matches(index: Index) -> None:
    hits = index.search("red", k=2, min_score=0.9, sort="date")
    assert [hit.id for hit in hits] == ["2022/it's/d.jpg", "2021/rome/b.jpg"]
    assert [hit.rank for hit in hits] == [1, 2]
    rest = index.search("red", k=9, offset=2, min_score=0.9, sort="date")
    assert [hit.id for hit in rest] == ["2021/rome/a.jpg", "2022/e.jpg"], "without a date at the end"
    assert [hit.rank for hit in rest] == [3, 4]


def test_pages_of_the_best_are_each_turned_round(index: Index) -> None:
    best = [hit.id for hit in index.search("red", k=5)]
    pages = [index.search("red", k=3, offset=offset, sort="date") for offset in (0, 3)]
    assert [{hit.id for hit in page} for page in pages] == [set(best[:3]), set(best[3:])]
    assert [[hit.rank for hit in page] for page in pages] == [[1, 2, 3], [4, 5]]
    for page in pages:
        moments = [hit.meta.get("taken_at", "") for hit in page]
        assert moments == sorted(moments, reverse=True)


def test_a_lowest_score_and_dates_need_no_deeper_reranking() -> None:
    assert SearchRequest(k=10, rerank=10, min_score=0.2, sort="date").depth == 1_000


def test_an_index_without_dates_gets_them_when_it_is_indexed_again(
    tmp_path: Path, library: Path, colours: ColourEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Index.create(tmp_path / "old.hivlp", "mini") as index:
        with monkeypatch.context() as earlier:
            earlier.setattr("hivlp.ingest.pictures.facts_of", lambda data, name: {})
            index.add(library)
        assert all("taken_at" not in hit.meta for hit in index.search("red"))
        seen = colours.pictures_seen
        report = index.add(library)
        assert (report.indexed, report.skipped) == (0, 5)
        assert colours.pictures_seen == seen, "nothing is encoded"
        assert [hit.id for hit in index.search("blue", since="2021-10-01", until="2021-10-01")] == [
            "2021/r_me/c.jpg"
        ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"since": "2021-13"}, "since='2021-13' is invalid: must be a date such as 2021, 2021-06 or 2021-06"),
        ({"until": "2021' or 1=1"}, "is invalid: must be a date"),
        ({"since": "2022", "until": "2021-12"}, "since=2022 is after until=2021-12"),
        ({"sort": "size"}, "sort='size' is invalid: must be score or date"),
    ],
)
def test_impossible_dates_are_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(QueryError, match=message):
        SearchRequest(**options)


def test_the_same_day_is_an_interval() -> None:
    SearchRequest(since="2021-06-15", until="2021-06")
    SearchRequest(since="2021-06", until="2021")


def test_the_command_line_has_the_same(
    index: Index, library: Path, hivlp: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(index.store.info()["path"])
    ran = hivlp("search", path, "red", "--in", "2021/rome", "--from", "2021-09", "--to", "2021-09", "--json")
    assert [hit["id"] for hit in json.loads(ran.out)["hits"]] == ["2021/rome/b.jpg"]
    monkeypatch.chdir(library)
    ran = hivlp("search", path, "--in", "2022", "--json")
    assert {item["id"] for item in json.loads(ran.out)["items"]} == {"2022/e.jpg", "2022/it's/d.jpg"}


def test_the_service_has_the_same(index: Index) -> None:
    with client(index) as api:
        query = {"q": "red", "folder": "2021", "since": "2021-09", "sort": "date"}
        found = api.get("/v1/search", params=query).json()["hits"]
        assert [hit["id"] for hit in found] == ["2021/r_me/c.jpg", "2021/rome/b.jpg"]
        assert api.get("/v1/search", params={"q": "red", "since": "June"}).status_code == 400
