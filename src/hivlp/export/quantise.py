"""Graphs in 8-bit integers: pictures by static quantisation with calibration, texts with dynamic ranges.

What is rounded near the input goes through everything behind it: of a MobileNetV2 in integers throughout a
seventh of the recall was left behind (`docs/experiments.md`). So layers are taken from the output on, as many
as leave the embeddings where they were.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from hivlp import scenes
from hivlp.config import Preprocessing
from hivlp.data.images import to_pixels
from hivlp.encode.onnx import open_graph
from hivlp.files import write_atomically

# Processors without VNNI add two products of 8 bits in 16 bits, which overflows: on AVX2 a mean cosine to
# float32 of .90 was measured, instead of .999. Weights of 7 bits fit everywhere.
_SEVEN_BITS = True
# The least mean cosine of pictures to their float32 embeddings. At .995 `mini` loses half a percent of its
# recall at ten on photographs.
LEAST_COSINE = 0.995
_WEIGHTED = ("Conv", "MatMul", "Gemm")
_KINDS = [*_WEIGHTED, "Add", "Relu", "Clip"]


def calibration_pixels(size: int, *, count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Drawn scenes as pixels (count, 3, size, size), to measure the ranges of activations."""
    preprocessing = Preprocessing(size=size)
    drawn = (
        scenes.render(scenes.describe(seed * count + number), size=max(size, 64)) for number in range(count)
    )
    return np.stack([to_pixels(picture, preprocessing) for picture in drawn])


class _Reader(CalibrationDataReader):
    def __init__(self, pixels_BCHW: NDArray[np.uint8], *, batch: int = 16) -> None:
        self._batches: Iterator[dict[str, Any]] = iter(
            {"pixels": pixels_BCHW[start : start + batch]} for start in range(0, len(pixels_BCHW), batch)
        )

    def get_next(self) -> dict[str, Any] | None:
        return next(self._batches, None)


def _quantise_pictures(prepared: Path, out: Path, pixels_BCHW: NDArray[np.uint8]) -> None:
    """Writes the graph with as many layers in integers, from its output on, as keep the least cosine."""
    nodes = onnx.load(str(prepared)).graph.node
    starts = [place for place, node in enumerate(nodes) if node.op_type in _WEIGHTED]
    exact_BD = _fine(prepared, pixels_BCHW)

    def cosine(first: int) -> float:
        quantize_static(
            str(prepared),
            str(out),
            _Reader(pixels_BCHW),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            reduce_range=_SEVEN_BITS,
            calibrate_method=CalibrationMethod.MinMax,
            op_types_to_quantize=_KINDS,
            nodes_to_quantize=[node.name for node in nodes[starts[first] :]],
        )
        return float((exact_BD * _fine(out, pixels_BCHW)).sum(axis=1).mean())

    if cosine(0) < LEAST_COSINE:
        # fewer layers lose less; the last one alone is taken whatever it loses
        cosine(bisect_left(range(len(starts) - 1), LEAST_COSINE, key=cosine))


def _fine(graph: Path, pixels_BCHW: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The widest embeddings (B, D) that a graph of pictures gives."""
    session = open_graph(graph, threads=0)
    name = max((output.name for output in session.get_outputs()), key=lambda name: int(name.split("_")[-1]))
    batches = iter(_Reader(pixels_BCHW).get_next, None)
    return np.concatenate([np.asarray(session.run([name], batch)[0]) for batch in batches])


def quantise(folder: Path, *, size: int, pixels_BCHW: NDArray[np.uint8] | None = None) -> list[Path]:
    """Writes `image.int8.onnx` and `text.int8.onnx` beside the float graphs of `folder`.

    Args:
        size: side of the input pictures, pixels.
        pixels_BCHW: pictures that show the ranges of activations; None draws scenes. Real photos are better.
    """
    pictures = calibration_pixels(size, count=128) if pixels_BCHW is None else pixels_BCHW
    image, text = folder / "image.int8.onnx", folder / "text.int8.onnx"
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)  # the quantiser logs to the root logger, a line a node
    try:
        with TemporaryDirectory() as place:
            prepared, made = Path(place) / "prepared.onnx", Path(place) / "made.onnx"
            _prepare(folder / "image.onnx", prepared)
            _quantise_pictures(prepared, made, pictures)
            write_atomically(image, made.read_bytes())
            _prepare(folder / "text.onnx", prepared)
            quantize_dynamic(
                str(prepared),
                str(made),
                weight_type=QuantType.QInt8,
                per_channel=True,
                reduce_range=_SEVEN_BITS,
            )
            write_atomically(text, made.read_bytes())
    finally:
        logging.getLogger().setLevel(level)
    return [image, text]


def _prepare(graph: Path, out: Path) -> None:
    """A graph with its weights inside, in the form that the quantiser needs."""
    whole = out.with_name("whole.onnx")
    onnx.save(onnx.load(str(graph)), str(whole))
    quant_pre_process(str(whole), str(out), skip_symbolic_shape=True)
