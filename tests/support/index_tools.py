"""Vectors and items for the tests of the index; every call with the same arguments gives the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hivlp.stores.local import LocalStore
from hivlp.types import Embeddings, Item

WIDTHS = (4, 8, 16)


def unit(rows_ND: np.ndarray) -> np.ndarray:
    rows_ND = rows_ND.astype(np.float32)
    return rows_ND / np.linalg.norm(rows_ND, axis=1, keepdims=True)


def embeddings(count: int, *, seed: int = 0, widths: Sequence[int] = WIDTHS) -> Embeddings:
    rng = np.random.default_rng(seed)
    wide_ND = rng.standard_normal((count, max(widths)))
    return Embeddings({w: unit(wide_ND[:, :w] + 1e-9) for w in widths})


def items(count: int, *, first: int = 0, version: str = "v1") -> list[Item]:
    return [
        Item(
            id=f"id-{n}",
            uri=f"photos/{n}.jpg",
            caption=f"picture {n}",
            meta={"n": n},
            sha256=f"{version}-{n}",
            width=640,
            height=480,
        )
        for n in range(first, first + count)
    ]


def create(path: Path, count: int = 0, *, seed: int = 0, widths: Sequence[int] = WIDTHS) -> LocalStore:
    store = LocalStore.create(
        path, model_name="mini", model_fingerprint="f1", widths=widths, preprocessing={"size": 224}
    )
    if count:
        store.append(items(count), embeddings(count, seed=seed, widths=widths))
    return store
