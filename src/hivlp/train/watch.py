"""Reports of a running training: a line for people, `metrics.jsonl`, TensorBoard if installed."""

from __future__ import annotations

import importlib.util
import json
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from hivlp.messages import counted
from hivlp.types import Progress

METRICS, BOARD = "metrics.jsonl", "tensorboard"
_NEVER = 1e-9  # seconds; keeps a rate finite


class Clock:
    """Where the seconds of a run went since the clock was last started."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        self._started = time.perf_counter()
        self._waited = self._aside = 0.0
        self._samples = 0

    def stepped(self, samples: int, *, waited: float) -> None:
        """Counts the images of a step, and the seconds that it waited for them."""
        self._samples += samples
        self._waited += waited

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Evaluations and checkpoints are not the speed of training."""
        since = time.perf_counter()
        yield
        self._aside += time.perf_counter() - since

    def rate(self) -> float:
        """Images a second."""
        return self._samples / self._seconds()

    def wait_share(self) -> float:
        """Share of the time spent waiting for data, in [0, 1]."""
        return min(self._waited / self._seconds(), 1.0)

    def _seconds(self) -> float:
        return max(time.perf_counter() - self._started - self._aside, _NEVER)


class Watch:
    """The reports of one run, from the process that leads."""

    def __init__(
        self,
        folder: Path,
        *,
        start: int,
        steps: int,
        device: torch.device,
        progress: Progress = lambda *_: None,
    ) -> None:
        """Drops log entries past step `start`, from which a resumed run continues."""
        self.clock = Clock()
        self._log = folder / METRICS
        _drop_after(self._log, start)
        self._board = _board(folder / BOARD, start)
        self._first, self._steps, self._began = start, steps, time.perf_counter()
        self._device, self._progress = device, progress
        if self._board is not None:
            progress(f"curves while it runs: tensorboard --logdir {folder / BOARD}")

    def step(self, done: int, *, rate: float, terms: Mapping[str, float]) -> None:
        """Reports the steps since the last line, and restarts the clock."""
        numbers = {
            "learning_rate": rate,
            **terms,
            "pictures_per_s": round(self.clock.rate(), 1),
            "data_wait": round(self.clock.wait_share(), 4),
            "memory_mb": memory_mb(self._device),
        }
        self._write(done, numbers)
        self._progress(self.line(done, terms, numbers))
        self.clock.start()

    def evaluated(self, done: int, numbers: Mapping[str, Any]) -> None:
        """Reports an evaluation after step `done`."""
        self._write(done, {"evaluation": numbers})

    def line(self, done: int, terms: Mapping[str, float], numbers: Mapping[str, float]) -> str:
        """One line for people; the time left includes evaluations at their rate so far."""
        steps = max(done - self._first, 1)
        left = int((time.perf_counter() - self._began) / steps * (self._steps - done))
        hours, minutes, seconds = left // 3600, left // 60 % 60, left % 60
        return "  ".join(
            [
                f"step {done:,}/{self._steps:,}",
                *(f"{name} {value:.3f}" for name, value in terms.items()),
                f"{numbers['pictures_per_s']:,.0f} pictures/s",
                f"waiting for data {numbers['data_wait']:.0%}",
                f"{numbers['memory_mb']:,.0f} MB",
                f"{hours}:{minutes:02d}:{seconds:02d} left" if hours else f"{minutes}:{seconds:02d} left",
            ]
        )

    def close(self) -> None:
        if self._board is not None:
            self._board.close()

    def _write(self, step: int, numbers: Mapping[str, Any]) -> None:
        with self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **numbers}) + "\n")
        if self._board is not None:
            for name, value in _flat(numbers):
                self._board.add_scalar(name, value, step)


def _drop_after(path: Path, step: int) -> None:
    """Removes the lines of a log past a step, or the log where the run starts anew; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() and step else []
    path.write_text("".join(line + "\n" for line in lines if _step_of(line) <= step), encoding="utf-8")


def _step_of(line: str) -> float:
    """The step of a log line; of a line that a kill cut off infinity, so that it is dropped."""
    try:
        return float(json.loads(line)["step"])
    except (json.JSONDecodeError, KeyError, TypeError):
        return float("inf")


def _board(folder: Path, start: int) -> Any:
    """TensorBoard's writer; None where it is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=start + 1)


def _flat(numbers: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Every number by its path, such as ``evaluation/pairs.tsv/AR``; those without a path are in `train`."""
    for name, value in numbers.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}/")
        else:
            yield (f"{prefix}{name}" if prefix else f"train/{name}"), float(value)


def memory_mb(device: torch.device) -> int:
    """The peak memory of this process so far: on its GPU, or without one, in the machine."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) // 1_000_000
    if sys.platform == "win32":  # does not report it
        return 0
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit // 1_000_000


def slow_here(device: torch.device, precision: str) -> str | None:
    """A warning where the processor emulates bfloat16; None otherwise."""
    if device.type != "cpu" or precision != "bfloat16":
        return None
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return None
    if torch.backends.cpu.get_cpu_capability() not in ("DEFAULT", "AVX2"):
        return None
    return "this processor has no bfloat16 and imitates it, slowly; set precision=float32"


def gpu_left_idle(device: torch.device) -> str | None:
    """A warning where a run computes on the CPU of a machine with a GPU; None otherwise."""
    if device.type != "cpu":
        return None
    if torch.cuda.is_available():
        count = counted(torch.cuda.device_count(), "GPU")
        return f"this machine has {count} and the run uses the CPU, as device=cpu says; drop that to use it"
    if Path("/proc/driver/nvidia/gpus").is_dir():
        return (
            f"this machine has an NVIDIA GPU that torch {torch.__version__} can't use, so the run uses "
            "the CPU; install a build of torch for CUDA (https://pytorch.org) and check the driver"
        )
    return None
