"""Frozen picture models whose features guide a student; a teacher knows pixels and nothing else."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hivlp.errors import MissingExtraError, ModelError


class Teacher(Protocol):
    """Anything that turns pixels into features."""

    size: int
    width: int

    def features(self, pixels_CHW: NDArray[np.uint8]) -> NDArray[np.float16]:
        """The features (width,) of one picture of size×size: pooled, or of its cells, row by row."""
        ...


class TfliteTeacher:
    """A fully quantised TFLite classifier, read at one of its inner tensors."""

    def __init__(self, path: Path, *, tensor: int, size: int, cells: int = 0) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError:
            raise MissingExtraError("ai-edge-litert", "train", "reading a TFLite teacher") from None
        if not path.is_file():
            raise ModelError(
                f"the teacher {path} is not there; set teacher.path, or drop the views of the sources"
            )
        self.size = size
        self._tensor = tensor
        with warnings.catch_warnings():
            # the option is "for debugging": it keeps inner tensors, which is just what a teacher is asked for
            warnings.simplefilter("ignore")
            self._interpreter = Interpreter(str(path), num_threads=1, experimental_preserve_all_tensors=True)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        details = {detail["index"]: detail for detail in self._interpreter.get_tensor_details()}
        if tensor not in details:
            raise ModelError(f"{path} has no tensor {tensor}; its numbers run from 0 to {max(details)}")
        self.scale, self.zero = details[tensor]["quantization"]
        shape = tuple(int(side) for side in details[tensor]["shape"])
        self._map, self._across = shape[1:], None
        if cells:
            if len(shape) != 4:
                raise ModelError(
                    f"teacher.cells={cells} divides a map, and tensor {tensor} of {path} has the shape "
                    f"{shape}; take the tensor before pooling, or teacher.cells=0"
                )
            self._across = shares(shape[1], cells), shares(shape[2], cells)
            shape = (cells, cells, shape[3])
        self.width = int(np.prod(shape))

    def features(self, pixels_CHW: NDArray[np.uint8]) -> NDArray[np.float16]:
        raw = self.raw(pixels_CHW).astype(np.float32)
        values = (raw - self.zero) * self.scale if self.scale else raw
        if self._across is not None:
            down_SH, across_SW = self._across
            height, width, depth = self._map
            rows_SWC = (down_SH @ values.reshape(height, width * depth)).reshape(-1, width, depth)
            values = across_SW @ rows_SWC
        return values.reshape(-1).astype(np.float16)

    def raw(self, pixels_CHW: NDArray[np.uint8]) -> NDArray[Any]:
        """The tensor's own numbers, flat; ``scale`` × (number - ``zero``) are the features without cells."""
        self._interpreter.set_tensor(self._input, pixels_CHW.transpose(1, 2, 0)[None])
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._tensor).reshape(-1)


def shares(length: int, cells: int) -> NDArray[np.float32]:
    """How much of each of `length` places is in each of some cells (cells, length); rows add to 1.

    As of adaptive average pooling: a place at a border of two cells is in both.
    """
    places_N, first_S = np.arange(length), np.arange(cells)[:, None] * length
    inside_SN = (places_N >= first_S // cells) & (places_N < -(-(first_S + length) // cells))
    return (inside_SN / inside_SN.sum(axis=1, keepdims=True)).astype(np.float32)
