"""Near-equal images are one hit where a search groups them, on every page and beside every other option."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from fakes import ColourEncoder, painted
from hivlp.retriever import Index
from hivlp.search.grouping import groups
from hivlp.stores.local import LocalStore
from hivlp.types import Embeddings, Item
from index_tools import unit
from ran import Ran
from serve_tools import client

BURST = ["red", "red", "red", "red", "blue", "blue", "green"]


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Frames of a burst differ in size, and so in their bytes, but not in colour."""
    folder = tmp_path / "album"
    folder.mkdir()
    for number, colour in enumerate(BURST):
        painted(colour, size=(24 + number, 24)).save(folder / f"{number}-{colour}.png")
    return folder


@pytest.fixture
def index(tmp_path: Path, album: Path, colours: ColourEncoder) -> Iterator[Index]:
    with Index.create(tmp_path / "x.hivlp", "mini") as index:
        index.add(album)
        yield index


def test_groups_equal_a_comparison_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    vectors_ND = rng.normal(size=(60, 3)).astype(np.float32)
    vectors_ND /= np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    expected = list[list[int]]()
    for row in range(60):
        for group in expected:
            if float(vectors_ND[group[0]] @ vectors_ND[row]) >= 0.9:
                group.append(row)
                break
        else:
            expected.append([row])
    assert groups(vectors_ND, 0.9) == expected
    assert 1 < len(expected) < 60


def test_a_burst_is_one_hit(index: Index) -> None:
    hits = index.search("red", k=3, group=True)
    assert hits[0].id[2:] == "red.png"
    assert [hit.rank for hit in hits] == [1, 2, 3]
    everything = {hit.id for hit in hits}.union(*(hit.similar for hit in hits))
    assert everything == {f"{number}-{colour}.png" for number, colour in enumerate(BURST)}
    assert sorted(len(hit.similar) for hit in hits) == [0, 1, 3]


def test_groups_of_a_batch_equal_those_of_all_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    centres_CD = unit(rng.standard_normal((12, 8)))
    rows_ND = unit(np.repeat(centres_CD, 40, axis=0) + 0.05 * rng.standard_normal((480, 8)))
    queries_QD = unit(rng.standard_normal((5, 8)))
    store = LocalStore.create(
        tmp_path / "x.hivlp", model_name="m", model_fingerprint="f", widths=(8,), preprocessing={}
    )
    with store:
        kinds = ["text" if row % 7 == 0 else "image" for row in range(480)]
        items = [Item(id=f"{row}", uri=f"{row}", kind=kind) for row, kind in enumerate(kinds)]
        store.append(items, Embeddings({8: rows_ND}))
        found = store.search(Embeddings({8: queries_QD}), k=20, group=0.9)
        everything = store.search(Embeddings({8: queries_QD}), k=480)
        stored_ND = store.embeddings([item.id for item in items]).fine
    for hits, ranked in zip(found, everything, strict=True):
        expected: list[tuple[str, list[str]]] = []
        for hit in ranked:
            near = (
                others
                for first, others in expected
                if hit.kind == kinds[int(first)] == "image"
                and stored_ND[int(first)] @ stored_ND[int(hit.id)] >= 0.9
            )
            others = next(near, None)
            if others is None:
                expected.append((hit.id, []))
            else:
                others.append(hit.id)
        # the last groups may have members beyond the rows that were looked at
        assert [hit.id for hit in hits] == [first for first, _ in expected[:20]]
        for hit, (_, others) in zip(hits, expected, strict=False):
            assert list(hit.similar) == others[: len(hit.similar)]
        assert len(hits[0].similar) > 20


def test_without_grouping_every_image_is_a_hit(index: Index) -> None:
    hits = index.search("red", k=4)
    assert {hit.id[2:] for hit in hits} == {"red.png"}
    assert all(hit.similar == () for hit in hits)


def test_pages_of_groups_meet_every_group_once(index: Index) -> None:
    whole = index.search("red", k=3, group=True)
    pages = [index.search("red", k=1, offset=offset, group=True)[0] for offset in range(3)]
    assert [hit.id for hit in pages] == [hit.id for hit in whole]
    assert [hit.rank for hit in pages] == [1, 2, 3]


def test_a_filter_and_a_lowest_score_hold_inside_of_groups(index: Index) -> None:
    hits = index.search("red", k=3, group=True, where="id != '0-red.png'", min_score=0.9)
    assert [len(hit.similar) for hit in hits] == [2]
    assert "0-red.png" not in {hits[0].id, *hits[0].similar}


def test_captions_as_items_stay_by_themselves(index: Index) -> None:
    index.add_texts(["red", "red thing", "something red"])
    hits = index.search("red", k=10, group=True)
    assert sum(hit.kind == "text" for hit in hits) == 3


def test_the_command_line_groups_and_says_so(index: Index, hivlp: Callable[..., Ran]) -> None:
    path = str(index.store.info()["path"])
    ran = hivlp("search", path, "red", "-k", "1")
    assert "+3" in ran.out
    assert "3 near-equal images hidden (--no-group shows all)" in ran.out
    found = json.loads(hivlp("search", path, "red", "-k", "1", "--json").out)["hits"]
    assert len(found[0]["similar"]) == 3
    assert "hidden" not in hivlp("search", path, "red", "--no-group").out


def test_the_service_groups_on_request(index: Index) -> None:
    with client(index) as api:
        found = api.get("/v1/search", params={"q": "red", "k": 1, "group": "true"}).json()["hits"]
        assert len(found[0]["similar"]) == 3
        assert api.get("/v1/search", params={"q": "red", "k": 1}).json()["hits"][0]["similar"] == []
