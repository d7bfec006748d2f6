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
        typer.Argument(
            help="A folder that `hivlp export` or clip-retrieval wrote, with img_emb/ in it, or a file .npy "
            "of vectors."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="The index folder to make, such as photos.hivlp.")],
    model: Annotated[
        str | None,
        typer.Option(help="The model that made the vectors. Default: the model that the folder names."),
    ] = None,
    ids: Annotated[
        Path | None,
        typer.Option(
            help="A list of ids in the order of the vectors: .txt, .json, or a table that describes the "
            "items. Default: the metadata of the folder."
        ),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Refuse the folder where a vector is zero or not finite, or an id repeats."
        ),
    ] = False,
    json: output.JsonOption = False,
    debug: output.DebugOption = False,
) -> None:
    """Make an index from exported embeddings. Needs the extra 'parquet' of hivlp."""
    from hivlp.retriever import import_index as read

    with output.progress("importing") as advance:
        document = read(folder, out, model, ids=ids, strict=strict, progress=advance)
    for note in document["notes"]:
        output.say(note)
    output.show_failures(document["failed"])
    levels = ", ".join(map(str, document["widths"]))
    line = f"{out} holds {counted(document['items'], 'item')} at the levels {levels}"
    output.answer(document, json=json, human=lambda console: output.print_lines(console, line))
