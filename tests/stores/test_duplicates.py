"""Duplicates: every group equals a comparison of all pairs, and copies, bursts and edits are told apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hivlp.errors import QueryError
from hivlp.stores.duplicates import duplicates
from hivlp.stores.local import LocalStore
from hivlp.types import Embeddings, Item
from index_tools import unit
from ran import Ran


def stored(folder: Path, rows_ND: np.ndarray, items: list[Item]) -> LocalStore:
    store = LocalStore.create(
        folder / "x.hivlp", model_name="m", model_fingerprint="f", widths=(8,), preprocessing={}
    )
    store.append(items, Embeddings({8: rows_ND}))
    return store


def image(name: str, size: int = 10, *, sha: str | None = None, **meta: str) -> Item:
    return Item(id=name, uri=f"/{name}", width=size, height=size, sha256=sha or name, meta=meta)


@pytest.mark.parametrize("copies", [3, 80])
def test_groups_equal_a_comparison_of_all_pairs(tmp_path: Path, copies: int) -> None:
    rng = np.random.default_rng(0)
    centres_CD = unit(rng.standard_normal((20, 8)))
    rows_ND = unit(np.repeat(centres_CD, copies, axis=0) + 0.1 * rng.standard_normal((20 * copies, 8)))
    sizes = rng.integers(1, 9, len(rows_ND)).tolist()
    items = [image(f"{row:04}", size) for row, size in enumerate(sizes)]
    items[5] = Item(id="text", uri="text", kind="text", caption="words")
    with stored(tmp_path, rows_ND, items) as store:
        found = duplicates(store, at_least=0.95)
        stored_ND = np.asarray(store.view().level(8), np.float32)
    cosine_NN = unit(stored_ND) @ stored_ND.T  # of lengths that half precision has moved a little
    near_NN = (cosine_NN >= 0.95) | (cosine_NN.T >= 0.95)
    expected: dict[str, list[str]] = {}
    free = set(range(len(items))) - {5}
    for row in sorted(free, key=lambda row: (-sizes[row], row)):
        if row in free:
            free.discard(row)
            near = sorted(other for other in free if near_NN[row, other])
            free -= set(near)
            if near:
                expected[items[row].id] = [items[other].id for other in near]
    assert {group.keep.id: sorted(near.item.id for near in group.others) for group in found} == expected
    assert [len(group.others) for group in found] == sorted(map(len, expected.values()), reverse=True)
    for group in found:
        cosines = [near.cosine for near in group.others]
        assert cosines == sorted(cosines, reverse=True) and min(cosines) >= 0.95


def test_kinds_of_groups_and_what_to_keep(tmp_path: Path) -> None:
    rows_ND = np.repeat(np.eye(8, dtype=np.float32)[:4], [2, 2, 2, 1], axis=0)
    items = [
        image("copy.jpg", sha="s"),
        image("first.jpg", 20, sha="s"),
        image("a.jpg", taken_at="2021-06-01T10:00:00"),
        image("b.jpg", taken_at="2021-06-01T10:00:09"),
        image("small.jpg", 5, taken_at="2021-06-01"),
        image("large.jpg", 50, taken_at="2021-06-01"),
        image("alone.jpg"),
    ]
    with stored(tmp_path, rows_ND, items) as store:
        found = {group.keep.id: group for group in duplicates(store)}
        assert {name: group.kind for name, group in found.items()} == {
            "first.jpg": "same file",
            "a.jpg": "burst",
            "large.jpg": "near-equal",
        }
        store.delete(["copy.jpg"])
        assert {group.keep.id for group in duplicates(store)} == {"a.jpg", "large.jpg"}
        with pytest.raises(QueryError, match=r"at_least=1\.5 is invalid: must be above 0 and at most 1"):
            duplicates(store, at_least=1.5)


def test_the_command(tmp_path: Path, hivlp: Callable[..., Ran]) -> None:
    rows_ND = np.repeat(np.eye(8, dtype=np.float32)[:2], [3, 1], axis=0)
    with stored(tmp_path, rows_ND, [image("a.jpg"), image("b.jpg"), image("c.jpg", 30), image("d.jpg")]):
        pass
    place = str(tmp_path / "x.hivlp")
    ran = hivlp("duplicates", place)
    assert "1 group of like images: 1 to keep, 2 that could go" in ran.out
    assert "near-equal: 3 images" in ran.out
    assert "keep   /c.jpg  30 × 30" in ran.out
    document = json.loads(hivlp("duplicates", place, "--json").out)
    assert document["spare"] == 2
    assert document["groups"][0]["keep"]["id"] == "c.jpg"
    assert [one["id"] for one in document["groups"][0]["others"]] == ["a.jpg", "b.jpg"]
    sheet = tmp_path / "sheet.png"
    hivlp("duplicates", place, "--sheet", str(sheet))
    assert sheet.read_bytes().startswith(b"\x89PNG")


def test_an_index_without_duplicates(tmp_path: Path, hivlp: Callable[..., Ran]) -> None:
    with stored(tmp_path, np.eye(8, dtype=np.float32)[:2], [image("a.jpg"), image("b.jpg")]):
        pass
    assert "no image has a duplicate" in hivlp("duplicates", str(tmp_path / "x.hivlp")).out
