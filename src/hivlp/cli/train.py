"""``hivlp train``: a training run, from a preset and overrides to a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hivlp.cli import output
from hivlp.errors import ConfigError
from hivlp.messages import counted

if TYPE_CHECKING:
    from hivlp.config import TrainConfig


def train(
    out: Annotated[Path, typer.Option("--out", help="Folder of the run; the model is written to RUN/model.")],
    data: Annotated[
        str | None,
        typer.Option("--data", help="A source of pictures with captions; see `hivlp index --help`."),
    ] = None,
    image_root: Annotated[
        Path | None, typer.Option(help="The folder that the paths in the table of --data start from.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="The preset to start from: tiny, small, medium, large, scratch or mini. Default: small with "
            "--data, tiny without."
        ),
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
        bool,
        typer.Option(
            "--resume",
            help="Continue from the last checkpoint of this run, with the settings that it has recorded.",
        ),
    ] = False,
    json: output.JsonOption = False,
    debug: output.DebugOption = False,
) -> None:
    """Train a model; --set changes any setting of the preset. Needs the extra 'train'."""
    given = {"preset": preset, "data": data, "start": model}
    root = None if image_root is None else str(image_root.expanduser().absolute())
    config = _checked(out, given, root, set_ or [], resume=resume)

    from hivlp.train.distributed import is_leader
    from hivlp.train.run import run

    document = run(config, out=out, resume=resume, progress=lambda line, *_: output.say(line))
    if not is_leader():
        return
    line = f"{document['model']}: {counted(document['steps'], 'step')} in {document['seconds']:.0f} s"
    output.answer(document, json=json, human=lambda console: output.print_lines(console, line))


def _checked(
    out: Path, given: dict[str, str | None], root: str | None, overrides: list[str], *, resume: bool
) -> TrainConfig:
    """The configuration of the run; what will not work is said here, before torch is loaded."""
    from hivlp.train.checks import check_sources
    from hivlp.train.presets import check_data, load_preset
    from hivlp.train.recorded import recorded, resumed

    before = recorded(out) if resume else None
    if before is not None:
        return resumed(before, out, overrides=overrides, image_root=root, **given)
    preset, data = given["preset"], given["data"]
    if resume and preset is None and data is None:
        raise ConfigError(f"{out} holds no run to go on with; correct --out, or leave --resume out")
    if root is not None and data is None:
        raise ConfigError(f"--image-root {root} has no effect without --data; give --data, or leave it out")
    config = load_preset(
        preset or ("small" if data else "tiny"),
        overrides=overrides,
        data=data,
        start=given["start"],
        image_root=root,
    )
    if data is not None:
        check_data(config, data)
    check_sources(config)
    return config
