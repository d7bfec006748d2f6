"""One index of a service, with the facts that the page and the statistics show of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from hivlp.retriever import Index
from hivlp.types import Item

_SAMPLE = 2_000
_MOST_VALUES = 50
_LONGEST_VALUE = 80


@dataclass
class Served:
    """An index under its name.

    Attributes:
        facts: what ``GET /v1/stats`` says of it, as of the last ``look``.
    """

    name: str
    index: Index
    writable: bool
    facts: dict[str, Any] = field(default_factory=dict[str, Any])

    def look(self) -> None:
        """Reads the facts anew; at a million items that takes a moment, so not once a request."""
        store = self.index.store
        known = store.info()
        self.facts = {
            "name": self.name,
            "items": known["items"],
            "kinds": known["kinds"],
            "model": self.index.encoder.name,
            "levels": list(store.widths),
            "writable": self.writable,
            "tuned": known["tuned"],
            "probabilities": self.index.match is not None,
            "fields": fields(store.sample(_SAMPLE)),
        }

    def refresh(self) -> bool:
        """Takes up what other processes have written. True where there was something."""
        changed = self.index.refresh()
        if changed:
            self.look()
        return changed


def fields(items: Iterable[Item]) -> dict[str, dict[str, Any]]:
    """What a person may filter by: the metadata keys of some items, with their values or range.

    What never varies is left out, and so are texts that are hardly ever the same (titles, names): a choice
    between hundreds is none.
    """
    seen: dict[str, list[str | int | float]] = {}
    for item in items:
        facts = {**item.meta, "width": item.width, "height": item.height}
        for key, value in facts.items():
            if isinstance(value, (str, int, float)) and not isinstance(value, bool):
                seen.setdefault(key, []).append(value)
    described = {key: _described(values) for key, values in seen.items()}
    return {key: field for key, field in described.items() if field is not None}


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
