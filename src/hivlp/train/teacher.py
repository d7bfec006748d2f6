"""Frozen picture models whose features guide a student; a teacher knows pixels and nothing else."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hivlp.errors import MissingExtraError, ModelError


class Teacher(Protocol):
    """Anything that turns pixels into features."""

    size: int
    width: int
    key: str
    """Names it, and what of it is read."""

    def features(self, pixels_VCHW: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Features (V, width) of views of size×size: pooled, or of their cells, row by row."""
        ...


class Maps(Protocol):
    """Anything that turns pixels into several inner maps, stored as one row of int8 numbers a picture."""

    size: int
    width: int
    key: str

    def maps(self, pixels_HWC: NDArray[np.uint8]) -> NDArray[np.int8]:
        """The maps of one picture as they are stored (width,)."""
        ...

    def columns(self, number: int) -> slice:
        """Where in the stored numbers the map of a stage lies."""
        ...

    def values(self, number: int, raw_BM: NDArray[np.int8]) -> NDArray[np.float32]:
        """A stage's maps (B, C, H, W) from what is stored of them."""
        ...


class TfliteTeacher:
    """A fully quantised TFLite classifier, read at one of its inner tensors."""

    def __init__(self, path: Path, *, tensor: int, size: int, cells: int = 0) -> None:
        self.size, self.key = size, f"tflite:{path.name}#{tensor}"
        self._tensor = tensor
        self._read = _Interpreter(path)
        detail = self._read.detail(tensor)
        self.scale, self.zero = detail["quantization"]
        shape = tuple(int(side) for side in detail["shape"])
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

    def features(self, pixels_VCHW: NDArray[np.uint8]) -> NDArray[np.float16]:
        return np.stack([self._features(pixels_CHW) for pixels_CHW in pixels_VCHW])

    def _features(self, pixels_CHW: NDArray[np.uint8]) -> NDArray[np.float16]:
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
        (values,) = self._read(pixels_CHW.transpose(1, 2, 0), (self._tensor,))
        return values


class TfliteMaps:
    """Several inner maps of a fully quantised TFLite classifier, at any side of its square input."""

    def __init__(self, path: Path, *, tensors: Sequence[int], size: int) -> None:
        self._read, self._tensors, self.size = _Interpreter(path, size=size), tuple(tensors), size
        details = [self._read.detail(tensor) for tensor in tensors]
        self._shapes = [tuple(int(side) for side in detail["shape"])[1:] for detail in details]
        self._codes = [detail["quantization"] for detail in details]
        for tensor, shape, detail in zip(tensors, self._shapes, details, strict=True):
            if len(shape) != 3 or detail["dtype"] is not np.int8:
                raise ModelError(
                    f"tensor {tensor} of {path} is {detail['dtype'].__name__} of the shape {shape}; stages "
                    "are learned from int8 maps of height × width × channels"
                )
        self._ends = np.cumsum([0, *(int(np.prod(shape)) for shape in self._shapes)]).tolist()
        self.width = self._ends[-1]
        self.key = f"{path.name}#{list(tensors)}@{size}"

    def maps(self, pixels_HWC: NDArray[np.uint8]) -> NDArray[np.int8]:
        return np.concatenate(self._read(pixels_HWC, self._tensors))

    def columns(self, number: int) -> slice:
        return slice(self._ends[number], self._ends[number + 1])

    def values(self, number: int, raw_BM: NDArray[np.int8]) -> NDArray[np.float32]:
        scale, zero = self._codes[number]
        map_BHWC = raw_BM.reshape(len(raw_BM), *self._shapes[number]).astype(np.float32)
        return ((map_BHWC - zero) * scale).transpose(0, 3, 1, 2)


class _Interpreter:
    """Reads any tensors of a TFLite model for one picture at a time."""

    def __init__(self, path: Path, *, size: int | None = None) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError:
            raise MissingExtraError("ai-edge-litert", "train", "reading a TFLite teacher") from None
        if not path.is_file():
            raise ModelError(
                f"the teacher {path} is not there; set teacher.path, or drop the views of the sources"
            )
        with warnings.catch_warnings():
            # the option is "for debugging": it keeps inner tensors, which is just what a teacher is asked for
            warnings.simplefilter("ignore")
            self._inner = Interpreter(str(path), num_threads=1, experimental_preserve_all_tensors=True)
        self._path, self._input = path, self._inner.get_input_details()[0]["index"]
        if size is not None:
            self._inner.resize_tensor_input(self._input, [1, size, size, 3])
        self._inner.allocate_tensors()
        self._details = {detail["index"]: detail for detail in self._inner.get_tensor_details()}

    def detail(self, tensor: int) -> dict[str, Any]:
        """What is known of a tensor."""
        if tensor not in self._details:
            raise ModelError(
                f"{self._path} has no tensor {tensor}; its numbers run from 0 to {max(self._details)}"
            )
        return self._details[tensor]

    def __call__(self, pixels_HWC: NDArray[np.uint8], tensors: Sequence[int]) -> list[NDArray[Any]]:
        self._inner.set_tensor(self._input, pixels_HWC[None])
        self._inner.invoke()
        return [self._inner.get_tensor(tensor).reshape(-1) for tensor in tensors]


def shares(length: int, cells: int) -> NDArray[np.float32]:
    """How much of each of `length` places is in each of some cells (cells, length); rows add to 1.

    As of adaptive average pooling: a place at a border of two cells is in both.
    """
    places_N, first_S = np.arange(length), np.arange(cells)[:, None] * length
    inside_SN = (places_N >= first_S // cells) & (places_N < -(-(first_S + length) // cells))
    return (inside_SN / inside_SN.sum(axis=1, keepdims=True)).astype(np.float32)
