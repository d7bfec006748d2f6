"""The indexes of a service: opening them, and the facts that page and statistics show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hivlp.encode import Encoder
from hivlp.encode.rotated import RotatedEncoder
from hivlp.errors import ConfigError
from hivlp.retriever import Index
from hivlp.types import Item

_SAMPLE = 2_000
_MOST_VALUES = 50
_MOMENT, _MOST_FOLDERS = "taken_at", 100
_LONGEST_VALUE = 80


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
        info = store.info()
        self.facts = {
            "name": self.name,
            "items": info["items"],
            "kinds": info["kinds"],
            "model": self.index.encoder.name,
            "levels": list(store.widths),
            "writable": self.writable,
            "tuned": info["tuned"],
            "probabilities": self.index.match is not None,
            "fields": fields(store.sample(_SAMPLE)),
            "folders": folders(store.sample(_SAMPLE)),
        }

    def refresh(self) -> bool:
        """Takes up what other processes have written. True if there was something."""
        changed = self.index.refresh()
        if changed:
            self.read_facts()
        return changed


def fields(items: Iterable[Item]) -> dict[str, dict[str, Any]]:
    """The metadata keys of some items to filter by, with their values or range.

    Keys with a single value are left out, and so are texts that are nearly all different (titles, names),
    since a choice of hundreds is useless.
    """
    seen: dict[str, list[str | int | float]] = {}
    for item in items:
        facts = {**item.meta, "width": item.width, "height": item.height}
        for key, value in facts.items():
            if isinstance(value, (str, int, float)) and not isinstance(value, bool):
                seen.setdefault(key, []).append(value)
    described = {key: _described(values) for key, values in seen.items() if key != _MOMENT}
    if len(set(seen.get(_MOMENT, ()))) > 1:
        days = [str(value)[:10] for value in seen[_MOMENT]]
        described[_MOMENT] = {"type": "date", "min": min(days), "max": max(days)}
    return {key: field for key, field in described.items() if field is not None}


def folders(items: Iterable[Item]) -> list[str]:
    """The folders that most of some items lie in, by their ids, with the folders around these; sorted."""
    counts = Counter[str]()
    for item in items:
        parts = item.id.split("/")[:-1]
        counts.update("/".join(parts[:depth]) for depth in range(1, len(parts) + 1))
    return sorted(name for name, _ in counts.most_common(_MOST_FOLDERS) if name)


def _described(values: list[str | int | float]) -> dict[str, Any] | None:
    if len(set(values)) < 2:
        return None
    numbers = [value for value in values if not isinstance(value, str)]
    if len(numbers) == len(values):
        return {"type": "number", "min": min(numbers), "max": max(numbers)}
    if numbers:
        return None
    counts = Counter(str(value) for value in values)
    if len(counts) > _MOST_VALUES or max(map(len, counts)) > _LONGEST_VALUE or len(counts) > len(values) / 2:
        return None
    return {"type": "text", "values": [value for value, _ in counts.most_common()]}


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
