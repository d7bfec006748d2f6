"""A model folder run by torch: the slow, obvious twin of the ONNX encoder, and the one used in training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hivlp.config import TOKENIZER_FILE
from hivlp.data.tokenizer import Tokenizer
from hivlp.data.vocabulary import Spelling
from hivlp.encode.base import IN_MEMORY, SquareInput, fingerprint, joined
from hivlp.inputs import as_texts
from hivlp.model.dual import DualEncoder
from hivlp.model.folder import open_model
from hivlp.types import Embeddings


class TorchEncoder(SquareInput):
    """See `encode.base.Encoder`. Batches of 64 at most pass through the model at a time."""

    batch_size = 64

    def __init__(self, folder: Path, *, name: str | None = None, threads: int = 0) -> None:
        if threads:
            torch.set_num_threads(threads)
        model = open_model(folder)
        tokenizer = Tokenizer.open(folder / TOKENIZER_FILE, max_tokens=model.config.max_tokens)
        self._set(model, tokenizer, name=name or str(folder), mark=fingerprint(folder))

    @classmethod
    def of(cls, model: DualEncoder, tokenizer: Tokenizer) -> TorchEncoder:
        """An encoder over a model in memory, as it is now; its fingerprint fits no index."""
        encoder = cls.__new__(cls)
        encoder._set(model, tokenizer, name=model.config.name, mark=IN_MEMORY)
        return encoder

    def _set(self, model: DualEncoder, tokenizer: Tokenizer, *, name: str, mark: str) -> None:
        self._model, self._tokenizer = model, tokenizer
        self.name, self.fingerprint = name, mark
        self.widths = model.config.levels.widths
        self.preprocessing = model.config.preprocessing
        self.device = next(model.parameters()).device

    @torch.inference_mode()
    def encode_texts(self, texts: str | Sequence[str]) -> Embeddings:
        """Embeddings of N texts. See `Encoder.encode_texts`."""
        texts, parts = as_texts(texts), []
        for start in range(0, len(texts), self.batch_size):
            tokens_BT, mask_BT = self._tokenizer.encode(texts[start : start + self.batch_size])
            tokens, mask = torch.from_numpy(tokens_BT), torch.from_numpy(mask_BT)
            parts.append(_to_numpy(self._model.encode_tokens(tokens.to(self.device), mask.to(self.device))))
        return joined(parts, self.widths)

    @torch.inference_mode()
    def encode_pixels(self, pixels_BCHW: NDArray[np.uint8], /) -> Embeddings:
        self.check_pixels(pixels_BCHW)
        parts = []
        for start in range(0, len(pixels_BCHW), self.batch_size):
            pixels = torch.from_numpy(np.ascontiguousarray(pixels_BCHW[start : start + self.batch_size]))
            parts.append(_to_numpy(self._model.encode_pixels(pixels.to(self.device))))
        return joined(parts, self.widths)

    def cuts(self, text: str) -> bool:
        return self._tokenizer.cuts(text)

    def unread(self, text: str) -> list[str]:
        """The parts of a text that mean nothing to the model."""
        return self._tokenizer.unread(text)

    def spelling(self, text: str) -> Spelling:
        """The words of a text that the model does not know."""
        return self._tokenizer.spelling(text)


def _to_numpy(levels: dict[int, torch.Tensor]) -> Embeddings:
    return Embeddings({width: rows.cpu().numpy() for width, rows in levels.items()})
