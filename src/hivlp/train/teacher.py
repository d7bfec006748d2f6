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
        """The pooled features (width,) of one picture of size×size."""
        ...


class TfliteTeacher:
    """A fully quantised TFLite classifier, read at one of its inner tensors."""

    def __init__(self, path: Path, *, tensor: int, size: int) -> None:
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
        self.width = int(np.prod(details[tensor]["shape"]))

    def features(self, pixels_CHW: NDArray[np.uint8]) -> NDArray[np.float16]:
        raw = self.raw(pixels_CHW).astype(np.float32)
        return ((raw - self.zero) * self.scale if self.scale else raw).astype(np.float16)

    def raw(self, pixels_CHW: NDArray[np.uint8]) -> NDArray[Any]:
        """The numbers (width,) as the tensor holds them: ``scale`` × (number - ``zero``) are the features."""
        self._interpreter.set_tensor(self._input, pixels_CHW.transpose(1, 2, 0)[None])
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._tensor).reshape(-1)
