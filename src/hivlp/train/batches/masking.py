"""Which words of a caption are masked, and by what; it knows token numbers and no model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hivlp.types import IntArray

SHARE = 0.15  # of words, or regions, that are masked, as in BERT and LightningDOT
SPECIAL_TOKENS = 5  # the first numbers of our vocabularies; never dropped, never masked


def words(tokens_TT: IntArray, mask_TT: IntArray) -> NDArray[np.bool_]:
    """Which tokens are words and not padding, start, end or unknown."""
    return (mask_TT == 1) & (tokens_TT >= SPECIAL_TOKENS)


def drop_words(
    tokens_TT: IntArray, mask_TT: IntArray, chance_TT: NDArray[np.float64], *, share: float, mask_id: int
) -> IntArray:
    """The tokens with each word masked at a chance of `share`."""
    chance_TT = chance_TT[:, : tokens_TT.shape[1]]
    return np.where((chance_TT < share) & words(tokens_TT, mask_TT), mask_id, tokens_TT)


def mask_words(
    tokens_TT: IntArray,
    mask_TT: IntArray,
    chance_TT: NDArray[np.float64],
    swap_TT: NDArray[np.float64],
    *,
    share: float,
    mask_id: int,
    vocabulary: int,
) -> tuple[IntArray, NDArray[np.bool_]]:
    """Tokens to be told from their context, and which those are: BERT's way (arXiv 1810.04805, section 3.1).

    Of the chosen words 80 % are masked, 10 % become any word, and 10 % stay, so that a word that is there
    can't be trusted blindly. Every text that has words gives at least one.

    Args:
        chance_TT: a number in [0, 1) for each token, at least as wide as the tokens: chosen below `share`.
        swap_TT: another, for what a chosen one becomes.
    """
    length = tokens_TT.shape[1]
    chance_TT = np.where(words(tokens_TT, mask_TT), chance_TT[:, :length], 1.0)
    chosen_TT = chance_TT < share
    rows_T = np.flatnonzero(chance_TT.min(axis=1) < 1.0)
    chosen_TT[rows_T, chance_TT.argmin(axis=1)[rows_T]] = True
    swap_TT = swap_TT[:, :length]
    # the last tenth of [0, 1), spread over all words
    other_TT = SPECIAL_TOKENS + ((swap_TT - 0.9).clip(0) * 10 * (vocabulary - SPECIAL_TOKENS)).astype(
        np.int64
    )
    becomes_TT = np.where(swap_TT < 0.8, mask_id, np.where(swap_TT < 0.9, tokens_TT, other_TT))
    return np.where(chosen_TT, becomes_TT, tokens_TT), chosen_TT
