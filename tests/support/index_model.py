"""What an index must hold, kept beside it; and a program that changes an index at random until it is killed.

An item is made of a number and a version, and so are its vectors: whoever has an id and a sum knows the rest.

    python index_model.py FOLDER SEED [POINT [compact]]

prints ``begin CHANGE`` and, when that is committed, ``done CHANGE``, where a change is JSON. With a POINT it
kills itself at that fault point, counted from its start or from that of its first compaction.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fault_points import watch
from hivlp.stores.local import LocalStore
from hivlp.types import Embeddings, Item

WIDTHS = (4, 8)
Model = dict[int, int]
"""Number of each item -> its version."""


def item(number: int, version: int) -> Item:
    return Item(
        id=f"id-{number}",
        uri=f"photos/{number}.jpg",
        caption=f"version {version}",
        sha256=f"{number}/{version}",
    )


@cache
def vector(number: int, version: int) -> np.ndarray:
    vector_D = np.random.default_rng([number, version]).standard_normal(max(WIDTHS)).astype(np.float32)
    return vector_D


def vectors(items: Sequence[tuple[int, int]]) -> Embeddings:
    wide_ND = np.stack([vector(*pair) for pair in items])
    return Embeddings(
        {w: wide_ND[:, :w] / np.linalg.norm(wide_ND[:, :w], axis=1, keepdims=True) for w in WIDTHS}
    )


def changed(model: Model, change: Mapping[str, Any]) -> Model:
    """The model after a change of an index; the model itself stays."""
    put = {int(number): version for number, version in change.get("put", {}).items()}
    return {n: v for n, v in {**model, **put}.items() if n not in change.get("delete", ())}


def make(store: LocalStore, change: Mapping[str, Any]) -> None:
    """Makes the change in an index."""
    if put := [(int(number), version) for number, version in change.get("put", {}).items()]:
        store.append([item(*pair) for pair in put], vectors(put))
    if delete := change.get("delete"):
        store.delete(f"id-{number}" for number in delete)
    if change.get("compact"):
        store.compact()


def held(store: LocalStore) -> Model:
    """What the index holds, after every item and every vector was compared with what it must be."""
    state = store.folder.state()
    rows = state.mask.live_rows()
    found = store.folder.items.fetch(rows.tolist())
    pairs = [(int(n), int(v)) for n, v in ((one.sha256 or "").split("/") for one in found)]
    assert found == [item(*pair) for pair in pairs]
    if pairs:
        expected = vectors(pairs)
        for width in WIDTHS:
            assert np.array_equal(state.levels[width][rows], expected[width].astype(np.float16))
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def random_change(rng: np.random.Generator, model: Model) -> dict[str, Any]:
    known = sorted(model)
    kind = rng.choice(["add", "add", "update", "delete", "compact"] if known else ["add"])
    if kind == "add":
        first = max(known, default=0) + 1
        return {"put": dict.fromkeys(range(first, first + int(rng.integers(1, 9))), 0)}
    if kind == "compact":
        return {"compact": True}
    some = rng.choice(known, min(len(known), int(rng.integers(1, 9))), replace=False).tolist()
    return {"put": {n: model[n] + 1 for n in some}} if kind == "update" else {"delete": some}


def main() -> None:
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    point, only_compact = int(sys.argv[3]) if len(sys.argv) > 3 else -1, "compact" in sys.argv
    rng, passed, counting = np.random.default_rng(seed), 0, not only_compact

    def at(name: str) -> None:
        nonlocal passed
        passed += counting
        if passed == point:
            os.kill(os.getpid(), signal.SIGKILL)

    with contextlib.ExitStack() as stack:
        stack.enter_context(watch(at))
        store = stack.enter_context(LocalStore.open(folder, writable=True))
        model = held(store)
        _say("open")
        while True:
            change = random_change(rng, model)
            counting = counting or "compact" in change
            _say("begin", change)
            make(store, change)
            _say("done", change)
            model = changed(model, change)


def _say(word: str, change: Mapping[str, Any] | None = None) -> None:
    sys.stdout.write(word if change is None else f"{word} {json.dumps(change)}")
    sys.stdout.write("\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
