"""A model folder run by OpenVINO: the same graphs and the same vectors as with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from hivlp.encode.onnx import OnnxEncoder
from hivlp.errors import MissingExtraError, ModelError


class OpenVinoEncoder(OnnxEncoder):
    """See `encode.base.Encoder`. Its embeddings may be compared with those of `OnnxEncoder`."""

    in_lanes = False  # a request runs one batch at a time

    @staticmethod
    def open_graph(path: Path, *, threads: int) -> Graph:
        return Graph(path, threads=threads)


class Graph:
    """One graph, with the `run` of ONNX Runtime's sessions."""

    def __init__(self, path: Path, *, threads: int) -> None:
        try:
            import openvino
        except ImportError:
            raise MissingExtraError("openvino", "openvino", "the runtime 'openvino'") from None
        # left to itself, it computes in half precision where a processor has that
        properties: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads:
            properties["INFERENCE_NUM_THREADS"] = threads
        try:
            compiled = openvino.Core().compile_model(str(path), "CPU", properties)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise ModelError(
                f"{path} is not a usable graph ({reason}): write it again with `hivlp export`"
            ) from None
        self._request = compiled.create_infer_request()

    def run(self, outputs: Sequence[str], inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """The outputs of these names, in their order."""
        found = self._request.infer(dict(inputs))
        return [found[name].copy() for name in outputs]
