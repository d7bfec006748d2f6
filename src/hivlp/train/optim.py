"""AdamW and its schedule; it knows parameters and steps."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn

from hivlp.config import Optimisation

BETAS = 0.9, 0.98  # decay of the two moments, as CLIP trains its transformers
CLIP_NORM = 1.0  # gradients are scaled down to this norm


def make_optimizer(
    module: nn.Module, settings: Optimisation, *, shares: Mapping[nn.Parameter, float] | None = None
) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices and kernels only.

    Biases, norms and temperatures only lose accuracy by it. `shares` gives some parameters a share of the
    learning rate; it is kept in each group, as ``share``.
    """
    rate_of = shares or {}
    trained = [(parameter, rate_of.get(parameter, 1.0)) for parameter in module.parameters()]
    groups = [
        {"params": chosen, "weight_decay": decay, "share": share}
        for share in sorted({share for _, share in trained}, reverse=True)
        for decay, matrices in ((settings.weight_decay, True), (0.0, False))
        if (chosen := [p for p, s in trained if s == share and p.requires_grad and (p.ndim >= 2) is matrices])
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=BETAS)


def learning_rate(step: int, *, steps: int, settings: Optimisation) -> float:
    """The rate of a step (0-based): a linear rise over the warm-up, then down to zero.

    Half a cosine, or with `decay_steps` a plateau and then 1 - sqrt(progress), the best of the short decays
    of Hägele et al. (arXiv 2405.18392, section 3): such a run can be ended at any time.
    """
    warmup = min(settings.warmup_steps, steps)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    if settings.decay_steps:
        done = step - (steps - settings.decay_steps)
        return settings.learning_rate * (1 - math.sqrt(max(0, done) / settings.decay_steps))
    progress = (step - warmup) / max(1, steps - warmup)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
