"""UNITER: words and regions in one stream; every pair is scored by itself.

Shapes by the paper (ECCV 2020) and its published configurations. The features of the detector are inputs, so
no system is charged for it here.
"""

from __future__ import annotations

from torch import Tensor, cat, nn
from transformers.models.bert.modeling_bert import BertEmbeddings, BertEncoder, BertPooler

from hivlp_lab.baselines.parts import RegionEmbedding, additive, bert_config, compacted
from hivlp_lab.baselines.sizes import PairSize

MINI_BATCH = 400
"""Pairs that UNITER's own evaluation scores at a time."""


class Uniter(nn.Module):
    """Scores pairs of a text and a picture; higher is a better match, and a score has no unit."""

    def __init__(self, size: PairSize, *, attention: str = "sdpa") -> None:
        super().__init__()
        self.size = size
        config = bert_config(
            size.stack, vocabulary=size.vocabulary, max_tokens=size.max_tokens, attention=attention
        )
        self.words = BertEmbeddings(config)
        self.regions = RegionEmbedding(size.region_features, size.stack.width)
        self.encoder = BertEncoder(config)
        self.pooler = BertPooler(config)
        self.rank = nn.Linear(size.stack.width, 1)

    def region_states(self, regions_BRF: Tensor, boxes_BR7: Tensor) -> Tensor:
        """The embedded regions (B, R, D), which depend on the picture alone and so can be kept."""
        return self.regions(regions_BRF, boxes_BR7)

    def states(
        self, tokens_BT: Tensor, text_mask_BT: Tensor, regions_BRD: Tensor, region_mask_BR: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The states of all words and regions, compacted, and their mask: (B, S, D), (B, S)."""
        words_BTD = self.words(input_ids=tokens_BT)
        mask_BS = cat([text_mask_BT, region_mask_BR], dim=1)
        states_BSD, mask_BS = compacted(cat([words_BTD, regions_BRD], dim=1), mask_BS)
        states_BSD = self.encoder(states_BSD, attention_mask=additive(mask_BS, states_BSD)).last_hidden_state
        return states_BSD, mask_BS

    def score(
        self, tokens_BT: Tensor, text_mask_BT: Tensor, regions_BRD: Tensor, region_mask_BR: Tensor
    ) -> Tensor:
        """Scores (B,) of texts beside regions that were embedded before."""
        states_BSD, _ = self.states(tokens_BT, text_mask_BT, regions_BRD, region_mask_BR)
        return self.rank(self.pooler(states_BSD)).squeeze(-1)

    def forward(
        self,
        tokens_BT: Tensor,
        text_mask_BT: Tensor,
        regions_BRF: Tensor,
        boxes_BR7: Tensor,
        region_mask_BR: Tensor,
    ) -> Tensor:
        """Scores (B,) of pairs."""
        regions_BRD = self.region_states(regions_BRF, boxes_BR7)
        return self.score(tokens_BT, text_mask_BT, regions_BRD, region_mask_BR)
