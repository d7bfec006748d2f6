"""AdamW and its schedule; it knows parameters and steps."""

from __future__ import annotations

import math

import torch
from torch import nn

from hivlp.config import Optimisation


def make_optimizer(module: nn.Module, settings: Optimisation) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices and kernels only.

    Biases, norms and temperatures only lose accuracy by it.
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas)


def learning_rate(step: int, *, steps: int, settings: Optimisation) -> float:
    """The rate of a step (0-based): a linear rise over the warm-up, then half a cosine down to zero."""
    warmup = min(settings.warmup_steps, steps)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
