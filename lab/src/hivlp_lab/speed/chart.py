"""The picture of speed: time of a query against the size of the pool, both logarithmic, a line a system."""

# matplotlib is an extra.
# pyright: reportMissingImports=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hivlp.plotting import figure_class

# Okabe and Ito's palette, which colour-blind people can tell apart; marks and dashes differ too.
_LINES: tuple[tuple[str, str, str, str, str], ...] = (
    ("meter-384", "METER 384²", "#8C6D1F", "v", "--"),
    ("uniter-large", "UNITER-large", "#CC79A7", "D", "--"),
    ("uniter-base", "UNITER-base", "#D55E00", "s", "--"),
    ("hivlp-compact+uniter-50", "HiVLP, UNITER re-ranks 50", "#56B4E9", "P", "-"),
    ("hivlp-compact+uniter-10", "HiVLP, UNITER re-ranks 10", "#0072B2", "X", "-"),
    ("lightningdot", "LightningDOT", "#E69F00", "o", "-"),
    ("hivlp", "HiVLP, same tower", "#009E73", "^", "-"),
    ("hivlp-compact", "HiVLP, text tower of mini", "#000000", "*", "-"),
)
_UNITS = (
    (1, "1 ms"),
    (10, "10 ms"),
    (100, "0.1 s"),
    (1e3, "1 s"),
    (6e4, "1 min"),
    (3.6e6, "1 h"),
    (8.64e7, "1 day"),
)
_APART = 0.055  # of the height of the picture, between two names


def draw(document: Mapping[str, Any], path: Path) -> None:
    """Writes the picture, a panel a direction and device; the kind is that of the suffix.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    new_figure = figure_class("lab", "the picture")
    rows = document["rows"]
    panels = list(dict.fromkeys((row["device"], row["direction"]) for row in rows))
    down, across = -(-len(panels) // 2), min(2, len(panels))
    figure = new_figure(figsize=(6.6 * across, 5.2 * down), layout="constrained", dpi=150)
    grid = figure.subplots(down, across, squeeze=False, sharey=True)
    least = min(row["total_ms"] for row in rows) / 2
    most = max(row["total_ms"] for row in rows if row["system"] in {line[0] for line in _LINES}) * 2
    for axes, (device, direction) in zip(grid.flat, panels, strict=False):
        shown = [row for row in rows if (row["device"], row["direction"]) == (device, direction)]
        _panel(axes, shown, least, most)
        what = "pictures by a text" if direction == "text_to_image" else "texts by a picture"
        machine = document["environment"]
        where = machine["gpu"] if device == "cuda" else f"CPU, {machine['cpus']} cores"
        axes.set_title(f"{what}, {where}", loc="left", fontsize=11)
    figure.supylabel("time of one query", fontsize=10)
    figure.savefig(path)


def _panel(axes: Any, rows: Sequence[Mapping[str, Any]], least: float, most: float) -> None:
    ends: list[tuple[float, str, str]] = []
    for system, label, colour, mark, dash in _LINES:
        line = sorted((row for row in rows if row["system"] == system), key=lambda row: row["candidates"])
        if not line:
            continue
        width, size = (2.4, 9) if system == "hivlp-compact" else (1.5, 5)
        places = [row["candidates"] for row in line], [row["total_ms"] for row in line]
        axes.plot(*places, color=colour, linestyle=dash, linewidth=width, zorder=width)
        for x, y, row in zip(*places, line, strict=True):  # hollow: worked out from the time of a pair
            filled = "white" if row["estimated"] else colour
            axes.plot(x, y, mark, color=colour, markerfacecolor=filled, markersize=size, zorder=4)
        ends.append((places[1][-1], label, colour))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(least, most)
    last = max(row["candidates"] for row in rows)
    axes.set_xlim(min(row["candidates"] for row in rows) / 1.4, last * 1.4)
    _name(axes, ends)
    _ticks(axes, sorted({row["candidates"] for row in rows}), least, most)


def _name(axes: Any, ends: Sequence[tuple[float, str, str]]) -> None:
    """The lines' names behind their ends, moved apart where they would meet."""
    import math

    bottom, top = (math.log(limit) for limit in axes.get_ylim())
    places: list[float] = []
    for end, label, colour in sorted(ends):
        place = (math.log(end) - bottom) / (top - bottom)
        place = max(place, places[-1] + _APART) if places else place
        places.append(place)
        axes.text(1.02, place, label, transform=axes.transAxes, color=colour, va="center", fontsize=8.5)


def _ticks(axes: Any, sizes: Sequence[int], least: float, most: float) -> None:
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    units = [(value, words) for value, words in _UNITS if least <= value <= most]
    axes.yaxis.set_major_locator(FixedLocator([value for value, _ in units]))
    axes.yaxis.set_major_formatter(FixedFormatter([words for _, words in units]))
    axes.xaxis.set_major_locator(FixedLocator(list(sizes)))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{size:,}" for size in sizes]))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
    axes.tick_params(axis="x", rotation=30, labelsize=8.5)
    axes.set_xlabel("candidates")
    axes.grid(True, which="major", color="#E5E5E5", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
