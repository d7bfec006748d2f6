"""Expensive arrays on disk, filled row by row and resumable."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from hivlp.files import write_atomically

SAVE_EVERY = 500  # rows


def resumable_array(
    stem: Path,
    shape: tuple[int, ...],
    rows_from: Callable[[int], Iterator[tuple[int, NDArray[Any]]]],
    progress: Callable[[int], None] = lambda done: None,
    *,
    dtype: DTypeLike = np.float16,
) -> NDArray[Any]:
    """An array of this shape and type, memory-mapped; missing rows are computed now.

    Args:
        stem: path without suffix of two files: the numbers, and how many rows are done.
        rows_from: yields blocks of rows from a row on, each with the number of its first row; rows that it
            leaves out stay 0.
        progress: called with the number of rows that are done.
    """
    if not shape[0]:
        return np.zeros(shape, dtype)
    kind = np.dtype(dtype)
    numbers, state = stem.with_suffix(f".{kind.kind}{8 * kind.itemsize}"), stem.with_suffix(".json")
    done = json.loads(state.read_text())["done"] if state.is_file() else 0
    if done < shape[0]:
        array = np.memmap(numbers, dtype=kind, mode="r+" if done else "w+", shape=shape)
        saved = done
        for first, block in rows_from(done):
            array[first : first + len(block)] = block
            done = first + len(block)
            if done - saved >= SAVE_EVERY:
                array.flush()
                write_atomically(state, json.dumps({"done": done}).encode())
                progress(done)
                saved = done
        array.flush()
        write_atomically(state, json.dumps({"done": shape[0]}).encode())
        progress(shape[0])
    return np.memmap(numbers, dtype=kind, mode="r", shape=shape)
