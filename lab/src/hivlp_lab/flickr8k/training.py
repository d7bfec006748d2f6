"""The training loop: any learner over tensors in memory, counted, measured and resumable."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from hivlp.config import Optimisation
from hivlp.errors import ModelError
from hivlp.train import checkpoint
from hivlp.train.optim import CLIP_NORM, learning_rate, make_optimizer
from hivlp.train.saved_tensors import save_tensors as write
from hivlp_lab.baselines.parts import multiply_adds
from hivlp_lab.flickr8k.batches import Batches
from hivlp_lab.flickr8k.lessons import MASKED_EVERY, Learner
from hivlp_lab.flickr8k.recipes import Recipe

WEIGHTS = "weights.safetensors"
_CHECKPOINT_S = 30.0
_BACKWARD = 2  # multiply-adds of the backward pass, in those of the forward pass


@dataclass(frozen=True)
class Spent:
    """What a training cost.

    Attributes:
        macs: multiply-adds, forward and backward, as torch counts those of matrix products.
        seconds: of this process; of a run that was stopped, since it went on.
    """

    steps: int
    epochs: float
    macs: float
    parameters: int
    seconds: float


def count_macs(learner: Learner, batches: Batches, *, cycle: int = 2 * MASKED_EVERY) -> float:
    """Multiply-adds of a training step, forward and backward: the mean over a turn of all tasks."""
    turns = range(cycle)
    counted = [multiply_adds(lambda turn=turn: learner.losses(batches.at(turn), turn)) for turn in turns]
    return (1 + _BACKWARD) * sum(counted) / len(counted)


def steps_of(recipe: Recipe, batches: Batches, step_macs: float, budget: float) -> int:
    """How long a recipe trains: its epochs, or as many steps as the budget pays for."""
    return max(1, round(recipe.epochs * batches.an_epoch if recipe.epochs else budget / step_macs))


def train(
    learner: nn.Module,
    batches: Batches,
    recipe: Recipe,
    folder: Path,
    *,
    seed: int,
    budget: float,
    watch: Callable[[int, float], None] = lambda step, loss: None,
    evaluations: int = 1,
) -> Spent:
    """Trains a learner, or goes on where it was stopped, and leaves its weights in the folder.

    Args:
        watch: is called ``evaluations`` times, evenly, the last time at the end, with the steps done and the
            mean loss since the call before.
    """
    settings = Optimisation(
        learning_rate=recipe.learning_rate, weight_decay=recipe.weight_decay, warmup_steps=recipe.warmup
    )
    given: list[nn.Parameter] = getattr(learner, "given", [])
    optimizer = make_optimizer(learner, settings, shares=dict.fromkeys(given, recipe.given_rate))
    for group in optimizer.param_groups:
        group["weight_decay"] *= group["share"] == 1
    learner.eval()  # counting draws no random numbers for dropout
    step_macs = count_macs(cast("Learner", learner), batches)
    steps = steps_of(recipe, batches, step_macs, budget)
    learner.train()
    begin = saved = time.perf_counter()
    done, _ = checkpoint.restore(folder / "checkpoints", task=learner, optimizer=optimizer)
    losses: list[float] = []
    for step in range(done, steps):
        rate = learning_rate(step, steps=steps, settings=settings)
        losses.append(_step(learner, batches, optimizer, step, rate, seed, CLIP_NORM))
        if _is_due(step + 1, steps, evaluations):
            learner.eval()
            watch(step + 1, sum(losses) / len(losses))
            learner.train()
            losses = []
        if time.perf_counter() - saved > _CHECKPOINT_S:
            checkpoint.save(folder / "checkpoints", step=step + 1, task=learner, optimizer=optimizer, keep=1)
            saved = time.perf_counter()
    learner.eval()
    keep(learner, folder)
    return Spent(
        steps=steps,
        epochs=round(steps / batches.an_epoch, 2),
        macs=steps * step_macs,
        parameters=sum(parameter.numel() for parameter in learner.parameters()),
        seconds=round(time.perf_counter() - begin, 1),
    )


def _is_due(done: int, steps: int, evaluations: int) -> bool:
    return done * evaluations // steps > (done - 1) * evaluations // steps


def _step(
    learner: nn.Module,
    batches: Batches,
    optimizer: torch.optim.Optimizer,
    step: int,
    rate: float,
    seed: int,
    clip: float,
) -> float:
    torch.manual_seed(seed * 1_000_003 + step)  # dropout depends on the step alone, so a run can go on
    for group in optimizer.param_groups:
        group["lr"] = rate * group["share"]
    terms = cast("Learner", learner).losses(batches.at(step), step)
    loss = cast("Tensor", sum(terms.values()))
    if not bool(loss.isfinite()):
        named: dict[str, Any] = {name: float(term.detach()) for name, term in terms.items()}
        raise ModelError(f"the loss of step {step} is no number ({named}); lower the recipe's learning rate")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(learner.parameters(), clip)
    optimizer.step()
    return float(loss.detach())


def keep(learner: nn.Module, folder: Path) -> None:
    """Writes the weights, whole or not at all."""
    write(learner.state_dict(), folder / WEIGHTS)


def kept(learner: nn.Module, folder: Path) -> None:
    """Puts the weights in place that ``keep`` wrote."""
    learner.load_state_dict(load_file(folder / WEIGHTS))
    learner.eval()
