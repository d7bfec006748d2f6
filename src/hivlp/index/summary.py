"""What the metadata of some items holds, so that people and programs know what they can filter by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from hivlp.types import Item

SAMPLE = 2_000
"""Items that are enough to know the fields of an index by."""
_MOST_VALUES = 50
_LONGEST_VALUE = 80
_MOMENT, _MOST_FOLDERS = "taken_at", 100


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
