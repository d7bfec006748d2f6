"""The Pareto picture of a benchmark: recall against time, a line an engine."""

# matplotlib is an extra.
# pyright: reportMissingImports=false

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hivlp.messages import counted
from hivlp.plotting import COLOURS, figure_class

_OURS = "#000000"
_PERFECT = 3.5
_MARKS = ("o", "s", "^", "D", "v", "P", "X", "<", "h")


def draw(document: Mapping[str, Any], path: Path) -> None:
    """Writes the picture; the kind is that of the suffix, such as ``.png`` or ``.svg``.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    new_figure = figure_class("lab", "the picture")
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

    figure = new_figure(figsize=(9, 5.6), layout="constrained", dpi=150)
    axes: Any = figure.subplots()
    rows = document["rows"]
    names = list(dict.fromkeys(row["engine"] for row in rows))
    shown = [row for row in rows if row["recall@10"] >= 0.8] or rows
    for place, name in enumerate(names):
        line = pareto([row for row in shown if row["engine"] == name])
        ours = name.startswith("ours")
        axes.plot(
            [_nines(row["recall@10"]) for row in line],
            [row["p50_ms"] for row in line],
            label=name,
            color=_OURS if ours else COLOURS[place % len(COLOURS)],
            marker=("*" if name == "ours" else "+") if ours else _MARKS[place % len(_MARKS)],
            markersize=10 if ours else 5,
            linewidth=2.2 if ours else 1.3,
            linestyle="-" if ours or place % 2 == 0 else "--",
            zorder=3 if ours else 2,
        )
    target = document["target"]
    axes.axvline(_nines(target), color="#999999", linewidth=1, linestyle=":", zorder=1)
    axes.annotate(
        f"target {target:g}",
        (_nines(target), 1),
        xycoords=("data", "axes fraction"),
        xytext=(3, -10),
        textcoords="offset points",
        fontsize=8,
        color="#666666",
    )
    ticks = [0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 1.0]
    least = min((_nines(row["recall@10"]) for row in shown), default=0.7)
    ticks = [tick for tick in ticks if _nines(tick) >= least - 0.05]
    axes.xaxis.set_major_locator(FixedLocator([_nines(tick) for tick in ticks]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _share_at(value)))
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("recall@10 against exact search (right is better)")
    axes.set_ylabel("median time of a query, ms (low is better)")
    data = document["data"]
    axes.set_title(
        f"{data['items']:,} × {data['width']} numbers, single queries on "
        f"{counted(document['threads'], 'thread')}",
        loc="left",
        fontsize=11,
    )
    axes.grid(True, which="major", color="#E5E5E5", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    figure.savefig(path)


def pareto(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows that no other one beats in both recall and time, by rising recall.

    Recalls that the picture can't tell apart, being next to perfect, count as equal.
    """
    front: list[Mapping[str, Any]] = []
    for row in sorted(rows, key=lambda row: (-_nines(row["recall@10"]), row["p50_ms"])):
        if not front or row["p50_ms"] < front[-1]["p50_ms"]:
            front.append(row)
    return front[::-1]


def _nines(share: float) -> float:
    """Position of a recall: its distance to 1 on a logarithmic scale, a perfect one at the end of it."""
    return min(-math.log10(max(1 - share, 1e-9)), _PERFECT)


def _share_at(position: float) -> str:
    return "1" if position >= _PERFECT else f"{1 - 10**-position:.4g}"
