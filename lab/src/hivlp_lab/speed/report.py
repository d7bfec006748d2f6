"""The table of speed for people: on a terminal, in Markdown, and as files; it measures nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hivlp_lab.bench import files
from hivlp_lab.speed import chart

HEADINGS = (
    "candidates",
    "system",
    "encode ms",
    "search ms",
    "re-rank ms",
    "whole query",
    "GMAC",
    "× UNITER-base",
    "× LightningDOT",
    "recall@10",
)
TITLES = {"text_to_image": "text → image", "image_to_text": "image → text"}
NAMES = {
    "uniter-base": "UNITER-base",
    "uniter-base-100": "UNITER-base, 100 regions",
    "uniter-large": "UNITER-large",
    "meter-288": "METER, 288²",
    "meter-384": "METER, 384²",
    "meter-384-kept": "METER, 384², towers kept",
    "lightningdot": "LightningDOT, flat",
    "lightningdot-hnsw": "LightningDOT, HNSW",
    "hivlp": "**HiVLP**, equal tower",
    "hivlp-compact": "**HiVLP**, text tower of mini",
}


def cells(row: Mapping[str, Any]) -> list[str]:
    """A row in words, by ``HEADINGS``; a time that was worked out and not run has a ≈."""
    about = "≈ " if row["estimated"] else ""
    fusion = row["encode_ms"] == 0
    recall = row.get("recall")
    return [
        f"{row['candidates']:,}",
        name(row["system"]),
        "" if fusion else number(row["encode_ms"]),
        "" if fusion else number(row["search_ms"]),
        number(row["rerank_ms"]) if row["rerank_ms"] else "",
        about + duration(row["total_ms"]),
        number(row["macs"] / 1e9),
        number(row["factor_over_uniter"]),
        number(row["factor_over_lightningdot"]),
        "" if recall is None else f"{recall:.3f}",
    ]


def name(system: str) -> str:
    """A system as it is called in text."""
    first, _, depth = system.partition("+uniter-")
    return NAMES[first] + (f", UNITER re-ranks {depth}" if depth else "")


def number(value: float) -> str:
    """Three digits, whole thousands grouped."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def duration(milliseconds: float) -> str:
    """In the unit that suits it."""
    for unit, size in (("days", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)):
        if milliseconds >= 2 * size:
            return f"{number(milliseconds / size)} {unit}"
    return f"{number(milliseconds)} ms"


def markdown(document: Mapping[str, Any], result: str) -> str:
    """All tables of a document; ``result`` is the address of its file."""
    parts = [_conditions(document, result), _fusion_table(document)]
    for device, direction in _groups(document["rows"]):
        rows = _of(document["rows"], device, direction)
        lines = [_line(HEADINGS), _line("---" for _ in HEADINGS), *(_line(cells(row)) for row in rows)]
        parts.append(f"**{TITLES[direction]}**, {_device(document, device)}\n\n" + "\n".join(lines))
    parts += [_paper_table(document), _targets_table(document)]
    left_out = [f"- left out: {_left_out(one)}: {one['reason']}" for one in document["left_out"]]
    return "\n\n".join([part for part in parts if part] + (["\n".join(left_out)] if left_out else []))


def _left_out(one: Mapping[str, Any]) -> str:
    system = f"{name(one['system'])}, " if "system" in one else ""
    return f"{system}{TITLES[one['direction']]}, {one['candidates']:,} candidates"


def table(document: Mapping[str, Any]) -> RenderableType:
    """The same for a terminal."""
    parts: list[RenderableType] = []
    for device, direction in _groups(document["rows"]):
        grid = Table(title=f"{TITLES[direction]}, {device}", title_justify="left", box=box.SIMPLE_HEAD)
        for heading in HEADINGS:
            grid.add_column(heading, justify="left" if heading == "system" else "right", no_wrap=True)
        for row in _of(document["rows"], device, direction):
            grid.add_row(*(cell.replace("**", "") for cell in cells(row)))
        parts.append(grid)
    for one in document["targets"]:
        parts.append(Text(f"{_target(one)}: {'reached' if one['met'] else 'missed'}", style="dim"))
    return Group(*parts)


def result_name(document: Mapping[str, Any]) -> str:
    """The name of a result's files, without suffix."""
    where = document["environment"]
    gpu = f"-{where['gpu'].lower().replace(' ', '-')}" if where["gpu"] else ""
    small = "-small" if document["small"] else ""
    return f"speed{small}-{where['machine']}-{where['cpus']}cpu{gpu}-torch{where['packages']['torch']}"


def save(document: Mapping[str, Any], folder: Path) -> list[str]:
    """Writes the result file and, where matplotlib is installed, the picture; returns notes for people."""
    return files.save(document, folder / f"{result_name(document)}.json", chart.draw)


def _conditions(document: Mapping[str, Any], result: str) -> str:
    where, query = document["environment"], document["query"]
    pools = ",".join(str(count) for count in dict.fromkeys(row["pictures"] for row in document["rows"]))
    packages = ", ".join(f"{package} {version}" for package, version in where["packages"].items())
    data = "".join(f" --data {one}" for one in document["sources"])
    return (
        f"Every row: `hivlp reproduce speed{data} --pools {pools}` on {where['processor']}, "
        f"{where['cpus']} CPUs, "
        f"{where['gpu'] or 'no GPU'}, {where['memory_gb']:.0f} GB, {document['measured_at'][:10]}; "
        f"{packages}; {where['threads']} threads for models, one for a search; one query at a time, of "
        f"{query['words']} word pieces or {query['regions']} regions; vectors of `mini` with the fingerprint "
        f"`{document['model']}`; [all numbers]({result})."
    )


def _fusion_table(document: Mapping[str, Any]) -> str:
    lines = [
        "| fusion model, a pair | GMAC | device | ms at the best batch | batch | precision |",
        "|---|---|---|---|---|---|",
    ]
    for device, models in document["fusion"].items():
        for system, cost in models.items():
            lines.append(
                f"| {NAMES[system]}: {cost['about']} | {number(cost['macs'] / 1e9)} | {device} "
                f"| {number(cost['ms'])} | {cost['batch']} | {cost['precision']} |"
            )
    return "\n".join(lines)


def _paper_table(document: Mapping[str, Any]) -> str:
    """The papers' factors over UNITER-base beside ours, text to image."""
    lines = [
        "| candidates | LightningDOT over UNITER: theirs | ours "
        "| HiVLP over UNITER: theirs | ours, equal tower | ours, text tower of mini |",
        "|---|---|---|---|---|---|",
    ]
    for device in dict.fromkeys(row["device"] for row in document["rows"]):
        for theirs in document["paper"]:
            ours = {
                row["system"]: number(row["factor_over_uniter"])
                for row in _of(document["rows"], device, "text_to_image")
                if row["candidates"] == theirs["candidates"]
            }
            if ours:
                published = [number(theirs[one]) if theirs[one] else "–" for one in ("lightningdot", "hivlp")]
                lines.append(
                    f"| {theirs['candidates']:,} ({theirs['pool']}), {device} | {published[0]} "
                    f"| {ours['lightningdot']} | {published[1]} | {ours['hivlp']} | {ours['hivlp-compact']} |"
                )
    return "\n".join(lines) if len(lines) > 2 else ""


def _targets_table(document: Mapping[str, Any]) -> str:
    if not document["targets"]:
        return ""
    lines = ["| target | wanted | reached | | ten times |", "|---|---|---|---|---|"]
    for one in document["targets"]:
        met, goal = ("reached" if one[key] else "**missed**" for key in ("met", "goal_met"))
        what = (
            f"{name(one['system'])}: {_WHAT[one['what']]}, {one['candidates']:,} candidates, {one['device']}"
        )
        lines.append(f"| {what} | {number(one['wanted'])} | {number(one['reached'])} | {met} | {goal} |")
    return "\n".join(lines)


_WHAT = {
    "factor_over_uniter": "over UNITER-base, end to end",
    "factor_over_lightningdot": "over LightningDOT, end to end",
    "search_factor_over_lightningdot": "over LightningDOT, search alone",
}


def _target(one: Mapping[str, Any]) -> str:
    system = name(one["system"]).replace("**", "")
    where = f"{one['candidates']:,} candidates, {one['device']}"
    reached = f"{number(one['reached'])}× of {number(one['wanted'])}× wanted"
    return f"{system}: {_WHAT[one['what']]}, {where}: {reached}"


def _device(document: Mapping[str, Any], device: str) -> str:
    return (
        f"CPU ({document['environment']['processor']})" if device == "cpu" else document["environment"]["gpu"]
    )


def _groups(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((row["device"], row["direction"]) for row in rows))


def _of(rows: Sequence[Mapping[str, Any]], device: str, direction: str) -> list[Mapping[str, Any]]:
    return [row for row in rows if (row["device"], row["direction"]) == (device, direction)]


def _line(parts: Any) -> str:
    return "| " + " | ".join(parts) + " |"
