"""``hivlp verify``: checks every promise of the index format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hivlp.cli import output


def verify(
    index: Annotated[Path, typer.Argument(help="An index folder.")],
    json: output.JsonOption = False,
    debug: output.DebugOption = False,
) -> None:
    """Check an index; exit code 2 where something is wrong with it."""
    from hivlp.stores.local import LocalStore

    with LocalStore.open(index) as store, output.progress("verifying") as advance:
        problems = store.verify(progress=advance)
        items = store.count()
    document = {"index": str(index), "items": items, "ok": not problems, "problems": problems}
    output.answer(
        document,
        json=json,
        human=lambda console: console.print(
            *(problems or [f"{index}: {items:,} items, nothing wrong"]),
            sep="\n",
            markup=False,
            soft_wrap=True,
        ),
    )
    if problems:
        raise typer.Exit(output.USER_ERROR)
