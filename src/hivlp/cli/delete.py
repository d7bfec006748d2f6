"""``hivlp delete``: removes items from an index by id."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hivlp.cli import output
from hivlp.messages import counted


def delete(
    index: Annotated[Path, typer.Argument(help="An index folder.")],
    ids: Annotated[
        list[str],
        typer.Argument(help="Ids of the items, as the column id of `hivlp search` shows them; not paths."),
    ],
    json: output.JsonOption = False,
    debug: output.DebugOption = False,
) -> None:
    """Remove items from an index by id; exit code 2 if it has none of these ids.

    An image whose file is still in its folder comes back when the folder is indexed again.
    """
    from hivlp.stores.local import LocalStore

    with LocalStore.open(index, writable=True) as store:
        known, uris = store.known_ids(ids), store.known_uris(ids)
        deleted = store.delete(ids)
        document = {
            "index": str(index),
            "deleted": deleted,
            "unknown": [id_ for id_ in ids if id_ not in known],
            "items": store.count(),
        }
    for id_ in document["unknown"]:
        hint = " (an item has this uri; `hivlp search` shows its id beside it)" if id_ in uris else ""
        output.say(f"no item has the id {id_!r}{hint}")
    line = f"{deleted:,} deleted; {index} holds {counted(document['items'], 'item')} now"
    output.answer(document, json=json, human=lambda console: output.print_lines(console, line))
    if not deleted:
        raise typer.Exit(output.USER_ERROR)
