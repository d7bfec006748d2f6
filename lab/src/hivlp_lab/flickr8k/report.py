"""The comparison for people, on a terminal and as files; Markdown is in `pages`. It measures nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hivlp_lab.bench import files
from hivlp_lab.flickr8k import chart, pages

_LONGEST_WORD = len("LightningDOT-like:")


def table(document: Mapping[str, Any]) -> RenderableType:
    """The table of systems and the targets."""
    grid = Table(title="Flickr8k val, %", title_justify="left", box=box.SIMPLE_HEAD)
    for heading in pages.HEADINGS:
        if heading == "system":  # folded between words where the terminal is narrow
            grid.add_column(heading, min_width=_LONGEST_WORD)
        else:
            grid.add_column(heading, justify="right")
    for row in pages.system_rows(document):
        grid.add_row(*(cell.replace("**", "") for cell in row))
    lines = [Text(pages.target(one), style="dim") for one in document["targets"]]
    return Group(grid, *lines)


def result_name(document: Mapping[str, Any]) -> str:
    """The name of a result's files, without suffix."""
    where = document["environment"]
    little = "-small" if document["small"] else ""
    return f"flickr8k{little}-{where['machine']}-{where['cpus']}cpu-torch{where['packages']['torch']}"


def save(document: Mapping[str, Any], folder: Path) -> list[str]:
    """Writes the result file and, where matplotlib is installed, the image; returns notes for people."""
    return files.save(document, folder / f"{result_name(document)}.json", chart.draw)
