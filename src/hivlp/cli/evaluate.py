"""``hivlp eval``: the Karpathy protocol, both directions, every level, and the cascade."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hivlp.cli import output


def evaluate(
    model: Annotated[str, typer.Option("--model", help="mini, or a model folder.")],
    data: Annotated[
        str, typer.Option("--data", help="A source of pictures with captions; see `hivlp index --help`.")
    ],
    split: Annotated[
        str | None, typer.Option(help="The split to evaluate. [default: all of the source]")
    ] = None,
    image_root: Annotated[Path | None, typer.Option(help="Where the pictures of a caption file lie.")] = None,
    candidates: Annotated[
        int, typer.Option(min=1, help="Candidates that the cascade's coarse level hands to the fine one.")
    ] = 200,
    workers: Annotated[int, typer.Option(min=0, help="Threads that decode pictures.")] = 2,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures a batch.")] = 32,
    json: output.JsonOption = False,
    debug: output.DebugOption = False,
) -> None:
    """Measure a model on pictures with captions."""
    from hivlp.data.sources import open_source
    from hivlp.encode import load
    from hivlp.evaluate import protocols, report

    source = open_source(data, image_root=image_root, split=split)
    for note in source.notes:
        output.say(note)
    encoder = load(model)
    with output.progress("evaluating", unit="pictures") as advance:
        result = protocols.evaluate_karpathy(
            encoder,
            source,
            split=split,
            candidates=candidates,
            batch_size=batch_size,
            workers=workers,
            progress=advance,
        )
    document = {"model": encoder.name, "data": data, **result.as_dict()}
    output.show_failures(document["failed"])
    output.answer(document, json=json, human=lambda console: console.print(report.table(document)))
