"""Dual encoders over words and regions: LightningDOT, and HiVLP in the same shape with levels.

LightningDOT by its paper (NAACL 2021, arXiv 2103.08784) and code. HiVLP's paper (arXiv 2205.12105) says that
there are vectors of several dimensions and not how they are made: the levels on LightningDOT's towers are our
reconstruction.
"""

from __future__ import annotations

from torch import Tensor, nn

from hivlp.registry import resolve
from hivlp_lab.baselines.parts import BertTower, RegionTower
from hivlp_lab.baselines.sizes import PairSize


class LightningDot(nn.Module):
    """Texts and pictures to vectors that are compared by their dot product, neither normalised nor scaled.

    ``text_states`` and ``image_states`` give all states, the summary first, for losses on masked words and
    regions.
    """

    def __init__(self, size: PairSize, *, attention: str = "sdpa") -> None:
        super().__init__()
        self.size = size
        self.text_tower = BertTower(
            size.stack, vocabulary=size.vocabulary, max_tokens=size.max_tokens, attention=attention
        )
        self.image_tower = RegionTower(size.stack, region_features=size.region_features, attention=attention)
        self.text_head = _projection(size.stack.width, size.projection)
        self.image_head = _projection(size.stack.width, size.projection)

    def text_states(self, tokens_BT: Tensor, mask_BT: Tensor) -> Tensor:
        return self.text_tower(tokens_BT, mask_BT)

    def image_states(self, regions_BRF: Tensor, boxes_BR7: Tensor, mask_BR: Tensor) -> Tensor:
        return self.image_tower(regions_BRF, boxes_BR7, mask_BR)

    def encode_text(self, tokens_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """Vectors (B, D) of texts."""
        return self.text_head(self.text_states(tokens_BT, mask_BT)[:, 0])

    def encode_image(self, regions_BRF: Tensor, boxes_BR7: Tensor, mask_BR: Tensor) -> Tensor:
        """Vectors (B, D) of pictures."""
        return self.image_head(self.image_states(regions_BRF, boxes_BR7, mask_BR)[:, 0])


class RegionHiVLP(nn.Module):
    """HiVLP on regions: LightningDOT's towers and heads, and above them unit vectors at every level."""

    def __init__(
        self, size: PairSize, widths: tuple[int, ...], *, kind: str = "nested", attention: str = "sdpa"
    ) -> None:
        super().__init__()
        self.towers = LightningDot(size, attention=attention)
        make_levels = resolve("levels", kind)
        self.text_levels = make_levels(size.projection, widths)
        self.image_levels = make_levels(size.projection, widths)

    def encode_text(self, tokens_BT: Tensor, mask_BT: Tensor) -> dict[int, Tensor]:
        """Unit vectors of texts by width."""
        return self.text_levels(self.towers.encode_text(tokens_BT, mask_BT))

    def encode_image(self, regions_BRF: Tensor, boxes_BR7: Tensor, mask_BR: Tensor) -> dict[int, Tensor]:
        """Unit vectors of pictures by width."""
        return self.image_levels(self.towers.encode_image(regions_BRF, boxes_BR7, mask_BR))


def _projection(width: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, 2 * width), nn.GELU(), nn.LayerNorm(2 * width), nn.Linear(2 * width, out)
    )
