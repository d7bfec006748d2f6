"""The chart of a run, from its log: losses, recall of every level, learning rate."""

# matplotlib is an extra.
# pyright: reportMissingImports=false

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hivlp.files import replacing
from hivlp.plotting import COLOURS, figure_class

PICTURE = "curves.png"
Lines = Sequence[Mapping[str, Any]]

# not losses, among the numbers of a line of the log
_OTHER = frozenset(
    {"step", "learning_rate", "loss", "pictures_per_s", "data_wait", "memory_mb", "evaluation"}
)
_COLOURS = COLOURS[:-1]  # grey is for what is no line; dashes differ too
_DASHES = ("-", "--", "-.", ":")
_INK, _QUIET, _GRID = "#222222", "#666666", "#E8E8E8"


def draw(log: Path, path: Path, *, best: int = 0) -> Path | None:
    """Draws the curves of a run and gives `path`; None where the log has no step yet.

    Args:
        log: the run's `metrics.jsonl`.
        path: the file; its suffix decides the format.
        best: the step whose weights were kept, to be marked; 0 marks none.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    new_figure = figure_class("watch", "the picture of the curves")
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    steps = [line for line in lines if "loss" in line]
    if not steps:
        return None
    evaluations = [line for line in lines if "evaluation" in line]
    drawn = {
        "loss": lambda axes: _losses(axes, steps),
        "terms of the loss": lambda axes: _terms(axes, steps),
        **{
            f"AR by width, %: {name}": lambda axes, name=name: _recalls(axes, evaluations, name)
            for name in _sources(evaluations)
        },
        "learning rate": lambda axes: _rate(axes, steps),
    }
    columns = 3 if len(drawn) == 3 else 2
    rows = -(-len(drawn) // columns)
    figure = new_figure(figsize=(5.2 * columns, 0.4 + 3.1 * rows), layout="constrained", dpi=130)
    grid: Any = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(drawn) :]:
        axes.set_axis_off()
    for axes, (title, fill) in zip(grid.flat, drawn.items(), strict=False):
        fill(axes)
        _dress(axes, title, last=steps[-1]["step"], best=best)
    with replacing(path) as draft:
        figure.savefig(draft, format=path.suffix[1:])
    return path


def _sources(evaluations: Lines) -> list[str]:
    """The names of what was evaluated on, in order."""
    return list(
        dict.fromkeys(
            name for line in evaluations for name, value in line["evaluation"].items() if name != "AR"
        )
    )


def _losses(axes: Any, steps: Lines) -> None:
    """The sum as it was, faint, and its running mean."""
    place, loss = [line["step"] for line in steps], [line["loss"] for line in steps]
    axes.plot(place, loss, color=_COLOURS[0], alpha=0.25, linewidth=1)
    axes.plot(place, _smooth(loss), color=_COLOURS[0], linewidth=2)


def _terms(axes: Any, steps: Lines) -> None:
    """A colour an objective, with a line for each of its levels: thicker, the wider the level."""
    names = list(dict.fromkeys(name for line in steps for name in line if name not in _OTHER))
    families: dict[str, list[str]] = {}
    for name in names:
        family, _, width = name.rpartition("_")
        families.setdefault(family if width.isdigit() else name, []).append(name)
    for number, (family, members) in enumerate(families.items()):
        for place, name in enumerate(members):
            shown = [line for line in steps if name in line]
            _line(
                axes,
                [line["step"] for line in shown],
                _smooth([line[name] for line in shown]),
                label=_span(family, members) if place == 0 else None,
                number=number,
                width=0.9 + 1.1 * (place + 1) / len(members),
            )


def _span(family: str, members: Sequence[str]) -> str:
    """How the legend names the terms of an objective."""
    if len(members) == 1:
        return members[0]
    widths = [name.rpartition("_")[2] for name in members]
    return f"{family}, widths {widths[0]} to {widths[-1]}"


def _recalls(axes: Any, evaluations: Lines, name: str) -> None:
    """A line a width. Widths whose lines are next to one another are told apart by dashes."""
    shown = [line for line in evaluations if name in line["evaluation"]]
    widths = [width for line in shown[:1] for width in line["evaluation"][name]["levels"]]
    for number, width in enumerate(widths):
        values = [line["evaluation"][name]["levels"][width] for line in shown]
        _line(axes, [line["step"] for line in shown], values, label=width, number=number, marker="o")
    axes.set_ylim(bottom=0)


def _rate(axes: Any, steps: Lines) -> None:
    axes.plot(
        [line["step"] for line in steps],
        [line["learning_rate"] for line in steps],
        color=_COLOURS[2],
        linewidth=2,
    )
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _line(
    axes: Any,
    place: list[int],
    values: list[float],
    *,
    label: str | None,
    number: int,
    width: float = 1.6,
    marker: str = "",
) -> None:
    colour, dash = _COLOURS[number % len(_COLOURS)], _DASHES[number // len(_COLOURS) % len(_DASHES)]
    axes.plot(
        place,
        values,
        label=label,
        color=colour,
        linestyle=dash,
        linewidth=width,
        marker=marker,
        markersize=3.5,
    )


def _dress(axes: Any, title: str, *, last: int, best: int) -> None:
    """What all panels share."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_title(title, loc="left", fontsize=11, color=_INK, fontweight="bold")
    axes.set_xlim(0, last * 1.01)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("step", fontsize=9, color=_QUIET)
    axes.tick_params(colors=_QUIET, labelsize=9, length=0)
    axes.grid(True, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("#BBBBBB")
    if best:
        axes.axvline(best, color=_QUIET, linewidth=1, linestyle=":", zorder=1)
        axes.annotate(
            "kept", (best, 1), xycoords=("data", "axes fraction"), xytext=(-4, -22), ha="right", rotation=90,
            textcoords="offset points", fontsize=8, color=_QUIET,
        )  # fmt: skip
    handles = axes.get_legend_handles_labels()[0]
    if handles:
        axes.legend(
            frameon=False, fontsize=8, ncols=1 + (len(handles) > 5), labelcolor=_INK, handlelength=1.6
        )


def _smooth(values: Sequence[float], share: float = 0.05) -> list[float]:
    """A running mean over a share of the curve, centred; shorter windows at its ends."""
    half = int(len(values) * share / 2)
    return [
        sum(window) / len(window)
        for window in (values[max(0, at - half) : at + half + 1] for at in range(len(values)))
    ]
