"""The image of the comparison: recall against what a training and a query cost."""

# matplotlib is an extra.
# pyright: reportMissingImports=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hivlp.plotting import COLOURS, figure_class
from hivlp_lab.flickr8k.claims import mean_of, spread_of

_LABELS = {
    "lightningdot": "LightningDOT-like",
    "hivlp": "HiVLP, LightningDOT's towers",
    "hivlp-compact": "HiVLP, compact",
    "hivlp-listening": "HiVLP, taught by the fusion model",
    "hivlp-distilled": "HiVLP, taught by an ensemble",
}


def draw(document: Mapping[str, Any], path: Path) -> None:
    """Writes the image: AR during training, AR by level and, where there are pools, recall by their size.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    new_figure = figure_class("lab", "the picture")
    pools = document["pools"]
    across = 3 if pools else 2
    figure = new_figure(figsize=(5.2 * across, 4.4), layout="constrained", dpi=150)
    panels = figure.subplots(1, across)
    systems = {name: found for name, found in document["systems"].items() if name in _LABELS and found}
    colours = dict(zip(_LABELS, COLOURS, strict=False))
    for name, by_seed in systems.items():
        _curve(panels[0], by_seed, colours[name], _LABELS[name])
        _levels(panels[1], by_seed, colours[name])
    floor = document["floor"]
    for axes in panels[:2]:
        axes.axhline(floor["AR"], color="#7F7F7F", linestyle=":", linewidth=1.2)
        axes.set_ylabel("AR on val, %")
    panels[0].annotate(
        "linear floor", (0.02, floor["AR"]), xycoords=("axes fraction", "data"), va="bottom", fontsize=8
    )
    panels[0].set_xscale("log")
    _ticks(panels[0], [count * 10.0**power for power in range(-6, 3) for count in (1, 2, 5)])
    panels[0].set_xlabel("multiply-adds of the training, 10¹²")
    panels[0].set_title("while training", loc="left", fontsize=11)
    panels[1].set_xscale("log", base=2)
    widths = {int(width) for found in systems.values() for width in _widths(found)}
    _ticks(panels[1], sorted(widths))
    panels[1].set_xlabel("width of the level")
    panels[1].set_title("by level", loc="left", fontsize=11)
    panels[0].legend(fontsize=8, frameon=False)
    if pools:
        _pools(panels[2], pools, colours)
    for axes in panels:
        axes.grid(True, which="major", color="#E5E5E5", linewidth=0.7)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def _curve(axes: Any, by_seed: Mapping[str, Any], colour: str, label: str) -> None:
    for number, result in enumerate(by_seed.values()):
        cost = [point["step"] / result["steps"] * result["macs"] / 1e12 for point in result["curve"]]
        averages = [point["AR"] for point in result["curve"]]
        axes.plot(
            cost, averages, "o-", color=colour, markersize=3, linewidth=1, label=None if number else label
        )


def _ticks(axes: Any, places: Sequence[float]) -> None:
    """Plain numbers at these places, as far as the axis goes."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    least, most = axes.get_xlim()
    shown = [place for place in places if least <= place <= most]
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{place:g}" for place in shown]))
    axes.xaxis.set_minor_locator(NullLocator())


def _widths(by_seed: Mapping[str, Any]) -> list[str]:
    """The levels of a system by their names; LightningDOT has none."""
    return list(next(iter(by_seed.values())).get("levels", ()))


def _levels(axes: Any, by_seed: Mapping[str, Any], colour: str) -> None:
    widths = _widths(by_seed)
    if not widths:
        return
    averages = [mean_of(by_seed, "levels", width, "AR") for width in widths]
    spreads = [spread_of(by_seed, "levels", width, "AR") for width in widths]
    axes.errorbar([int(width) for width in widths], averages, spreads, color=colour, marker="o", capsize=3)


def _pools(axes: Any, pools: Mapping[str, Any], colours: Mapping[str, str]) -> None:
    # the lowest line has its times below it, so that lines that nearly meet don't write over each other
    names = list(dict.fromkeys(row["system"] for row in pools["rows"]))
    last = {name: [row for row in pools["rows"] if row["system"] == name][-1] for name in names}
    lowest = min(names, key=lambda name: last[name]["recalls"]["R@10"])
    for system in names:
        rows = [row for row in pools["rows"] if row["system"] == system]
        sizes = [row["candidates"] for row in rows]
        axes.plot(sizes, [row["recalls"]["R@10"] for row in rows], "o-", color=colours[system])
        for row in rows:
            place = (row["candidates"], row["recalls"]["R@10"])
            text = f"{row['search_ms']:.2g} ms"
            offset = (-14, -12) if system == lowest else (3, 4)
            axes.annotate(
                text, place, xytext=offset, textcoords="offset points", fontsize=7, color=colours[system]
            )
    axes.set_xscale("log")
    axes.set_xlabel("pictures searched")
    axes.set_ylabel("text→image R@10, %")
    axes.set_title("growing pools, with the time of a search", loc="left", fontsize=11)
