"""``hivlp verify``: checks every promise of the index format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hivlp.cli import output
from hivlp.messages import counted


def verify(
    index: Annotated[Path, typer.Argument(help="An index folder.")],
    json: output.JsonOption = False,
    debug: output.DebugOption = False,
) -> None:
    """Check the files of an index; exit code 2 if it is damaged."""
    from hivlp.index.verify import verify as verify_folder

    # By the folder instead of `Index.verify`: a damaged index may not open, and needs no model.
    with output.progress("verifying", unit="rows") as advance:
        found = verify_folder(index, advance)
    document = {
        "index": str(index),
        "items": found.items,
        "ok": not found.problems,
        "problems": found.problems,
        "notes": found.notes,
    }
    for note in found.notes:
        output.say(note)
    lines = found.problems or [f"{index}: {counted(found.items or 0, 'item')}, no problem found"]
    output.answer(document, json=json, human=lambda console: output.print_lines(console, *lines))
    if found.problems:
        raise typer.Exit(output.USER_ERROR)
