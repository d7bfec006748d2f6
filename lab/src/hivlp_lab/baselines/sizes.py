"""The shapes of the compared systems, those of their papers and small ones to train; it loads no torch.

Sources: UNITER (ECCV 2020) and LightningDOT (NAACL 2021, arXiv 2103.08784) by their published configurations,
METER (CVPR 2022, arXiv 2111.02387) by its own. HiVLP (arXiv 2205.12105) has published no shape: it gets
LightningDOT's towers, with levels.
"""

from __future__ import annotations

from dataclasses import dataclass

BOX_NUMBERS = 7
"""Of a region: x1, y1, x2, y2, width, height and area, each a share of the picture."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A stack of BERT blocks: its layers, the width of a state, attention heads, width of the inner layer."""

    layers: int
    width: int
    heads: int
    inner: int


@dataclass(frozen=True, kw_only=True)
class PairSize:
    """A system over words and regions.

    Attributes:
        stack: of the one stream (UNITER), or of each tower (LightningDOT, HiVLP).
        vocabulary: word pieces; BERT-cased has 28,996.
        max_tokens: positions.
        region_features: numbers of a region, 2,048 from a detector.
        projection: width of the vectors of a dual encoder.
    """

    stack: Stack
    vocabulary: int = 28_996
    max_tokens: int = 512
    region_features: int = 2048
    projection: int = 768


@dataclass(frozen=True, kw_only=True)
class MeterSize:
    """METER: a text tower, a picture tower and co-attention above.

    Attributes:
        text: of the RoBERTa tower.
        fusion: number of co-attention blocks, the same for words and picture.
        image: of the ViT; None where the picture comes as region features.
        pixels: side of the square picture.
        patch: side of a patch.
    """

    text: Stack
    fusion: Stack
    image: Stack | None
    pixels: int = 384
    patch: int = 16
    vocabulary: int = 50_265
    max_tokens: int = 512
    region_features: int = 2048


_BASE = Stack(layers=12, width=768, heads=12, inner=3072)
_LARGE = Stack(layers=24, width=1024, heads=16, inner=4096)
_SMALL = Stack(layers=4, width=256, heads=4, inner=1024)
_TINY = Stack(layers=2, width=32, heads=2, inner=64)

PAIRS: dict[str, PairSize] = {
    "base": PairSize(stack=_BASE),
    "large": PairSize(stack=_LARGE),
    "small": PairSize(stack=_SMALL, vocabulary=8_000, max_tokens=64, projection=256),
    "tiny": PairSize(stack=_TINY, vocabulary=100, max_tokens=16, region_features=8, projection=16),
}
"""Sizes of UNITER, LightningDOT and HiVLP; ``small`` is for training, ``tiny`` for trying out."""

METERS: dict[str, MeterSize] = {
    "384": MeterSize(text=_BASE, image=_BASE, fusion=Stack(layers=6, width=768, heads=12, inner=3072)),
    "288": MeterSize(
        text=_BASE, image=_BASE, fusion=Stack(layers=6, width=768, heads=12, inner=3072), pixels=288
    ),
    "small": MeterSize(text=_SMALL, image=None, fusion=_SMALL, vocabulary=8_000, max_tokens=64),
    "tiny": MeterSize(
        text=_TINY, image=_TINY, fusion=_TINY, pixels=32, vocabulary=100, max_tokens=16, region_features=8
    ),
}
"""Sizes of METER: at 384² as it is fine-tuned, at 288² as it is pre-trained, and small ones."""
