"""Turns the numbers of an evaluation into a table for people; it computes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hivlp.messages import counted

_DIRECTIONS = (("text_to_image", "T→I"), ("image_to_text", "I→T"))
_RECALLS = ("R@1", "R@5", "R@10")


def table(result: Mapping[str, Any]) -> RenderableType:
    """What `protocols.Evaluation.as_dict` gives, as a rich table: a row a level and one for the cascade."""
    grid = Table(
        title=str(result["protocol"]),
        title_justify="left",
        title_style="bold",
        header_style="dim",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    grid.add_column("", no_wrap=True)
    for _, heading in _DIRECTIONS:
        for recall in _RECALLS:
            grid.add_column(f"{heading}\n{recall}", justify="right")
        grid.add_column(f"{heading}\nmed. rank", justify="right")
    grid.add_column("\nAR", justify="right", style="bold")
    for width, level in result["levels"].items():
        grid.add_row(f"level {width}", *_cells(level))
    cascade = result.get("cascade")
    if cascade:
        grid.add_section()
        grid.add_row(f"cascade {cascade['candidates']}", *_cells(cascade))
    return Group(grid, *_notes(result), *_classes(result))


def _classes(result: Mapping[str, Any]) -> list[RenderableType]:
    if "classes" not in result:
        return []
    grid = Table(box=box.SIMPLE_HEAD, header_style="dim", padding=(0, 1, 0, 0))
    grid.add_column("class", overflow="fold")
    for heading in ("pictures", "right", "accuracy"):
        grid.add_column(heading, justify="right")
    grid.add_column("most others taken for", overflow="fold")
    for one in result["classes"]:
        accuracy, taken_for = f"{one['accuracy']:.2f}", Text(one["taken_for"] or "")
        grid.add_row(Text(one["class"]), str(one["pictures"]), str(one["right"]), accuracy, taken_for)
    share = (
        f"{result['accuracy']:.2f} % of the pictures are recognised among {len(result['classes'])} classes; "
        f"the mean of the classes is {result['mean_class_accuracy']:.2f} %."
    )
    return [grid, Text(share)]


def _cells(numbers: Mapping[str, Any]) -> list[str]:
    cells: list[str] = []
    for key, _ in _DIRECTIONS:
        direction = numbers[key]
        cells += [f"{direction[recall]:.2f}" for recall in _RECALLS]
        cells.append(f"{direction['median_rank']:g}")
    return [*cells, f"{numbers['AR']:.2f}"]


def _notes(result: Mapping[str, Any]) -> list[Text]:
    notes = [Text("T→I: captions find their picture; I→T: pictures find a caption of theirs", style="dim")]
    cascade = result.get("cascade")
    if cascade:
        kept = cascade["kept"]
        share = "-" if kept is None else f"{kept:.2%}"
        notes.append(Text(f"The cascade keeps {share} of the AR of the finest level."))
        candidates = cascade["candidates"]
        if candidates == "all" or candidates >= result["images"]:
            notes.append(Text("Every picture is a candidate here, so that says little.", style="dim"))
    failed: Sequence[Mapping[str, str]] = result.get("failed", [])
    if failed:
        without = f"Without {counted(len(failed), 'picture')} that could not be used."
        notes.append(Text(without, style="yellow"))
    return notes
