"""Masks words of captions; it knows token numbers and no model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hivlp.types import IntArray

SHARE = 0.15  # share of words, or regions, that are masked, as in BERT and LightningDOT
SPECIAL_TOKENS = 5  # the first tokens of HiVLP's vocabularies; never dropped, never masked


def words(tokens_TL: IntArray, mask_TL: IntArray) -> NDArray[np.bool_]:
    """Which tokens are words and not padding, start, end or unknown."""
    return (mask_TL == 1) & (tokens_TL >= SPECIAL_TOKENS)


def drop_words(
    tokens_TL: IntArray, mask_TL: IntArray, chance_TL: NDArray[np.float64], *, share: float, mask_id: int
) -> IntArray:
    """The tokens with each word masked with probability `share`."""
    chance_TL = chance_TL[:, : tokens_TL.shape[1]]
    return np.where((chance_TL < share) & words(tokens_TL, mask_TL), mask_id, tokens_TL)


def mask_words(
    tokens_TL: IntArray,
    mask_TL: IntArray,
    chance_TL: NDArray[np.float64],
    swap_TL: NDArray[np.float64],
    *,
    share: float,
    mask_id: int,
    vocabulary: int,
) -> tuple[IntArray, NDArray[np.bool_]]:
    """Tokens with masked words, and where these are, as in BERT (arXiv 1810.04805, section 3.1).

    Of the chosen words 80 % are masked, 10 % become a random word, and 10 % stay, so that visible words must
    be checked against their context too. At least one word of every text with words is chosen.

    Args:
        chance_TL: random numbers in [0, 1), at least as wide as the tokens: a word is chosen below `share`.
        swap_TL: others, which decide what becomes of a chosen word.
    """
    length = tokens_TL.shape[1]
    chance_TL = np.where(words(tokens_TL, mask_TL), chance_TL[:, :length], 1.0)
    chosen_TL = chance_TL < share
    rows_T = np.flatnonzero(chance_TL.min(axis=1) < 1.0)
    chosen_TL[rows_T, chance_TL.argmin(axis=1)[rows_T]] = True
    swap_TL = swap_TL[:, :length]
    # the last tenth of [0, 1), spread over all words
    other_TL = SPECIAL_TOKENS + ((swap_TL - 0.9).clip(0) * 10 * (vocabulary - SPECIAL_TOKENS)).astype(
        np.int64
    )
    becomes_TL = np.where(swap_TL < 0.8, mask_id, np.where(swap_TL < 0.9, tokens_TL, other_TL))
    return np.where(chosen_TL, becomes_TL, tokens_TL), chosen_TL
