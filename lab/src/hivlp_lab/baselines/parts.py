"""What the compared systems share: BERT's blocks, the embedding of regions, compaction, and counted cost.

B pairs, T tokens, R regions, F features of a region, S states of a sequence, D width of a state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertEmbeddings, BertEncoder, BertLayer

from hivlp_lab.baselines.sizes import BOX_NUMBERS, Stack


def bert_config(
    stack: Stack, *, vocabulary: int = 1, max_tokens: int = 1, cross: bool = False, attention: str = "sdpa"
) -> BertConfig:
    """The configuration of a stack; ``attention`` is ``sdpa`` (fused) or ``eager``."""
    return BertConfig(
        vocab_size=vocabulary,
        max_position_embeddings=max_tokens,
        type_vocab_size=1,  # of the words; regions bring their own
        pad_token_id=0,
        is_decoder=cross,  # in transformers only decoders have cross-attention; the masks here see everything
        add_cross_attention=cross,
        **stack_options(stack, attention),
    )


def stack_options(stack: Stack, attention: str) -> dict[str, Any]:
    """The settings of a stack and of its attention that every transformers configuration gets."""
    return {
        "hidden_size": stack.width,
        "num_hidden_layers": stack.layers,
        "num_attention_heads": stack.heads,
        "intermediate_size": stack.inner,
        "attn_implementation": attention,
    }


def additive(mask_BS: Tensor, like: Tensor) -> Tensor:
    """A mask (1 = real, 0 = padding) as what attention adds to its scores: (B, 1, 1, S)."""
    hidden = (mask_BS == 0)[:, None, None, :]
    return torch.zeros(hidden.shape, dtype=like.dtype, device=like.device).masked_fill(
        hidden, torch.finfo(like.dtype).min
    )


class RegionEmbedding(nn.Module):
    """Regions of a picture as states: LN(LN(W·features) + LN(V·box) + kind), as in UNITER."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.features = nn.Linear(features, width)
        self.features_norm = nn.LayerNorm(width, eps=1e-12)
        self.boxes = nn.Linear(BOX_NUMBERS, width)
        self.boxes_norm = nn.LayerNorm(width, eps=1e-12)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.kind_D = nn.Parameter(torch.randn(width) * 0.02)
        self.dropout = nn.Dropout(0.1)

    def forward(self, regions_BRF: Tensor, boxes_BR7: Tensor) -> Tensor:
        states_BRD = self.features_norm(self.features(regions_BRF)) + self.boxes_norm(self.boxes(boxes_BR7))
        return self.dropout(self.norm(states_BRD + self.kind_D))


class BertTower(nn.Module):
    """BERT over words alone: tokens (B, T) to states (B, T, D)."""

    def __init__(self, stack: Stack, *, vocabulary: int, max_tokens: int, attention: str = "sdpa") -> None:
        super().__init__()
        config = bert_config(stack, vocabulary=vocabulary, max_tokens=max_tokens, attention=attention)
        self.words = BertEmbeddings(config)
        self.encoder = BertEncoder(config)

    def forward(self, tokens_BT: Tensor, mask_BT: Tensor) -> Tensor:
        states_BTD = self.words(input_ids=tokens_BT)
        return self.encoder(states_BTD, attention_mask=additive(mask_BT, states_BTD)).last_hidden_state


class RegionTower(nn.Module):
    """UNITER's stack over the regions of a picture behind a summary state: (B, 1 + R, D), summary first."""

    def __init__(self, stack: Stack, *, region_features: int, attention: str = "sdpa") -> None:
        super().__init__()
        self.embed = RegionEmbedding(region_features, stack.width)
        self.summary_D = nn.Parameter(torch.randn(stack.width) * 0.02)
        self.encoder = BertEncoder(bert_config(stack, attention=attention))

    def forward(self, regions_BRF: Tensor, boxes_BR7: Tensor, mask_BR: Tensor) -> Tensor:
        regions_BRD = self.embed(regions_BRF, boxes_BR7)
        summary_B1D = self.summary_D.expand(len(regions_BRD), 1, -1)
        states_BSD = torch.cat([summary_B1D, regions_BRD], dim=1)
        mask_BS = torch.cat([torch.ones_like(mask_BR[:, :1]), mask_BR], dim=1)
        return self.encoder(states_BSD, attention_mask=additive(mask_BS, states_BSD)).last_hidden_state


def cross_layers(stack: Stack, attention: str) -> nn.ModuleList:
    """METER's co-attention blocks of one side: self-attention, attention to the other side, inner layer."""
    config = bert_config(stack, cross=True, attention=attention)
    return nn.ModuleList(BertLayer(config, layer_idx=layer) for layer in range(stack.layers))


def compacted(states_BSD: Tensor, mask_BS: Tensor) -> tuple[Tensor, Tensor]:
    """Real states first, padding behind, and no more of it than the longest sequence needs.

    UNITER's gather index: words are padded to the longest text and regions to the most of a picture, so their
    concatenation has holes, which cost as much as real states.
    """
    longest = int(mask_BS.sum(dim=1).max())
    order_BS = torch.argsort(mask_BS, dim=1, descending=True, stable=True)[:, :longest]
    gathered_BSD = states_BSD.gather(1, order_BS[..., None].expand(-1, -1, states_BSD.shape[-1]))
    return gathered_BSD, mask_BS.gather(1, order_BS)


def multiply_adds(run: Callable[[], Any]) -> int:
    """Multiply-adds of a computation, as torch counts them while it runs.

    Matrix products and convolutions only, as papers count: a product of (a, b) and (b, c) has a·b·c of them.
    """
    # Attention by plain products: what a fused kernel does is not counted on every device.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() // 2  # torch counts a multiplication and an addition as two
