"""The ablations as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hivlp_lab.flickr8k.cells import Results, average, table
from hivlp_lab.flickr8k.claims import mean_of


def variants(ablations: Mapping[str, Any]) -> str:
    """AR of every variant by level."""
    rows = []
    widths: list[str] = []
    for name, by_seed in ablations["variants"].items():
        levels = {seed: result["levels"] for seed, result in by_seed.items()}
        widths = widths or list(next(iter(levels.values())))
        rows.append([_VARIANTS.get(name, name), *(_level(levels, width) for width in widths), ""])
        if "signs" in next(iter(by_seed.values())):
            rows[-1][-1] = average({seed: result["signs"] for seed, result in by_seed.items()})
    rows[0][-1] = average({seed: one["signs"] for seed, one in ablations["signs"].items()})
    for name, title in (
        ("rotated", "one width, turned to its principal directions"),
        ("cut", "one width, cut"),
    ):
        levels = {seed: result["levels"] for seed, result in ablations[name].items()}
        rows.append([title, *(_level(levels, width) for width in widths), ""])
    return (
        "**Ablations** on the compact towers: AR on val by level, and by the signs of the finest vector.\n\n"
        + table(("variant", *(f"{width}" for width in widths), "signs"), rows)
    )


_VARIANTS = {
    "nested": "HRL, nested levels: what the others differ from",
    "separate": "a head of its own for each level",
    "one width": "one width only",
    "consistency": "with KL(fine ‖ level)",
    "binary": "with a binary level",
    "VLM": "with VLM",
    "LRM": "with LRM",
    "VLM and LRM": "with VLM and LRM",
}


def _level(levels: Results, width: str) -> str:
    return average({seed: by_width[width] for seed, by_width in levels.items() if width in by_width})


def candidates(ablations: Mapping[str, Any]) -> str:
    """What the cascade keeps, by coarse level and candidates."""
    by_seed = ablations["candidates"]
    first = next(iter(by_seed.values()))
    counts = list(next(iter(first.values())))
    rows = [
        [f"{width} wide", *(f"{100 * mean_of(by_seed, width, count):.2f}" for count in counts)]
        for width in first
    ]
    return (
        "**Candidates kept** by the coarse level: AR of the cascade in percent of the finest level's.\n\n"
        + table(("coarse level", *counts), rows)
    )
