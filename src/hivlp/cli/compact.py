"""``hivlp compact``: frees the disk space of deleted items."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hivlp.cli import output
from hivlp.messages import counted, sized


def compact(
    index: Annotated[Path, typer.Argument(help="An index folder.")],
    json: output.JsonOption = False,
    debug: output.DebugOption = False,
) -> None:
    """Free the disk space of deleted items; searches go on meanwhile."""
    from hivlp.stores.local import LocalStore

    # By the store instead of `Index.compact`: compacting needs no model.
    with (
        LocalStore.open(index, writable=True) as store,
        output.progress("compacting", unit="rows") as advance,
    ):
        report = store.compact(progress=advance)
        document = {
            "index": str(index),
            "dropped": report.dropped,
            "bytes_freed": report.bytes_freed,
            "items": store.count(),
        }
    line = (
        f"{counted(report.dropped, 'deleted row')} dropped, {sized(report.bytes_freed)} freed; "
        f"{index} holds {counted(document['items'], 'item')}"
    )
    output.answer(document, json=json, human=lambda console: output.print_lines(console, line))
