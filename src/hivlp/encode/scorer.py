"""The fusion head of a model over words and decoded pictures, by torch."""

from __future__ import annotations

from collections.abc import Sequence
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

    def scores(self, text: str, pixels_BCHW: NDArray[np.uint8]) -> FloatArray:
        """Scores (B,) of pictures as the encoder of the same model prepares them, uint8 (B, 3, S, S)."""
        return self.table([text], pixels_BCHW)[:, 0]

    @torch.inference_mode()
    def table(self, texts: Sequence[str], pixels_BCHW: NDArray[np.uint8]) -> FloatArray:
        """Scores (B, T) of every such picture with every one of T texts."""
        model, count = self._model, len(texts)
        assert model.fusion is not None
        tokens_TL, mask_TL = map(torch.from_numpy, self._tokenizer.encode(texts))
        words_TLF = model.text_tower.states(tokens_TL, mask_TL)
        rows, at_once = [np.zeros((0, count), np.float32)], max(1, self.batch_size // count)
        for start in range(0, len(pixels_BCHW), at_once):
            pixels = torch.from_numpy(np.ascontiguousarray(pixels_BCHW[start : start + at_once]))
            regions_BGF = model.image_tower.regions(model.normalise(pixels))
            many = len(regions_BGF)
            scores_P = model.fusion(
                regions_BGF.repeat_interleave(count, dim=0),
                words_TLF.repeat(many, 1, 1),
                mask_TL.repeat(many, 1),
            )
            rows.append(scores_P.view(many, count).numpy())
        return np.concatenate(rows)
