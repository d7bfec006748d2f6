"""The training loop: steps, evaluations, checkpoints and resuming, for every learner of this repository.

A learner gives the loss terms of a batch; batches depend on their step alone. The loop knows no objective and
no data.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from hivlp.config import Optimisation
from hivlp.errors import HivlpError
from hivlp.train import checkpoint
from hivlp.train.checkpoint import Best
from hivlp.train.distributed import World
from hivlp.train.optim import CLIP_NORM, learning_rate, make_optimizer
from hivlp.train.watch import Watch
from hivlp.types import Progress

CHECKPOINTS = "checkpoints"
B = TypeVar("B")
B_co = TypeVar("B_co", covariant=True)


class Learner(nn.Module, Generic[B]):
    """A module that is trained; its state is what checkpoints hold.

    Attributes:
        world: the processes that share every batch.
    """

    world: World = World()

    def forward(self, batch: B) -> dict[str, Tensor]:
        """Named loss terms of a batch, already weighted; their sum is minimised.

        Of several processes each gives its own; their mean is that of the whole batch.
        """
        raise NotImplementedError


class Batches(Protocol[B_co]):
    """The batches of a run, each a function of its step (0-based) alone."""

    def batches(self, start: int, stop: int, *, workers: int = 1) -> Iterator[B_co]:
        """Those of the steps from `start` to before `stop`."""
        ...

    def batch(self, step: int, *, whole: bool = False) -> B_co:
        """The batch of a step: this process's share of it, or with `whole` that of all processes."""
        ...


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How long a run is and what happens when; all periods are in steps.

    Attributes:
        batch_size: images a step, of all processes.
        seed: of everything random inside a step, such as dropout.
        evaluate_every: 0 never evaluates.
        checkpoint_every: 0 writes none, and the run can't be resumed.
        patience: evaluations without a higher AR before the run ends; 0: it goes on to its last step.
        workers: threads that prepare batches.
    """

    steps: int
    batch_size: int
    optimisation: Optimisation
    seed: int = 0
    log_every: int = 20
    evaluate_every: int = 0
    checkpoint_every: int = 0
    patience: int = 0
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a run.

    Attributes:
        step: the last one.
        best: the best evaluation; the weights are those of its step where evaluations may end the run early
            and there are checkpoints.
        early: whether they did.
    """

    step: int
    best: Best
    early: bool


def fit(
    learner: Learner[B],
    batches: Batches[B],
    settings: LoopSettings,
    folder: Path,
    *,
    resume: bool,
    rate_shares: Mapping[nn.Parameter, float] | None = None,
    before_step: Callable[[int], None] = lambda step: None,
    evaluate: Callable[[], dict[str, Any]] | None = None,
    best: Best = checkpoint.NONE_YET,
    remedy: str = "",
    progress: Progress = lambda *_: None,
    stop_after: int | None = None,
) -> Ended:
    """Trains until `settings.steps`, or until evaluations have not improved for long enough.

    Args:
        folder: receives `metrics.jsonl` and `checkpoints/`, from the process that leads.
        resume: go on from the newest checkpoint; bit-equal on a CPU to a run that was never cut off.
        rate_shares: the share of the learning rate of each parameter; those it does not name have all of it.
        before_step: called with the number of each step (0-based), to freeze or thaw parameters.
        evaluate: its numbers go to the log; ``AR``, in percent, counts for early stopping.
        best: the evaluation of the weights that the run starts with, which later ones must exceed.
        remedy: what a person can do about a loss that is not finite.
        stop_after: end at this step with a checkpoint, as if cut off; the schedule is still that of the whole
            run.

    Raises:
        HivlpError: the loss, or its gradient, is no longer finite.
    """
    world, checkpoints = learner.world, folder / CHECKPOINTS
    patience, every = settings.patience, settings.checkpoint_every
    optimizer = make_optimizer(learner, settings.optimisation, shares=rate_shares)
    start = 0
    if resume:
        start, restored = checkpoint.restore(checkpoints, learner=learner, optimizer=optimizer)
        best = restored if start else best
    world.check_same(start, "the step of the newest checkpoint")
    stop = start if best.is_final(patience) else min(settings.steps, stop_after or settings.steps)
    if start:
        progress(f"resumed at step {start:,} of {settings.steps:,}")
    elif stop:
        progress(
            f"{settings.steps:,} steps of {settings.batch_size:,} images, a line every {settings.log_every:,}"
        )
    watch = None
    if world.leads:
        watch = Watch(folder, start=start, steps=settings.steps, device=world.device, progress=progress)
    learner.train()
    done, waiting_since = start, time.perf_counter()
    for step, batch in enumerate(batches.batches(start, stop, workers=settings.workers), start=start):
        waited = time.perf_counter() - waiting_since
        rate = learning_rate(step, steps=settings.steps, settings=settings.optimisation)
        seed_step(settings.seed, step, world.rank)
        before_step(step)
        try:
            terms = train_step(learner, batch, optimizer, rate=rate)
        except NotFinite as error:
            path = folder / f"bad-batch-{step:08d}.npz"
            if world.leads:
                checkpoint.save_batch(path, batches.batch(step, whole=True))
            remedy = remedy or f"lower learning_rate (now {settings.optimisation.learning_rate})"
            raise HivlpError(f"{error} at step {step + 1:,}; {remedy}. The batch is in {path}") from None
        done = step + 1
        if watch is not None:
            watch.clock.stepped(settings.batch_size, waited=waited)
            if done % settings.log_every == 0 or done == stop:
                watch.step(done, rate=rate, terms=terms)
        due = _is_due(done, settings)
        with watch.clock.paused() if watch is not None else nullcontext():
            if due and evaluate is not None:
                average = _evaluated(evaluate, watch, done, world)
                best = best.after(done, average) if patience else best
                if watch is not None:
                    progress(evaluation_line(done, average, best if patience else None, patience))
                learner.train()
            final = done == stop or (due and patience > 0)
            if every and world.leads and (final or done % every == 0):
                checkpoint.save(checkpoints, step=done, learner=learner, optimizer=optimizer, best=best)
        if best.is_final(patience):
            break
        waiting_since = time.perf_counter()
    if watch is not None:
        watch.close()
    if best.step and every and world.leads:
        checkpoint.restore_weights(checkpoints, step=best.step, learner=learner)
    return Ended(done, best, early=best.is_final(patience))


def _is_due(done: int, settings: LoopSettings) -> bool:
    """Whether to evaluate after this step.

    After the last one the finished model is evaluated anyway; with early stopping its weights must first be
    compared with the best ones.
    """
    if done == settings.steps:
        return settings.patience > 0
    return settings.evaluate_every > 0 and done % settings.evaluate_every == 0


def _evaluated(evaluate: Callable[[], dict[str, Any]], watch: Watch | None, done: int, world: World) -> float:
    """The AR of the current weights; the process that leads measures it and broadcasts it."""
    average = 0.0
    if watch is not None:
        numbers = evaluate()
        watch.evaluated(done, numbers)
        average = float(numbers.get("AR", 0.0))
    return world.from_leader(average)


def evaluation_line(done: int, average: float, best: Best | None, patience: int) -> str:
    """The line on an evaluation: the AR that early stopping goes by, and the best so far.

    Args:
        done: the step after which it was made.
        average: its AR, in percent.
        best: the best evaluation including this one; None without early stopping.
        patience: evaluations without a higher AR before the run ends.
    """
    line = f"step {done:,}: AR {average:.1f}"
    if best is None:
        return line
    if best.since == 0:
        return f"{line} (best so far, step {best.step:,})"
    when = f"step {best.step:,}" if best.step else "before the first step"
    left = patience - best.since
    then = "the run ends here" if left <= 0 else f"the run ends after {left} more without a higher AR"
    return f"{line} (best so far {best.average:.1f}, {when}; {then})"


def seed_step(seed: int, step: int, rank: int) -> None:
    """Makes the random numbers of a step, such as dropout, depend on nothing that came before it."""
    state = np.random.SeedSequence((seed & (2**64 - 1), step, rank)).generate_state(1, np.uint64)
    torch.manual_seed(int(state[0] >> np.uint64(1)))


class NotFinite(Exception):  # noqa: N818 - the loop turns it into an error for people
    """The loss, or its gradient, is not finite; the weights are still those of before the step."""


def train_step(
    learner: Learner[B], batch: B, optimizer: torch.optim.Optimizer, *, rate: float
) -> dict[str, float]:
    """Forward, backward and update for one batch; gives the values of the losses, of all processes.

    Raises:
        NotFinite: before anything was updated.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate * group["share"]
    terms = learner(batch)
    loss: Tensor = torch.stack(list(terms.values())).sum()
    values = learner.world.mean(
        torch.stack([loss.detach(), *(term.detach() for term in terms.values())])
    ).tolist()
    named: dict[str, float] = dict(zip(["loss", *terms], values, strict=True))
    if not all(map(math.isfinite, values)):
        wrong = next((name for name in terms if not math.isfinite(named[name])), "loss")
        raise NotFinite(f"the loss became {named[wrong]} (its term {wrong})")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    learner.world.average_gradients(trained)
    norm = float(torch.nn.utils.clip_grad_norm_(trained, CLIP_NORM))
    if not math.isfinite(norm):
        raise NotFinite(f"the gradient's norm became {norm}")
    optimizer.step()
    return named
