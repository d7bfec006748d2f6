"""``hivlp delete``: removes items from an index by id."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hivlp.cli import output


def delete(
    index: Annotated[Path, typer.Argument(help="An index folder.")],
    ids: Annotated[list[str], typer.Argument(help="Ids of the items, as `hivlp search --json` shows them.")],
    json: output.JsonOption = False,
    debug: output.DebugOption = False,
) -> None:
    """Remove items from an index."""
    from hivlp.stores.local import LocalStore

    with LocalStore.open(index, writable=True) as store:
        known = store.known_ids(ids)
        deleted = store.delete(ids)
        document = {
            "index": str(index),
            "deleted": deleted,
            "unknown": [id_ for id_ in ids if id_ not in known],
            "items": store.count(),
        }
    for id_ in document["unknown"]:
        output.say(f"no item has the id {id_!r}")
    output.answer(
        document,
        json=json,
        human=lambda console: console.print(
            f"{deleted} deleted; {index} holds {document['items']:,} items now"
        ),
    )
