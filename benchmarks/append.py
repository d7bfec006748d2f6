"""How fast an index takes in vectors, durably, while it grows: prints one JSON document.

    python benchmarks/append.py --folder /fast/disk/bench.hivlp --start 1000000

Vectors are random, of the widths of the shipped model. Times are of `LocalStore.append` alone, which returns
when vectors and items are on the disk; making the vectors is not counted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hivlp.stores.local import LocalStore
from hivlp.types import Embeddings, Item


def batch_of(first: int, count: int, widths: Sequence[int]) -> tuple[list[Item], Embeddings]:
    """Items with ids, places and sums as a folder of photos has them, and nested unit vectors."""
    rng = np.random.default_rng(first)
    wide_ND = rng.standard_normal((count, max(widths)), dtype=np.float32)
    levels = {w: wide_ND[:, :w] / np.linalg.norm(wide_ND[:, :w], axis=1, keepdims=True) for w in widths}
    items = [
        Item(
            id=f"folder-{n % 100:02}/picture-{n:08}.jpg",
            uri=f"/photos/folder-{n % 100:02}/picture-{n:08}.jpg",
            caption=f"what picture {n} shows",
            meta={"split": "train"},
            sha256=hashlib.sha256(str(n).encode()).hexdigest(),
            width=640,
            height=480,
        )
        for n in range(first, first + count)
    ]
    return items, Embeddings(levels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("append-bench.hivlp"), help="must not exist")
    parser.add_argument("--start", type=int, default=1_000_000, help="items in the index before it counts")
    parser.add_argument("--batches", type=int, default=10, help="measured batches")
    parser.add_argument("--batch", type=int, default=10_000, help="items a batch")
    parser.add_argument("--widths", type=int, nargs="+", default=[32, 64, 128, 512])
    parser.add_argument("--keep", action="store_true", help="leave the index where it is")
    options = parser.parse_args()
    store = LocalStore.create(
        options.folder,
        model_name="none",
        model_fingerprint="none",
        widths=options.widths,
        preprocessing={},
    )
    seconds: list[float] = []
    with store:
        for first in range(0, options.start + options.batches * options.batch, options.batch):
            items, embeddings = batch_of(first, options.batch, options.widths)
            begin = time.perf_counter()
            store.append(items, embeddings)
            seconds.append(time.perf_counter() - begin)
    begin = time.perf_counter()
    LocalStore.open(options.folder).close()
    open_s = time.perf_counter() - begin
    measured = seconds[-options.batches :]
    document = {
        "items_before": options.start,
        "batch": options.batch,
        "widths": options.widths,
        "vectors_per_s": round(options.batch * len(measured) / sum(measured)),
        "vectors_per_s_slowest_batch": round(options.batch / max(measured)),
        "vectors_per_s_when_empty": round(options.batch / float(np.mean(seconds[: options.batches]))),
        "open_s": round(open_s, 4),
    }
    if not options.keep:
        shutil.rmtree(options.folder)
    print(json.dumps(document))


if __name__ == "__main__":
    main()
