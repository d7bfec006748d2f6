"""The fusion head of a model over words and decoded pictures, by torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hivlp.config import TOKENIZER_FILE
from hivlp.data.tokenizer import Tokenizer
from hivlp.model.folder import open_model
from hivlp.types import FloatArray


class FusionScorer:
    """Scores pictures against words jointly; above 0 says that they belong together."""

    batch_size = 64

    def __init__(self, folder: Path) -> None:
        """Takes the folder of a model that has a fusion head."""
        self._model = open_model(folder)
        self._tokenizer = Tokenizer.open(folder / TOKENIZER_FILE, max_tokens=self._model.config.max_tokens)

    @torch.inference_mode()
    def scores(self, text: str, pixels_BCHW: NDArray[np.uint8]) -> FloatArray:
        """Scores (B,) of pictures as the encoder of the same model prepares them, uint8 (B, 3, S, S)."""
        model = self._model
        assert model.fusion is not None
        tokens_1T, mask_1T = map(torch.from_numpy, self._tokenizer.encode([text]))
        words_1TF = model.text_tower.states(tokens_1T, mask_1T)
        parts = []
        for start in range(0, len(pixels_BCHW), self.batch_size):
            pixels = torch.from_numpy(np.ascontiguousarray(pixels_BCHW[start : start + self.batch_size]))
            regions_BGF = model.image_tower.regions(model.normalise(pixels))
            count = len(regions_BGF)
            words_BTF, mask_BT = words_1TF.expand(count, -1, -1), mask_1T.expand(count, -1)
            parts.append(model.fusion(regions_BGF, words_BTF, mask_BT).numpy())
        return np.concatenate(parts).astype(np.float32) if parts else np.zeros(0, np.float32)
