"""``hivlp train``: a training run, from a preset and overrides to a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hivlp.cli import output
from hivlp.messages import counted


def train(
    out: Annotated[Path, typer.Option("--out", help="Folder of the run; the model is written to RUN/model.")],
    data: Annotated[
        str | None,
        typer.Option("--data", help="A source of pictures with captions; see `hivlp index --help`."),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="The preset to start from. Default: small with --data, tiny without."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="The trained model to start from: mini, a folder, or hf:owner/name. Default: the preset's.",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change one setting of the preset: a.b=value. Repeatable."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the last checkpoint of this run.")
    ] = False,
    json: output.JsonOption = False,
    debug: output.DebugOption = False,
) -> None:
    """Train a model; --set changes any setting of the preset. Needs the extra 'train'."""
    from hivlp.train.distributed import is_leader
    from hivlp.train.presets import check_data, load_preset
    from hivlp.train.run import run

    config = load_preset(
        preset or ("small" if data else "tiny"), overrides=set_ or [], data=data, start=model
    )
    if data is not None:
        check_data(config, data)
    document = run(config, out=out, resume=resume, progress=lambda line, *_: output.say(line))
    if not is_leader():
        return
    line = f"{document['model']}: {counted(document['steps'], 'step')} in {document['seconds']:.0f} s"
    output.answer(document, json=json, human=lambda console: output.print_lines(console, line))
