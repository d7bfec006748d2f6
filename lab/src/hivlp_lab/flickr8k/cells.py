"""Cells and tables of the comparison in Markdown: recalls of one result, and their means over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from hivlp_lab.flickr8k.claims import mean_of, spread_of

WAYS = ("text_to_image", "image_to_text")
AT = ("R@1", "R@5", "R@10")
Results: TypeAlias = "Mapping[str, Mapping[str, Any]]"
"""By seed."""


def plain(values: Mapping[str, Any]) -> list[str]:
    """Both directions and AR of one result."""
    recalls = [" / ".join(f"{values[way][key]:.1f}" for key in AT) for way in WAYS]
    return [*recalls, f"{values['AR']:.1f}"]


def over_seeds(by_seed: Results) -> list[str]:
    """The same of several, by their means; AR with its deviation."""
    recalls = [" / ".join(f"{mean_of(by_seed, way, key):.1f}" for key in AT) for way in WAYS]
    spread = spread_of(by_seed, "AR")
    return [*recalls, f"{mean_of(by_seed, 'AR'):.1f}" + (f" ± {spread:.1f}" if len(by_seed) > 1 else "")]


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; nothing where there are no rows."""
    lines = [line(headings), line(["---"] * len(headings)), *map(line, rows)]
    return "\n".join(lines) if len(lines) > 2 else ""


def line(cells: Sequence[str]) -> str:
    """A row of a table."""
    return "| " + " | ".join(cells) + " |"


def average(by_seed: Results) -> str:
    """AR over seeds, with its deviation; nothing where there are no results."""
    if not by_seed:
        return ""
    spread = spread_of(by_seed, "AR")
    return f"{mean_of(by_seed, 'AR'):.2f}" + (f" ± {spread:.2f}" if len(by_seed) > 1 else "")
