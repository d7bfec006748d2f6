"""Where systems begin: at the directions of the linear floor, in place of the papers' pre-training.

The papers' systems start from BERT and from detectors' embeddings. Six thousand images and a few hundred
steps can't make up for that, so all transformers get the same cheap start: each word and each region feature
begins where the floor's closed form puts it.

V words, F features, D directions, W width of a state.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hivlp.model.levels import heads_of
from hivlp.train.starts.cca import Floor
from hivlp_lab.baselines.dual import LightningDot, RegionHiVLP
from hivlp_lab.baselines.parts import RegionEmbedding
from hivlp_lab.flickr8k.towers import CompactTowers

WORD_STD, PLACE_STD = 0.05, 0.02
_PASSED_ON = ("attention.self.value", "attention.output.dense")  # of self- and of cross-attention


@torch.no_grad()
def from_floor(model: nn.Module, floor: Floor, rarity_V: Tensor) -> None:
    """Changes the embeddings of words and regions in place.

    torch's own start of an embedding, deviation 1, would also take a thousand steps to be moved at all.
    Values and outputs of attention begin as the identity, so that the summary of a tower is near the mean of
    what it sees from the first step on, instead of a faint random image of it. An image's tower, head and
    levels begin as those of the text.

    Args:
        model: any of the baselines.
        rarity_V: the weight of a word in TF-IDF.
    """
    for part in model.modules():
        if isinstance(part, RegionEmbedding):
            weight_WF = part.features.weight
            weight_WF.copy_(_fitted(floor.image_FD, weight_WF.shape[0], float(weight_WF.std())).T)
            part.features.bias.zero_()
        for name in ("position_embeddings", "token_type_embeddings"):
            if hasattr(part, name):
                cast("nn.Embedding", getattr(part, name)).weight.normal_(std=PLACE_STD)
        if hasattr(part, "word_embeddings"):
            words = cast("nn.Embedding", part.word_embeddings).weight
            words.copy_(_fitted(floor.text_VD * rarity_V[:, None], words.shape[1], WORD_STD))
    for name, part in model.named_modules():
        if isinstance(part, nn.Linear) and name.endswith(_PASSED_ON):
            nn.init.eye_(part.weight)
            part.bias.zero_()
    for part in list(model.modules()):
        if isinstance(part, LightningDot):
            part.image_tower.encoder.load_state_dict(part.text_tower.encoder.state_dict())
            part.image_head.load_state_dict(part.text_head.state_dict())
        elif isinstance(part, RegionHiVLP):
            part.image_levels.load_state_dict(part.text_levels.state_dict())


@torch.no_grad()
def compact_from_floor(towers: CompactTowers, floor: Floor, rarity_V: Tensor, pooled_NF: Tensor) -> None:
    """Makes compact towers give the floor's vectors: the hidden units add nothing yet.

    Args:
        pooled_NF: features of the training images. Both sides are scaled so that a number of these
            images' vectors is 1 in the root mean square.
    """
    width = towers.words.weight.shape[1]
    rows_ND = (pooled_NF - floor.image_mean_F) @ floor.image_FD
    scale = 1 / rows_ND.square().mean().sqrt()
    image_FW, text_VW = _padded(floor.image_FD * scale, width), _padded(floor.text_VD * scale, width)
    towers.linear.weight.copy_(image_FW.T)
    towers.linear.bias.copy_(-floor.image_mean_F @ image_FW)
    towers.more.weight.zero_()
    towers.words.weight.copy_(text_VW)
    towers.weight_V.copy_(rarity_V)
    towers.text_bias_D.copy_(-floor.text_mean_V @ text_VW)
    for head in heads_of(towers):
        nn.init.eye_(head.weight)
        head.bias.zero_()


def _padded(rows_ND: Tensor, width: int) -> Tensor:
    """So many columns, the last ones of zeros where there are too few directions."""
    return F.pad(rows_ND, (0, max(0, width - rows_ND.shape[1])))[:, :width]


def _fitted(rows_ND: Tensor, width: int, std: float) -> Tensor:
    """As many directions as there is room for, at this deviation; noise at a tenth of it in every number."""
    kept_NW = torch.randn(len(rows_ND), width) * (std / 10)
    room = min(width, rows_ND.shape[1])
    kept_NW[:, :room] += rows_ND[:, :room] * (std / rows_ND[:, :room].std())
    return kept_NW
