"""Texts as weighted sums of word vectors: microseconds per text, also for words that no caption has.

Each piece of the vocabulary has a fixed vector by a language model, stored in int8 and never trained. The
most frequent pieces have a second vector, which is trained: with few captions, the words of a caption say
most of its meaning.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

KIND = "words"


def shared(weight_BT: Tensor) -> Tensor:
    """Weights of a text's words divided by the root of their sum, so that long texts do not count more."""
    return weight_BT / weight_BT.sum(dim=1, keepdim=True).clamp(min=1e-3).sqrt()


def summed(share_BT: Tensor, vectors_BTF: Tensor) -> Tensor:
    """The weighted sum of each text's vectors (B, F)."""
    return (share_BT.unsqueeze(1) @ vectors_BTF).squeeze(1)


class Bag(nn.Module):
    """Learned word vectors, and a weight of each word.

    Args:
        vocabulary: number of pieces.
        width: dimensions of a vector.
        learned: the number of first pieces that have a vector; None for all.
    """

    def __init__(self, vocabulary: int, width: int, *, learned: int | None = None) -> None:
        super().__init__()
        self.learned = vocabulary if learned is None else min(learned, vocabulary)
        self.width = width
        self.words = nn.Embedding(self.learned, width)
        self.log_weight = nn.Embedding(vocabulary, 1)
        nn.init.normal_(self.words.weight, std=width**-0.5)
        nn.init.zeros_(self.log_weight.weight)

    def vectors(self, tokens_BT: Tensor) -> Tensor:
        """The vector of each piece (B, T, width), zeros for pieces without one."""
        if self.learned == self.log_weight.num_embeddings:
            return self.words(tokens_BT)
        has_BT1 = (tokens_BT < self.learned).unsqueeze(-1).to(self.words.weight.dtype)
        return self.words(tokens_BT.clamp(max=self.learned - 1)) * has_BT1

    def shares(self, tokens_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """The factor of each piece (B, T): its weight divided by the root of the sum of weights."""
        return shared(self.log_weight(tokens_BT).squeeze(-1).exp() * mask_BT)

    def forward(self, tokens_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """One vector a text (B, width)."""
        return summed(self.shares(tokens_BT, mask_BT), self.vectors(tokens_BT))


class WordVectors(nn.Module):
    """Fixed vectors of all pieces of a vocabulary (V, F), stored in int8 with a scale for each piece."""

    codes_VF: Tensor
    scale_V1: Tensor

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("codes_VF", torch.zeros(vocabulary, width, dtype=torch.int8))
        self.register_buffer("scale_V1", torch.zeros(vocabulary, 1))

    @torch.no_grad()
    def set_vectors(self, vectors_VF: Tensor) -> None:
        """Stores vectors, rounded to 1/127 of the largest number of each."""
        self.scale_V1.copy_((vectors_VF.abs().amax(dim=1, keepdim=True) / 127).half())
        self.codes_VF.copy_((vectors_VF / self.scale_V1.clamp(min=1e-8)).round().clamp(-127, 127))

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """The vectors of pieces (B, T, F)."""
        return F.embedding(tokens_BT, self.codes_VF).float() * F.embedding(tokens_BT, self.scale_V1)
