"""Tensors that a run computes once, saved atomically for when it is resumed."""

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
    """Loads saved tensors, and passes them to the part of the run that uses them.

    Args:
        of: what the tensors belong to, for the message.

    Raises:
        HivlpError: the file cannot be read, or does not fit.
    """
    try:
        into(load_file(path))
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise HivlpError(
            f"{path} cannot be read, or is of another {of} ({reason}); delete it and use --resume"
        ) from None
