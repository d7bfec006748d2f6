"""``hivlp import``: makes an index from a folder of embeddings in clip-retrieval's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hivlp.cli import output
from hivlp.messages import counted


def import_index(
    folder: Annotated[
        Path,
        typer.Argument(help="A folder that `hivlp export` or clip-retrieval wrote, with img_emb/ in it."),
    ],
    out: Annotated[Path, typer.Option("--out", help="The index folder to make, such as photos.hivlp.")],
    model: Annotated[
        str | None,
        typer.Option(help="The model that made the vectors. Default: the model that the folder names."),
    ] = None,
    json: output.JsonOption = False,
    debug: output.DebugOption = False,
) -> None:
    """Make an index from exported embeddings. Needs the extra 'parquet' of hivlp."""
    from hivlp.retriever import import_index as read

    with output.progress("importing") as advance:
        document = read(folder, out, model, progress=advance)
    for note in document["notes"]:
        output.say(note)
    levels = ", ".join(map(str, document["widths"]))
    line = f"{out} holds {counted(document['items'], 'item')} at the levels {levels}"
    output.answer(document, json=json, human=lambda console: output.print_lines(console, line))
