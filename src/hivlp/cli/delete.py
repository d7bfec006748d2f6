"""``hivlp delete``: removes items from an index by id or path."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hivlp.cli import output, results
from hivlp.messages import counted


def delete(
    index: Annotated[Path, typer.Argument(help="An index folder.")],
    ids: Annotated[
        list[str],
        typer.Argument(help="Ids of the items, or paths of their files, as `hivlp search` shows them."),
    ],
    json: output.JsonOption = False,
    debug: output.DebugOption = False,
) -> None:
    """Remove items from an index by id or path; exit code 2 if it has none of them.

    An image whose file is still in its folder comes back when the folder is indexed again.
    """
    from hivlp.stores.local import LocalStore

    with LocalStore.open(index, writable=True) as store:
        named = {name: results.id_of(store, name) for name in ids}
        known = store.known_ids(named.values())
        deleted = store.delete(named.values())
        document = {
            "index": str(index),
            "deleted": deleted,
            "unknown": [name for name, id_ in named.items() if id_ not in known],
            "items": store.count(),
        }
    for name in document["unknown"]:
        output.say(f"no item has the id or path {name!r}")
    line = f"{deleted:,} deleted; {index} holds {counted(document['items'], 'item')} now"
    output.answer(document, json=json, human=lambda console: output.print_lines(console, line))
    if not deleted:
        raise typer.Exit(output.USER_ERROR)
