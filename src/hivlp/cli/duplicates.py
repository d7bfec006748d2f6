"""``hivlp duplicates``: images of an index that are one file or nearly one picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hivlp.cli import output, results

if TYPE_CHECKING:
    from rich.console import Console

    from hivlp.sheets.contact_sheet import SheetRow
    from hivlp.stores.duplicates import DuplicateGroup
    from hivlp.types import Item

_SHOWN = 20  # groups; --json has all


def duplicates(
    index: Annotated[Path, typer.Argument(help="An index folder that `hivlp index` made.")],
    at_least: Annotated[
        float | None,
        typer.Option(
            metavar="COSINE",
            help="How alike two images must be, above 0 and up to 1. Default: 0.92 for mini, else 0.97.",
        ),
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also draw the groups as one image.")
    ] = None,
    json: output.JsonOption = False,
    debug: output.DebugOption = False,
) -> None:
    """Find images that are the same file, frames of a burst, or near-equal copies. It deletes nothing."""
    from hivlp.stores.duplicates import duplicates as find
    from hivlp.stores.local import LocalStore

    with LocalStore.open(index) as store, output.progress("comparing", unit="images") as progress:
        groups = find(store, at_least=at_least, progress=progress)
    spare = sum(len(group.others) for group in groups)
    document = {"groups": [group.as_dict() for group in groups], "spare": spare}
    if sheet is not None and groups:
        from hivlp.sheets.contact_sheet import contact_sheet, save

        rows = [_row(group) for group in groups[:_SHOWN]]
        save(contact_sheet(rows, title="Duplicates", subtitle=str(index)), sheet)
        document["contact_sheet"] = str(sheet)
        output.say(f"drew the groups as {sheet}")
    output.answer(document, json=json, human=lambda console: _show(console, groups, spare))


def _show(console: Console, groups: list[DuplicateGroup], spare: int) -> None:
    if not groups:
        output.print_lines(console, "no image has a duplicate")
        return
    many = "1 group" if len(groups) == 1 else f"{len(groups):,} groups"
    output.print_lines(console, f"{many} of like images: {len(groups):,} to keep, {spare:,} that could go")
    for group in groups[:_SHOWN]:
        output.print_lines(console, "", f"{group.kind}: {len(group.others) + 1} images", style="bold")
        output.print_lines(console, f"  keep   {_described(group.keep)}")
        output.print_lines(
            console, *(f"  {near.cosine:.3f}  {_described(near.item)}" for near in group.others)
        )
    if len(groups) > _SHOWN:
        output.print_lines(console, "", f"and {len(groups) - _SHOWN:,} more groups: --json lists all")


def _described(item: Item) -> str:
    size = f"  {item.width} × {item.height}" if item.width and item.height else ""
    return f"{output.printable(results.name_of(item))}{size}"


def _row(group: DuplicateGroup) -> SheetRow:
    from hivlp.sheets.contact_sheet import SheetRow
    from hivlp.types import Hit, Hits, Timings

    pairs = [(group.keep, 1.0), *((near.item, near.cosine) for near in group.others)]
    hits = tuple(
        Hit(rank=rank, id=item.id, uri=item.uri, score=cosine, coarse_score=cosine, coarse_rank=rank)
        for rank, (item, cosine) in enumerate(pairs, start=1)
    )
    name = results.name_of(group.keep)
    return SheetRow(
        query=f"{group.kind}: {name}",
        hits=Hits(hits=hits, timings_ms=Timings(), plan={}),
        expected=(group.keep.id,),
    )
