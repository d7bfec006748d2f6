"""METER: a tower for words, one for the picture, and co-attention between them.

Shapes by the paper (CVPR 2022, arXiv 2111.02387) and its published code: CLIP's ViT-B/16, RoBERTa-base, six
co-attention blocks a side, of self-attention, cross-attention and an inner layer, each block reading what the
other side's last one gave.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel, RobertaConfig, RobertaModel
from transformers.models.bert.modeling_bert import BertPooler

from hivlp_lab.baselines.parts import RegionEmbedding, additive, bert_config, cross_layers, stack_options
from hivlp_lab.baselines.sizes import MeterSize


class Meter(nn.Module):
    """Scores pairs of a text and a picture, given as pixels or as regions by its size."""

    def __init__(self, size: MeterSize, *, attention: str = "sdpa") -> None:
        super().__init__()
        self.size = size
        width = size.fusion.width
        self.text_tower = _roberta(size, attention)
        self.image_tower = _vit(size, attention) if size.image else None
        self.regions = None if size.image else RegionEmbedding(size.region_features, width)
        self.text_in = nn.Linear(size.text.width, width)
        self.image_in = nn.Linear(size.image.width if size.image else width, width)
        self.kinds = nn.Embedding(2, width)
        self.text_layers = cross_layers(size.fusion, attention)
        self.image_layers = cross_layers(size.fusion, attention)
        config = bert_config(size.fusion)
        self.text_pooler, self.image_pooler = BertPooler(config), BertPooler(config)
        self.match = nn.Linear(2 * width, 2)

    def text_states(self, tokens_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """What the fusion reads of the words (B, T, D); depends on the text alone."""
        hidden = self.text_tower(input_ids=tokens_BT, attention_mask=mask_BT).last_hidden_state
        return self.text_in(hidden) + self.kinds.weight[0]

    def pixel_states(self, pixels_BCHW: Tensor) -> Tensor:
        """What the fusion reads of a picture (B, S, D), given as normalised pixels."""
        if self.image_tower is None:
            raise TypeError("this size of METER takes regions; call region_states")
        return (
            self.image_in(self.image_tower(pixel_values=pixels_BCHW).last_hidden_state) + self.kinds.weight[1]
        )

    def region_states(self, regions_BRF: Tensor, boxes_BR7: Tensor) -> Tensor:
        """What the fusion reads of a picture (B, R, D), given as regions."""
        if self.regions is None:
            raise TypeError("this size of METER takes pixels; call pixel_states")
        return self.image_in(self.regions(regions_BRF, boxes_BR7)) + self.kinds.weight[1]

    def score(
        self, text_BTD: Tensor, text_mask_BT: Tensor, image_BSD: Tensor, image_mask_BS: Tensor | None = None
    ) -> Tensor:
        """The logit of a match (B,) from the states of both sides; without a mask all of a picture counts."""
        if image_mask_BS is None:
            image_mask_BS = torch.ones(image_BSD.shape[:2], device=image_BSD.device)
        text_mask, image_mask = additive(text_mask_BT, text_BTD), additive(image_mask_BS, image_BSD)
        for text_layer, image_layer in zip(self.text_layers, self.image_layers, strict=True):
            text_BTD, image_BSD = (
                text_layer(text_BTD, text_mask, image_BSD, encoder_attention_mask=image_mask),
                image_layer(image_BSD, image_mask, text_BTD, encoder_attention_mask=text_mask),
            )
        pooled_BP = torch.cat([self.text_pooler(text_BTD), self.image_pooler(image_BSD)], dim=-1)
        return self.match(pooled_BP)[:, 1]


def _roberta(size: MeterSize, attention: str) -> RobertaModel:
    stack = size.text
    config = RobertaConfig(
        vocab_size=size.vocabulary,
        max_position_embeddings=size.max_tokens + 2,  # RoBERTa's positions begin at 2
        type_vocab_size=1,
        **stack_options(stack, attention),
    )
    return RobertaModel(config, add_pooling_layer=False)


def _vit(size: MeterSize, attention: str) -> CLIPVisionModel:
    stack = size.image
    assert stack is not None
    config = CLIPVisionConfig(
        image_size=size.pixels,
        patch_size=size.patch,
        **stack_options(stack, attention),
    )
    return CLIPVisionModel(config)
