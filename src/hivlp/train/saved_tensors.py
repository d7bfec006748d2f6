"""Tensors that a run has found once and keeps for when it goes on: whole or not there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from hivlp.errors import HivlpError
from hivlp.files import replacing


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Writes tensors by name, such as a module's state."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft:
        save_file({name: value.contiguous() for name, value in tensors.items()}, draft)


def restore_tensors(path: Path, into: Callable[[dict[str, Tensor]], object], *, of: str) -> None:
    """Gives what was kept to the part of the run that takes it.

    Args:
        of: what the tensors belong to, for the message.

    Raises:
        HivlpError: the file can't be read, or does not fit.
    """
    try:
        into(load_file(path))
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise HivlpError(
            f"{path} can't be read, or is of another {of} ({reason}); delete it, and --resume learns it anew"
        ) from None
