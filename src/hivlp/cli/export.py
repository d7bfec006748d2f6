"""``hivlp export``: ONNX graphs of a model, checked against its torch outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hivlp.cli import output


def export(
    model: Annotated[str, typer.Argument(help="A model folder.")],
    out: Annotated[
        Path | None, typer.Option(help="Where the graphs go. [default: into the model folder]")
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Also write graphs with 8-bit weights, with their loss.")
    ] = False,
    json: output.JsonOption = False,
    debug: output.DebugOption = False,
) -> None:
    """Write the ONNX graphs that index and search run without torch. Needs the extra hivlp[train]."""
    from hivlp.encode.base import model_folder
    from hivlp.encode.export import export as write

    document = write(model_folder(model), out, int8=int8)
    output.answer(
        document,
        json=json,
        human=lambda console: console.print(
            *(f"wrote {file}" for file in document["files"]),
            f"largest difference from torch: {document['max_abs_diff']:.2e}",
            sep="\n",
            highlight=False,
            soft_wrap=True,
        ),
    )
