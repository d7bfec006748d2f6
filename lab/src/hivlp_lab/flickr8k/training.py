"""Trains a system by the library's loop, for its epochs or for a budget of multiply-adds."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from hivlp.config import Optimisation
from hivlp.train import checkpoint
from hivlp.train.loop import CHECKPOINTS, Learner, LoopSettings, fit
from hivlp.train.watch import METRICS
from hivlp.types import Progress
from hivlp_lab.baselines.parts import multiply_adds
from hivlp_lab.flickr8k.batches import RegionBatch, RegionBatches
from hivlp_lab.flickr8k.learners import MASKED_EVERY
from hivlp_lab.flickr8k.recipes import SystemRecipe

CHECKPOINT_EVERY = 50  # steps: half a minute of the slowest system
_BACKWARD = 2  # multiply-adds of the backward pass, in those of the forward pass


def count_macs(learner: Learner[RegionBatch], batches: RegionBatches) -> float:
    """Multiply-adds of a training step, forward and backward: the mean over a turn of all tasks."""
    turns = range(2 * MASKED_EVERY)
    counted = [multiply_adds(lambda turn=turn: learner(batches.batch(turn))) for turn in turns]
    return (1 + _BACKWARD) * sum(counted) / len(counted)


def train(
    learner: Learner[RegionBatch],
    batches: RegionBatches,
    recipe: SystemRecipe,
    folder: Path,
    *,
    seed: int,
    budget: float,
    rate_shares: Mapping[nn.Parameter, float] | None = None,
    evaluate: Callable[[], dict[str, Any]] | None = None,
    evaluations: int = 1,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """Trains a learner, or resumes its training; its last checkpoint holds its weights.

    Args:
        budget: multiply-adds of a recipe without epochs.
        evaluate: called at even distances, so that with the finished weights there are ``evaluations``.

    Returns:
        ``steps``, ``epochs``, ``macs`` (forward and backward, as torch counts those of matrix products),
        ``parameters``, ``seconds`` (of a resumed run, since it was resumed).
    """
    learner.eval()  # counting draws no random numbers for dropout
    step_macs = count_macs(learner, batches)
    steps = max(1, round(recipe.epochs * batches.an_epoch if recipe.epochs else budget / step_macs))
    every = -(-steps // evaluations)
    settings = LoopSettings(
        steps=steps,
        batch_size=batches.size,
        optimisation=Optimisation(
            learning_rate=recipe.learning_rate, weight_decay=recipe.weight_decay, warmup_steps=recipe.warmup
        ),
        seed=seed,
        log_every=every,
        evaluate_every=every,
        checkpoint_every=CHECKPOINT_EVERY,
    )
    begin = time.perf_counter()
    fit(
        learner,
        batches,
        settings,
        folder,
        resume=True,
        rate_shares=rate_shares,
        evaluate=evaluate,
        progress=progress,
    )
    learner.eval()
    return {
        "steps": steps,
        "epochs": round(steps / batches.an_epoch, 2),
        "macs": steps * step_macs,
        "parameters": sum(parameter.numel() for parameter in learner.parameters()),
        "seconds": round(time.perf_counter() - begin, 1),
    }


def curve(folder: Path) -> list[dict[str, Any]]:
    """The loss, and the AR where it was evaluated, at even distances of a training."""
    points: dict[int, dict[str, Any]] = {}
    for line in map(json.loads, (folder / METRICS).read_text(encoding="utf-8").splitlines()):
        numbers = line.get("evaluation") or {"loss": round(line["loss"], 4)}
        points.setdefault(line["step"], {"step": line["step"]}).update(numbers)
    return list(points.values())


def restore(learner: nn.Module, folder: Path) -> None:
    """Puts the weights of a finished training in place."""
    checkpoints = folder / CHECKPOINTS
    checkpoint.restore_weights(checkpoints, step=checkpoint.newest(checkpoints), learner=learner)
    learner.eval()
