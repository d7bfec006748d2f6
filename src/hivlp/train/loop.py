"""The training loop: steps, evaluations and checkpoints; it knows no objective and no format."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hivlp.config import TrainConfig
from hivlp.errors import HivlpError
from hivlp.train import checkpoint
from hivlp.train.batches.batch import Batch
from hivlp.train.batches.mixture import Mixture
from hivlp.train.checkpoint import Best
from hivlp.train.distributed import World
from hivlp.train.freeze import Schedule, rate_shares
from hivlp.train.optim import CLIP_NORM, learning_rate, make_optimizer
from hivlp.train.starts.linear import initialised_rates
from hivlp.train.step import Task
from hivlp.train.watch import Watch
from hivlp.types import Progress

CHECKPOINTS = "checkpoints"


@dataclass(frozen=True, slots=True)
class Ended:
    """How the loop ended.

    Attributes:
        step: the last one.
        best: the best evaluation; the weights are those of its step where evaluations may end the run early.
        early: whether they did.
    """

    step: int
    best: Best
    early: bool


def fit(
    task: Task,
    mixture: Mixture,
    config: TrainConfig,
    folder: Path,
    *,
    resume: bool,
    progress: Progress = lambda *_: None,
    evaluate: Callable[[], dict[str, Any]] | None = None,
    stop_after: int | None = None,
) -> Ended:
    """Trains until `config.steps`, or until evaluations have not got better for long enough.

    Args:
        folder: receives `metrics.jsonl` and `checkpoints/`, from the process that leads.
        resume: go on from the newest checkpoint; bit-equal on a CPU to a run that was never cut off.
        evaluate: called every `config.evaluate_every` steps; its numbers, of which ``AR`` counts for early
            stopping, go to the log.
        stop_after: end at this step with a checkpoint, as if cut off; the schedule is still that of the whole
            run.

    Raises:
        HivlpError: the loss, or its gradient, is no longer a number.
    """
    world, checkpoints, patience = task.world, folder / CHECKPOINTS, config.early_stopping.patience
    shares = rate_shares(task.model, config.optimisation)
    if config.linear_start:
        shares |= initialised_rates(task.model, config.optimisation.linear_start_rate)
    optimizer = make_optimizer(task, config.optimisation, shares=shares)
    schedule = Schedule(task.model, config)
    start, best = 0, checkpoint.NONE_YET
    if resume:
        start, best = checkpoint.restore(checkpoints, task=task, optimizer=optimizer)
    world.check_same(start, "the step of the newest checkpoint")
    stop = start if best.is_final(patience) else min(config.steps, stop_after or config.steps)
    if start:
        progress(f"resumed at step {start:,} of {config.steps:,}")
    elif stop:
        progress(
            f"{config.steps:,} steps of {config.batch_size:,} pictures, a line every {config.log_every:,}"
        )
    watch = None
    if world.leads:
        watch = Watch(folder, start=start, steps=config.steps, device=world.device, progress=progress)
    task.train()
    done, waiting_since = start, time.perf_counter()
    for step, batch in enumerate(mixture.batches(start, stop, workers=config.data_workers), start=start):
        waited = time.perf_counter() - waiting_since
        rate = learning_rate(step, steps=config.steps, settings=config.optimisation)
        seed_step(config.seed, step, world.rank)
        schedule.at(step)
        try:
            terms = train_step(task, batch, optimizer, config, rate=rate)
        except NotFinite as error:
            raise _stopped(error, step, mixture, config, folder, leads=world.leads) from None
        done = step + 1
        if watch is not None:
            watch.clock.stepped(config.batch_size, waited=waited)
            if done % config.log_every == 0 or done == stop:
                watch.step(done, rate=rate, terms=terms)
        due = _is_due(done, config)
        with watch.clock.paused() if watch is not None else nullcontext():
            if due and evaluate is not None:
                average = _evaluated(evaluate, watch, done, world)
                best = best.after(done, average) if patience else best
                task.train()
            if world.leads and (done % config.checkpoint_every == 0 or done == stop or (due and patience)):
                checkpoint.save(checkpoints, step=done, task=task, optimizer=optimizer, best=best)
        if best.is_final(patience):
            break
        waiting_since = time.perf_counter()
    if watch is not None:
        watch.close()
    if best.step and world.leads:
        checkpoint.restore_weights(checkpoints, step=best.step, task=task)
    return Ended(done, best, early=best.is_final(patience))


def _is_due(done: int, config: TrainConfig) -> bool:
    """Whether to evaluate after this step.

    After the last one the finished model is evaluated anyway; with early stopping its weights must first be
    compared with the best ones.
    """
    if done == config.steps:
        return bool(config.early_stopping.patience)
    return bool(config.evaluate_every) and done % config.evaluate_every == 0


def _evaluated(evaluate: Callable[[], dict[str, Any]], watch: Watch | None, done: int, world: World) -> float:
    """The AR of the model as it is; the process that leads measures it and tells the others."""
    average = 0.0
    if watch is not None:
        numbers = evaluate()
        watch.evaluated(done, numbers)
        average = float(numbers.get("AR", 0.0))
    return world.from_leader(average)


def seed_step(seed: int, step: int, rank: int) -> None:
    """Makes the random numbers of a step, such as dropout, depend on nothing that came before it."""
    state = np.random.SeedSequence((seed & (2**64 - 1), step, rank)).generate_state(1, np.uint64)
    torch.manual_seed(int(state[0] >> np.uint64(1)))


class NotFinite(Exception):  # noqa: N818 - the loop turns it into an error for people
    """The loss, or its gradient, is not a number; the weights are still those of before the step."""


def train_step(
    task: Task, batch: Batch, optimizer: torch.optim.Optimizer, config: TrainConfig, *, rate: float
) -> dict[str, float]:
    """Forward, backward and update for one batch; gives the values of the losses, of all processes.

    Raises:
        NotFinite: before anything was updated.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate * group["share"]
    terms = task(batch)
    loss: Tensor = torch.stack(list(terms.values())).sum()
    values = task.world.mean(
        torch.stack([loss.detach(), *(term.detach() for term in terms.values())])
    ).tolist()
    named: dict[str, float] = dict(zip(["loss", *terms], values, strict=True))
    if not all(map(math.isfinite, values)):
        wrong = next((name for name in terms if not math.isfinite(named[name])), "loss")
        raise NotFinite(f"the loss became {named[wrong]} (its term {wrong})")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    task.world.average_gradients(trained)
    norm = float(torch.nn.utils.clip_grad_norm_(trained, CLIP_NORM))
    if not math.isfinite(norm):
        raise NotFinite(f"the gradient's norm became {norm}")
    optimizer.step()
    return named


def _stopped(
    error: NotFinite, step: int, mixture: Mixture, config: TrainConfig, folder: Path, *, leads: bool
) -> HivlpError:
    """The message that ends the run, with the batch on disk."""
    path = folder / f"bad-batch-{step:08d}.npz"
    if leads:
        checkpoint.save_batch(path, mixture.batch(step, whole=True))
    return HivlpError(
        f"{error} at step {step + 1:,}; lower optimisation.learning_rate (now "
        f"{config.optimisation.learning_rate}) or raise optimisation.warmup_steps, and go on with --resume "
        f"from the last checkpoint. The batch is in {path}"
    )
