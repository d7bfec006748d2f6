"""Opening the indexes that a service is over."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hivlp.encode import Encoder
from hivlp.encode.rotated import RotatedEncoder
from hivlp.errors import ConfigError
from hivlp.retriever import Index


def open_indexes(
    paths: Sequence[Path], model: str | None = None, *, writable: bool = False, threads: int = 0
) -> dict[str, Index]:
    """Indexes by their names; those of one model share its encoder.

    Args:
        paths: their folders; the name of one is the name of its folder without ``.hivlp``.
        model: another place of the model that made them.
        writable: take their locks.
        threads: of computing embeddings; 0 leaves it to the runtime.

    Raises:
        ConfigError: two have one name.
    """
    indexes: dict[str, Index] = {}
    encoders: dict[str, Encoder] = {}
    for path in paths:
        name = path.resolve().name.removesuffix(".hivlp")
        if name in indexes:
            raise ConfigError(f"two indexes have the name {name!r}; rename the folder of one, {path}")
        indexes[name] = index = Index.open(path, model, writable=writable, threads=threads)
        if not isinstance(index.encoder, RotatedEncoder):  # which belongs to its index
            index.encoder = encoders.setdefault(index.encoder.fingerprint, index.encoder)
    return indexes
