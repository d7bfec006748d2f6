"""A fully quantised TFLite classifier, read at one of its inner tensors."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hivlp.errors import MissingExtraError, ModelError


class Tflite:
    """What one tensor of a model holds for an image.

    Attributes:
        width: how many numbers that are.
        scale, zero: ``scale`` × (number - ``zero``) are the features.
    """

    def __init__(self, path: Path, *, tensor: int) -> None:
        self._interpreter = _interpreter(path)
        self._input, self._tensor = self._interpreter.get_input_details()[0]["index"], tensor
        details = {detail["index"]: detail for detail in self._interpreter.get_tensor_details()}
        if tensor not in details:
            raise ModelError(f"{path} has no tensor {tensor}; its numbers run from 0 to {max(details)}")
        self.scale, self.zero = details[tensor]["quantization"]
        self.width = int(np.prod(details[tensor]["shape"]))

    def raw(self, pixels_CHW: NDArray[np.uint8]) -> NDArray[Any]:
        """The tensor's own numbers, flat."""
        self._interpreter.set_tensor(self._input, pixels_CHW.transpose(1, 2, 0)[None])
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._tensor).reshape(-1)

    def features(self, pixels_CHW: NDArray[np.uint8]) -> NDArray[np.float16]:
        """The features (width,) of one image."""
        return ((self.raw(pixels_CHW).astype(np.float32) - self.zero) * self.scale).astype(np.float16)


def _interpreter(path: Path) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        raise MissingExtraError("ai-edge-litert", "train", "reading a TFLite model") from None
    if not path.is_file():
        raise ModelError(f"the backbone {path} is not there; give the TFLite file by --backbone")
    with warnings.catch_warnings():
        # the option is "for debugging": it keeps inner tensors, which is just what is asked for
        warnings.simplefilter("ignore")
        interpreter = Interpreter(str(path), num_threads=1, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    return interpreter
