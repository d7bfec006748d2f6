"""A model folder run by ONNX Runtime: the default encoder, which needs no torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from hivlp.config import TOKENIZER_FILE, read_model_config
from hivlp.data.tokenizer import Tokenizer
from hivlp.encode.base import INT8, SquareInput, fingerprint, joined
from hivlp.errors import ModelError
from hivlp.types import Embeddings


class OnnxEncoder(SquareInput):
    """See `encode.base.Encoder`.

    The graphs are `image.onnx` (input ``pixels``: uint8 (B, 3, S, S)) and `text.onnx` (inputs
    ``tokens`` and ``mask``: int64 (B, T)); each has one output a level, ``embedding_<width>``.
    """

    batch_size = 64
    suffix = ""
    remedy = "make them with `hivlp export {model}`"
    in_a_lane = 8
    """Pictures per task of a thread; small, so that no thread waits long for the last task."""
    in_lanes = True
    """Whether each thread computes a part of a batch, which is faster than all threads on every picture."""

    def __init__(
        self, folder: Path, *, name: str | None = None, threads: int = 0, graphs: Path | None = None
    ) -> None:
        config = read_model_config(folder)
        self.name = name or str(folder)
        self.fingerprint = fingerprint(folder)
        self.widths = config.levels.widths
        self.preprocessing = config.preprocessing
        self._tokenizer = Tokenizer.open(folder / TOKENIZER_FILE, max_tokens=config.max_tokens)
        graphs = graphs or folder
        self._graph, text = (graphs / f"{kind}{self.suffix}.onnx" for kind in ("image", "text"))
        if not (self._graph.is_file() and text.is_file()):
            kind = "8-bit graphs" if self.suffix else "ONNX graphs"
            raise ModelError(f"{self.name} has no {kind} in {graphs}; {self.remedy.format(model=self.name)}")
        self._image = self.open_graph(self._graph, threads=threads)
        self._lanes = (threads or os.cpu_count() or 1) if self.in_lanes else 1
        self._text = self.open_graph(text, threads=threads)
        self._outputs = [f"embedding_{width}" for width in self.widths]

    @staticmethod
    def open_graph(path: Path, *, threads: int) -> Any:
        """What runs one graph, with the method `run(outputs, inputs)`."""
        return open_graph(path, threads=threads)

    def encode_texts(self, texts: Sequence[str]) -> Embeddings:
        parts = []
        for start in range(0, len(texts), self.batch_size):
            tokens_BT, mask_BT = self._tokenizer.encode(texts[start : start + self.batch_size])
            parts.append(self._run(self._text, {"tokens": tokens_BT, "mask": mask_BT}))
        return joined(parts, self.widths)

    def encode_pixels(self, pixels_BCHW: NDArray[np.uint8], /) -> Embeddings:
        lanes = max(1, min(self._lanes, len(pixels_BCHW) // 2))
        size = min(self.batch_size if lanes == 1 else self.in_a_lane, -(-len(pixels_BCHW) // lanes) or 1)
        blocks = [{"pixels": pixels_BCHW[s : s + size]} for s in range(0, len(pixels_BCHW), size)]
        if lanes == 1:
            return joined([self._run(self._image, block) for block in blocks], self.widths)
        run = partial(self._run, self._alone)
        with ThreadPoolExecutor(lanes) as pool:
            return joined(list(pool.map(run, blocks)), self.widths)

    @cached_property
    def _alone(self) -> Any:
        """The graph of pictures on one thread, which several threads may run at once."""
        return self.open_graph(self._graph, threads=1)

    def cuts(self, text: str) -> bool:
        return self._tokenizer.cuts(text)

    def unread(self, text: str) -> list[str]:
        """The parts of a text that mean nothing to the model."""
        return self._tokenizer.unread(text)

    def _run(self, session: Any, inputs: dict[str, NDArray[Any]]) -> Embeddings:
        outputs = session.run(
            self._outputs, {name: np.ascontiguousarray(value) for name, value in inputs.items()}
        )
        return Embeddings(
            {w: np.asarray(rows, np.float32) for w, rows in zip(self.widths, outputs, strict=True)}
        )


class Int8Encoder(OnnxEncoder):
    """The same model in 8-bit integers, from the graphs that `hivlp export --int8` writes.

    Its embeddings are near those of the float32 graphs and not equal, so its fingerprint is its own.
    """

    suffix = ".int8"

    remedy = "make them with `hivlp export {model} --int8`, or leave onnx-int8 out"

    def __init__(
        self, folder: Path, *, name: str | None = None, threads: int = 0, graphs: Path | None = None
    ) -> None:
        super().__init__(folder, name=name, threads=threads, graphs=graphs)
        self.fingerprint += INT8


def open_graph(path: Path, *, threads: int) -> onnxruntime.InferenceSession:
    """A session over one graph; `threads` 0 leaves their number to the runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Idle threads of the runtime would spin, on processors that searches and other requests need: a fifth of
    # the queries a second of a service was lost to it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has a dozen kinds, none public
        raise ModelError(
            f"{path} is not a usable graph ({str(error)[:200]}): write it again with `hivlp export`"
        ) from None
