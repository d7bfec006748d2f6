"""Checkpoints: tensors as safetensors, the rest as JSON, each folder whole or absent; nothing is pickled.

A checkpoint holds the state that the next step depends on: weights, running statistics, both AdamW moments,
the step, and the best evaluation so far. Batches and random numbers depend on the step alone, so they need no
state.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from hivlp.errors import ModelError
from hivlp.files import new_folder

PREFIX, TENSORS, STATE = "step-", "state.safetensors", "step.json"
KEPT = 2  # checkpoints, the newest ones


@dataclass(frozen=True, slots=True)
class Best:
    """The best evaluation of a run so far; part of every checkpoint.

    Attributes:
        step: after which step it was made; 0 before the first one.
        average: its AR, in percent; of step 0 that of the weights at the start, -1 where it is unknown.
        since: evaluations since then, none of them better.
    """

    step: int = 0
    average: float = -1.0
    since: int = 0

    def after(self, step: int, average: float) -> Best:
        """The best evaluation including the one after this step. Of equals the first stays."""
        if average > self.average:
            return Best(step, average)
        return Best(self.step, self.average, self.since + 1)

    def is_final(self, patience: int) -> bool:
        """Whether a run with this `patience` ends now; with 0 it never does."""
        return 0 < patience <= self.since


NONE_YET = Best()


def save(
    folder: Path,
    *,
    step: int,
    learner: nn.Module,
    optimizer: torch.optim.Optimizer,
    best: Best = NONE_YET,
) -> None:
    """Writes the checkpoint of a step under `folder`.

    Removes all others but the newest two and those that one of these names as the best.
    """
    final = _path(folder, step)
    for draft in folder.glob(f".{PREFIX}*.tmp"):  # of a killed run
        shutil.rmtree(draft, ignore_errors=True)
    tensors = {f"task.{name}": tensor.contiguous() for name, tensor in learner.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": value.contiguous() for name, value in state.items()}
    state = {"step": step, "best": asdict(best)}
    with new_folder(final) as draft:
        draft.mkdir()
        save_file(tensors, draft / TENSORS)
        (draft / STATE).write_text(json.dumps(state), encoding="utf-8")
        _sync(draft)
        if final.exists():
            shutil.rmtree(final)
    found = _all(folder)
    needed = {*found[-KEPT:], *(_path(folder, _state(path)[1].step) for path in found[-KEPT:])}
    for old in set(found) - needed:
        shutil.rmtree(old, ignore_errors=True)


def newest(folder: Path) -> int:
    """The step of the newest checkpoint under `folder`, 0 where there is none."""
    found = _all(folder)
    return _state(found[-1])[0] if found else 0


def restore(folder: Path, *, learner: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, Best]:
    """Loads the newest checkpoint under `folder`; returns its step, 0 without one, and best evaluation.

    Raises:
        ModelError: the checkpoint is damaged or belongs to another configuration.
    """
    found = _all(folder)
    if not found:
        return 0, NONE_YET
    tensors, step, best = _load(found[-1], learner)
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, number, key = name.split(".", 2)
            state.setdefault(int(number), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return step, best


def restore_weights(folder: Path, *, step: int, learner: nn.Module) -> None:
    """Loads the weights of the checkpoint of a step, for a model that is trained no further.

    Raises:
        ModelError: the checkpoint is damaged or gone.
    """
    _load(_path(folder, step), learner)


def _load(path: Path, learner: nn.Module) -> tuple[dict[str, torch.Tensor], int, Best]:
    try:
        tensors = load_file(path / TENSORS)
        step, best = _state(path)
        learner.load_state_dict(
            {name[5:]: value for name, value in tensors.items() if name.startswith("task.")}
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"the checkpoint {path} is damaged or belongs to another configuration ({str(error)[:300]}): "
            "remove this folder to resume from the checkpoint before it, or start a new run without --resume"
        ) from None
    return tensors, step, best


def _state(path: Path) -> tuple[int, Best]:
    state = json.loads((path / STATE).read_text(encoding="utf-8"))
    return int(state["step"]), Best(**state.get("best", {}))


def save_batch(path: Path, batch: Any) -> None:
    """Writes the arrays and tensors of a batch, a dataclass, as `.npz`, for a person to look at."""
    values = {field.name: getattr(batch, field.name) for field in fields(batch)}
    arrays = {
        name: value.numpy(force=True) if isinstance(value, torch.Tensor) else value
        for name, value in values.items()
        if isinstance(value, np.ndarray | torch.Tensor)
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]


def _path(folder: Path, step: int) -> Path:
    return folder / f"{PREFIX}{step:08d}"


def _all(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob(f"{PREFIX}*") if (path / STATE).is_file())


def _sync(folder: Path) -> None:
    """Syncs the files of a draft to disk, before the rename that makes it a checkpoint."""
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
