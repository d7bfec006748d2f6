"""The fusion head: scores an image and a text jointly, for re-ranking the best hits.

Words look at each other and at the regions of the image (cross-attention), as in ALBEF (arXiv 2107.07651,
section 3.1) and METER (arXiv 2111.02387). It reads the states of the two towers, so searches
without it stay as fast as before. Our addition: HiVLP's paper names no re-ranker of its own.
"""

from __future__ import annotations

from torch import Tensor, nn

from hivlp.config import Fusion

WIDTH, HEADS, DROPOUT = 192, 6, 0.1


class FusionHead(nn.Module):
    """Scores pairs from the states of both towers; a score above 0 means a match.

    Shapes: P pairs, G regions, T tokens, F widths of the towers' states.
    """

    def __init__(self, settings: Fusion, *, regions: int, words: int) -> None:
        """`regions` and `words` are the widths of the towers' states."""
        super().__init__()
        width = WIDTH
        self.regions = nn.Sequential(nn.Linear(regions, width), nn.LayerNorm(width))
        self.words = nn.Sequential(nn.Linear(words, width), nn.LayerNorm(width))
        layer = nn.TransformerDecoderLayer(
            width,
            HEADS,
            dim_feedforward=4 * width,
            dropout=DROPOUT,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerDecoder(layer, settings.layers, norm=nn.LayerNorm(width))
        self.score = nn.Linear(width, 1)

    def forward(self, regions_PGF: Tensor, words_PTF: Tensor, mask_PT: Tensor) -> Tensor:
        """Scores (P,), logits of a match.

        Args:
            regions_PGF: states of the image tower.
            words_PTF: states of the text tower.
            mask_PT: 1 where there is a token, 0 for padding, which is ignored.
        """
        states_PTW = self.layers(
            self.words(words_PTF), self.regions(regions_PGF), tgt_key_padding_mask=mask_PT == 0
        )
        weight_PT1 = mask_PT.unsqueeze(-1).to(states_PTW.dtype)
        pooled_PW = (states_PTW * weight_PT1).sum(dim=1) / weight_PT1.sum(dim=1).clamp(min=1)
        return self.score(pooled_PW).squeeze(-1)
