"""The training loop: steps, checkpoints, a log and a progress line; it knows no objective and no format."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hivlp.config import TrainConfig
from hivlp.data.batch import Batch
from hivlp.data.batches import Mixture
from hivlp.errors import HivlpError
from hivlp.train import checkpoint
from hivlp.train.freeze import Schedule, rate_shares
from hivlp.train.optim import learning_rate, make_optimizer
from hivlp.train.step import Task

METRICS = "metrics.jsonl"
Progress = Callable[[str], None]


@dataclass(slots=True)
class Clock:
    """Where the seconds of a run go, since the last line of the log."""

    started: float = field(default_factory=time.perf_counter)
    waited: float = 0.0
    samples: int = 0

    def rate(self) -> float:
        """Pictures a second."""
        return self.samples / max(time.perf_counter() - self.started, 1e-9)

    def wait_share(self) -> float:
        """Share of the time spent waiting for data, in [0, 1]."""
        return self.waited / max(time.perf_counter() - self.started, 1e-9)


def fit(
    task: Task,
    mixture: Mixture,
    config: TrainConfig,
    folder: Path,
    *,
    resume: bool,
    progress: Progress = lambda line: None,
    evaluate: Callable[[], dict[str, Any]] | None = None,
    stop_after: int | None = None,
) -> int:
    """Trains until `config.steps` and gives the step it ended at.

    Args:
        folder: receives `metrics.jsonl` and `checkpoints/`, from the process that leads.
        resume: go on from the newest checkpoint; bit-equal on a CPU to a run that was never cut off.
        evaluate: called every `config.evaluate_every` steps; its numbers go to the log.
        stop_after: end at this step with a checkpoint, as if cut off; the schedule is still that of the whole
            run.

    Raises:
        HivlpError: the loss, or its gradient, is no longer a number.
    """
    world, checkpoints = task.world, folder / "checkpoints"
    shares = rate_shares(task.model, config.optimisation)
    optimizer, schedule = (
        make_optimizer(task, config.optimisation, shares=shares),
        Schedule(task.model, config),
    )
    start = checkpoint.restore(checkpoints, task=task, optimizer=optimizer) if resume else 0
    world.check_same(start, "the step of the newest checkpoint")
    stop = min(config.steps, stop_after or config.steps)
    if start:
        progress(f"resumed at step {start:,} of {config.steps:,}")
    log = MetricsLog(folder / METRICS, keep_until=start) if world.leads else None
    task.train()
    clock, waiting_since = Clock(), time.perf_counter()
    for step, batch in enumerate(mixture.batches(start, stop, workers=config.data_workers), start=start):
        clock.waited += time.perf_counter() - waiting_since
        rate = learning_rate(step, steps=config.steps, settings=config.optimisation)
        seed_step(config.seed, step, world.rank)
        schedule.at(step)
        try:
            terms = train_step(task, batch, optimizer, config, rate=rate)
        except NotFinite as error:
            raise _stopped(error, step, mixture, config, folder, leads=world.leads) from None
        clock.samples += config.batch_size
        done = step + 1
        if log is not None:
            if done % config.log_every == 0 or done == stop:
                log.write(step=done, rate=rate, terms=terms, clock=clock)
                progress(progress_line(done, config.steps, terms, clock, config.batch_size))
                clock = Clock()
            if done % config.checkpoint_every == 0 or done == stop:
                checkpoint.save(checkpoints, step=done, task=task, optimizer=optimizer)
            if evaluate is not None and _is_due(done, config):
                log.write_line({"step": done, "evaluation": evaluate()})
                task.train()
        waiting_since = time.perf_counter()
    return stop


def _is_due(done: int, config: TrainConfig) -> bool:
    """Whether to evaluate after this step; after the last one it happens anyway."""
    return bool(config.evaluate_every) and done % config.evaluate_every == 0 and done < config.steps


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
    norm = float(torch.nn.utils.clip_grad_norm_(trained, config.optimisation.clip_norm))
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


def progress_line(step: int, steps: int, terms: dict[str, float], clock: Clock, batch_size: int) -> str:
    """What a person wants to know while waiting."""
    left = (steps - step) * batch_size / max(clock.rate(), 1e-9)
    parts = "  ".join(f"{name} {value:.3f}" for name, value in terms.items())
    return (
        f"step {step:,}/{steps:,}  {parts}  {clock.rate():,.0f} pictures/s  "
        f"waiting for data {clock.wait_share():.0%}  {int(left // 60)}:{int(left % 60):02d} left"
    )


class MetricsLog:
    """One JSON object a line. A resumed run drops what was written past its checkpoint."""

    def __init__(self, path: Path, *, keep_until: int) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() and keep_until else []
        kept = [line for line in lines if _step_of(line) <= keep_until]
        path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")

    def write(self, *, step: int, rate: float, terms: dict[str, float], clock: Clock) -> None:
        speed = {"pictures_per_s": round(clock.rate(), 1), "data_wait": round(clock.wait_share(), 4)}
        self.write_line({"step": step, "learning_rate": rate, **terms, **speed})

    def write_line(self, values: dict[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")


def _step_of(line: str) -> float:
    """The step of a log line; a line that was cut off by a kill counts as the future and is dropped."""
    try:
        return float(json.loads(line)["step"])
    except (json.JSONDecodeError, KeyError, TypeError):
        return float("inf")
