"""The indexes of a service: opening them, and the facts that page and statistics show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hivlp.encode import Encoder
from hivlp.encode.rotated import RotatedEncoder
from hivlp.errors import ConfigError
from hivlp.index.summary import SAMPLE, fields, folders
from hivlp.retriever import Index


@dataclass
class ServedIndex:
    """An index and its name in the service.

    Attributes:
        facts: what ``GET /v1/stats`` shows of it, as of the last ``read_facts``.
    """

    name: str
    index: Index
    writable: bool
    facts: dict[str, Any] = field(default_factory=dict[str, Any])

    def read_facts(self) -> None:
        """Reads the facts again; with a million items that is too slow to do for each request."""
        store = self.index.store
        info, sample = store.info(), store.sample(SAMPLE)
        self.facts = {
            "name": self.name,
            "items": info["items"],
            "kinds": info["kinds"],
            "model": self.index.encoder.name,
            "levels": list(store.widths),
            "writable": self.writable,
            "tuned": info["tuned"],
            "probabilities": self.index.match is not None,
            "fields": fields(sample),
            "folders": folders(sample),
        }

    def refresh(self) -> bool:
        """Takes up what other processes have written. True if there was something."""
        changed = self.index.refresh()
        if changed:
            self.read_facts()
        return changed


def open_indexes(
    paths: Sequence[Path], model: str | None = None, *, writable: bool = False, threads: int = 0
) -> dict[str, Index]:
    """Opens indexes by name; those of one model share its encoder.

    Args:
        paths: the index folders; the name of an index is that of its folder without ``.hivlp``.
        model: another path of the model that made them.
        writable: take their write locks.
        threads: threads that compute embeddings; 0 lets the runtime choose.

    Raises:
        ConfigError: two indexes have the same name.
    """
    indexes: dict[str, Index] = {}
    encoders: dict[str, Encoder] = {}
    for path in paths:
        name = path.resolve().name.removesuffix(".hivlp")
        if name in indexes:
            raise ConfigError(f"two indexes have the name {name!r}: rename the folder of one, {path}")
        indexes[name] = index = Index.open(path, model, writable=writable, threads=threads)
        if not isinstance(index.encoder, RotatedEncoder):  # its rotation belongs to one index
            index.encoder = encoders.setdefault(index.encoder.fingerprint, index.encoder)
    return indexes
