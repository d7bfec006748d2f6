"""Hits and items as lines for people: a table that fits the console, with paths that can be copied."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hivlp.cli import output
from hivlp.errors import FilterError
from hivlp.messages import counted

if TYPE_CHECKING:
    from rich.console import Console

    from hivlp.stores.base import Listing, Store
    from hivlp.types import Hit, Hits, Item

_GAP = "  "
_LEAST_CAPTION = 12


def show_hits(console: Console, hits: Hits) -> None:
    """The hits as a table, with a line of their times."""
    kinds, groups = len({hit.kind for hit in hits}) > 1, any(hit.similar for hit in hits)
    head = ("rank", "score", *(["kind"] if kinds else []), *(["similar"] if groups else []))
    rows = [
        (
            str(hit.rank),
            f"{hit.score:.3f}",
            *([hit.kind] if kinds else []),
            *([f"+{len(hit.similar):,}" if hit.similar else ""] if groups else []),
        )
        for hit in hits
    ]
    _print_table(console, head, rows, list(hits))
    stages = ", ".join(
        f"{name} {ms:.1f}" for name, ms in hits.timings_ms.as_dict().items() if ms and name != "total"
    )
    line = f"{counted(len(hits), 'hit')} in {hits.timings_ms.total:.1f} ms ({stages})"
    hidden = sum(len(hit.similar) for hit in hits)
    more = [f"{counted(hidden, 'near-equal image')} hidden (--no-group shows all)"] if hidden else []
    output.print_lines(console, *_match(hits), *more, line)


def show_items(console: Console, listing: Listing) -> None:
    """Items without a search, as a table, with a line of how many there are."""
    kinds = len({item.kind for item in listing.items}) > 1
    _print_table(
        console,
        ("kind",) if kinds else (),
        [(item.kind,) if kinds else () for item in listing.items],
        listing.items,
    )
    after = listing.next_offset
    more = "" if after is None else f"; more with --offset {after}"
    line = f"{len(listing.items):,} of {counted(listing.total, 'item')}{more}"
    output.print_lines(console, line if listing.total else "no item passes the filter; check its values")


def name_of(item: Hit | Item) -> str:
    """What names an item on the command line: its path from here if it is a file, else its id."""
    if item.kind != "image" or "://" in item.uri or not Path(item.uri).is_absolute():
        return item.id
    try:
        return str(Path(item.uri).relative_to(Path.cwd()))
    except (ValueError, OSError):  # elsewhere, or the working folder is gone
        return item.uri


def id_of(store: Store, name: str) -> str:
    """The id of an item by its id, or by the path of its file as `name_of` shows it; else the name itself."""
    if store.fetch([name]) != [None]:
        return name
    quoted = str(Path(name).absolute()).replace("'", "''")
    try:
        found = store.listed(where=f"uri = '{quoted}'", limit=1)
    except FilterError:  # too long, or with letters that no filter holds
        return name
    return found.items[0].id if found.items else name


def _match(hits: Hits) -> Sequence[str]:
    """What the probability of the best hit says; that of others says nothing of them."""
    if not hits or hits[0].rank != 1 or hits[0].probability is None:
        return ()
    return (f"match {hits[0].probability:.0%}: the estimated chance that the index has a picture of this",)


def _print_table(
    console: Console, head: Sequence[str], rows: Sequence[Sequence[str]], items: Sequence[Hit | Item]
) -> None:
    """One line for each item. The path stands last and is never cut; a caption gets the room that is left."""
    if not items:
        return
    names = [output.printable(name_of(item)) for item in items]
    captions = [output.printable(" ".join((item.caption or "").split())) for item in items]
    label = "path" if any(name_of(item) != item.id for item in items) else "id"
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    room = console.width - sum(width + len(_GAP) for width in widths) - max(map(_width, names)) - len(_GAP)
    longest = max(map(_width, captions))
    shown = longest > 0 and room >= min(longest, _LEAST_CAPTION)
    for number, line in enumerate(lines):
        cells = [cell.rjust(width) for cell, width in zip(line, widths, strict=True)]
        if shown:
            caption = captions[number - 1] if number else "caption"
            cells.append(_fitted(caption, max(min(longest, room), len("caption"))))
        cells.append(names[number - 1] if number else label)
        output.print_lines(console, _GAP.join(cells).rstrip(), style="dim" if number == 0 else None)


def _width(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def _fitted(text: str, width: int) -> str:
    from rich.cells import set_cell_size

    return set_cell_size(text, width) if _width(text) <= width else set_cell_size(text, width - 1) + "…"
