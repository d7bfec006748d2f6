"""Modules that are used in training only: heads, biases, temperatures."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from hivlp.config import Objective
from hivlp.model.dual import MAX_LOG_SCALE, DualEncoder

INITIAL_BIAS = -10.0  # of the sigmoid form: nearly all pairs are wrong (SigLIP, arXiv 2303.15343)


class ObjectiveParameters(nn.Module):
    """Parameters of objectives beside the model: a bias per level, and the temperature of sign codes."""

    def __init__(self, model: DualEncoder, objective: Objective) -> None:
        super().__init__()
        self.widths = model.config.levels.widths
        self.binary_width = self.widths[-1]
        self.bias_L = self.binary_bias = self.binary_log_scale = None
        if objective.form == "sigmoid":
            self.bias_L = nn.Parameter(torch.full((len(self.widths),), INITIAL_BIAS))
        if objective.binary.weight:
            self.binary_log_scale = nn.Parameter(torch.tensor(math.log(model.config.logit_scale)))
            if objective.form == "sigmoid":
                self.binary_bias = nn.Parameter(torch.tensor(INITIAL_BIAS))

    @property
    def biases(self) -> dict[int, Tensor] | None:
        """The bias of each level, by width; None in the softmax form."""
        return None if self.bias_L is None else dict(zip(self.widths, self.bias_L, strict=True))

    @property
    def binary_scale(self) -> Tensor | None:
        """The inverse temperature of the sign codes, in (0, 100]; None without them."""
        if self.binary_log_scale is None:
            return None
        return self.binary_log_scale.clamp(max=MAX_LOG_SCALE).exp()


class MaskedHead(nn.Module):
    """Predicts what was masked from states of one side, each added to the other side's global vector."""

    def __init__(self, *, states: int, embedding: int, out: int) -> None:
        super().__init__()
        self.project = nn.Linear(embedding, states)
        self.tell = nn.Sequential(
            nn.Linear(states, states), nn.GELU(), nn.LayerNorm(states), nn.Linear(states, out)
        )

    def forward(self, states_MF: Tensor, global_MD: Tensor) -> Tensor:
        """The prediction for each state (M, out)."""
        return self.tell(states_MF + self.project(global_MD))
