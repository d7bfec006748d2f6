"""The faster of the runtimes that are installed, by measuring them on this machine when a model is opened."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from hivlp.encode.onnx import OnnxEncoder
from hivlp.encode.openvino import OpenVinoEncoder

_REPEATS = 5
_TEXTS = ("a dog", "two red boats to the left of a white lighthouse at sunset")


def fastest(folder: Path, *, name: str | None = None, threads: int = 0) -> OnnxEncoder:
    """A model folder, opened by ONNX Runtime or by OpenVINO, whichever is faster at a picture and two texts.

    Takes some tenths of a second. Without OpenVINO nothing is measured.
    """
    onnx = OnnxEncoder(folder, name=name, threads=threads)
    if find_spec("openvino") is None:
        return onnx
    return min((onnx, OpenVinoEncoder(folder, name=name, threads=threads)), key=seconds)


def seconds(encoder: OnnxEncoder) -> float:
    """The least seconds that one picture and two texts, one at a time, took in a few tries."""
    size = encoder.preprocessing.size
    pixels = np.zeros((1, 3, size, size), np.uint8)
    calls = [lambda: encoder.encode_pixels(pixels)]
    calls += [lambda text=text: encoder.encode_texts([text]) for text in _TEXTS]
    return sum(map(_least, calls))


def _least(call: Callable[[], object]) -> float:
    def once() -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    call()  # the first one allocates
    return min(once() for _ in range(_REPEATS))
