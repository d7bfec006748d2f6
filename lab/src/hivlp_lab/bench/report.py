"""The numbers of a benchmark as a table for people, and as the files of a result; it measures nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hivlp.messages import counted
from hivlp_lab.bench import files, plot
from hivlp_lab.bench.search import result_name


def table(document: Mapping[str, Any]) -> RenderableType:
    """The fastest plan of each engine at the target recall, fastest first; then what else is to be said."""
    grid = Table(
        title=_title(document),
        title_justify="left",
        title_style="bold",
        header_style="dim",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    grid.add_column("engine", no_wrap=True)
    grid.add_column("plan", overflow="fold")
    headings = (
        "recall\n@10",
        "lower\nbound",
        "p50\nms",
        "with\nitems",
        "and\ntext",
        "p99\nms",
        "times\nflat",
        "q/s\n2 threads",
        "q/s\nbatch",
        "B/item\nhot",
    )
    for heading in (*headings, "B/item\ncold", "build\ns"):
        grid.add_column(heading, justify="right")
    for name, row in sorted(document["best"].items(), key=lambda pair: pair[1]["p50_ms"]):
        grid.add_row(name, row["plan"], *_cells(row), style="bold" if name == "ours" else None)
    return Group(grid, *_notes(document))


def check_lines(check: Mapping[str, Any]) -> list[str]:
    """The generator's check against real items, a line a set of items."""
    lines = [f"Generated items against {check['items']:,} real ones:"]
    for name in (name for name in check if name == "real" or name.startswith("from_")):
        one = check[name]
        dims = "/".join(str(count) for count in one["dims_for_variance"].values())
        plans = ", ".join(f"{plan}: {share:.3f}" for plan, share in one["recall@10"].items())
        items, queries = one["item_cosine"], one["query_cosine"]
        lines.append(
            f"  {name.replace('_', ' '):<9} dims {dims}; 1st and 10th neighbour {items['1st']:.3f} "
            f"{items['10th']:.3f}, of queries {queries['1st']:.3f} {queries['10th']:.3f}; intrinsic "
            f"dimension "
            f"{one['item_dimension']:.1f}, of queries {one['query_dimension']:.1f}; recall {plans}"
        )
    easier = ", ".join(check["easier"])
    lines.append(f"  generated items are easier for: {easier}" if easier else "  for no plan are they easier")
    return lines


def save(document: Mapping[str, Any], folder: Path) -> list[str]:
    """Writes the result file and, where matplotlib is installed, the picture; returns notes for people."""
    # How a build is made is in the code, and takes more room than all that was measured.
    rows = [{name: value for name, value in row.items() if name != "build"} for row in document["rows"]]
    return files.save({**document, "rows": rows}, folder / f"{result_name(document)}.json", plot.draw)


def _title(document: Mapping[str, Any]) -> str:
    data = document["data"]
    threads = document["threads"]
    return (
        f"{data['items']:,} items of {data['width']} numbers, {data['real_items']:,} of them real; "
        f"recall@10 of {document['target']:g} or more; {counted(threads, 'thread')}; "
        f"model {document['model']}"
    )


def _cells(row: Mapping[str, Any]) -> list[str]:
    return [
        f"{row['recall@10']:.4f}",
        f"{row['recall_low']:.4f}",
        f"{row['p50_ms']:.3f}",
        _number(row["p50_items_ms"], ".3f"),
        _number(row["p50_text_ms"], ".3f"),
        f"{row['p99_ms']:.3f}",
        _number(row["times_flat"], ".1f"),
        f"{row['qps_2_threads']:,.0f}",
        f"{row['batch_qps']:,.0f}",
        _number(row["hot_bytes_per_item"], ",.0f"),
        _number(row["cold_bytes_per_item"], ",.0f"),
        f"{row['build_s']:,.1f}",
    ]


def _flat_note(flat: Mapping[str, Any] | None) -> list[str]:
    if flat is None or not flat["slow"]:
        return []
    return [
        f"flat reads {flat['gb_s']:.1f} GB/s, {flat['gb_s'] / flat['bandwidth_gb_s']:.0%} of the bandwidth, "
        f"also when measured {flat['measured']} times: something slowed it down, and all multiples of it are "
        "too large"
    ]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _notes(document: Mapping[str, Any]) -> list[Text]:
    notes = [f"One thread reads memory at {document['bandwidth_gb_s']:.1f} GB/s."]
    notes += _flat_note(document["flat"])
    for name, row in document["best"].items():
        if row["scenes"] is not None:
            notes.append(
                f"{name}, captions of drawn scenes: recall@10 {row['scenes']['recall@10']:.4f}, "
                f"p50 {row['scenes']['p50_ms']:.3f} ms"
            )
    below = {row["engine"] for row in document["rows"]} - set(document["best"])
    for name in sorted(below):
        most = max(row["recall@10"] for row in document["rows"] if row["engine"] == name)
        notes.append(f"{name}: no setting reached the target; the most was {most:.4f}")
    for one in document["left_out"]:
        plan = f" {one['plan']}" if "plan" in one else ""
        notes.append(f"left out: {one['engine']}{plan}: {one['reason']}")
    if "check" in document["data"]:
        notes += check_lines(document["data"]["check"])
    return [Text(note, style="dim") for note in notes]
