"""The program ``hivlp``: it wires the commands, one file each, and holds no logic of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated

import typer

from hivlp.cli import (
    compact,
    delete,
    demo,
    doctor,
    duplicates,
    evaluate,
    export,
    fit_levels,
    import_index,
    index,
    info,
    mcp,
    output,
    search,
    serve,
    train,
    tune,
    verify,
)

app = typer.Typer(
    name="hivlp",
    help="Coarse-to-fine image-text retrieval: find pictures by words or by a picture.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _add(name: str, command: Callable[..., None], *examples: str) -> None:
    app.command(name, epilog=output.epilog(*examples))(output.with_metavars(command))


def _add_plug_in(group: EntryPoint) -> None:
    """Adds commands of another package, such as the laboratory; one that lacks a module is left out."""
    with suppress(ModuleNotFoundError):
        commands = group.load()
        for command in commands.registered_commands:
            output.with_metavars(command.callback)
        app.add_typer(commands, name=group.name)


_add("demo", demo.demo, "hivlp demo", "hivlp demo --out gallery --serve")
_add(
    "index",
    index.index,
    "hivlp index ~/Pictures --out photos.hivlp",
    "hivlp index captions.tsv --out photos.hivlp --captions",
)
_add(
    "search",
    search.search,
    'hivlp search photos.hivlp "two dogs on a beach" --sheet hits.png',
    "hivlp search photos.hivlp --image dog.jpg --k 20",
)
_add("serve", serve.serve, "hivlp serve photos.hivlp", "hivlp serve photos.hivlp --port 0 --writable")
_add("mcp", mcp.mcp, "hivlp mcp photos.hivlp")
_add(
    "tune",
    tune.tune,
    "hivlp tune photos.hivlp",
    "hivlp tune photos.hivlp --recall 0.95 --queries queries.txt",
)
_add("info", info.info, "hivlp info photos.hivlp", "hivlp info mini --json")
_add(
    "duplicates",
    duplicates.duplicates,
    "hivlp duplicates photos.hivlp --sheet duplicates.png",
    "hivlp duplicates photos.hivlp --at-least 0.98 --json",
)
_add("doctor", doctor.doctor, "hivlp doctor")
_add("delete", delete.delete, "hivlp delete photos.hivlp beach/dog.jpg")
_add("compact", compact.compact, "hivlp compact photos.hivlp")
_add("verify", verify.verify, "hivlp verify photos.hivlp")
_add("eval", evaluate.evaluate, "hivlp eval --model mini --data captions.tsv --split test")
_add(
    "train",
    train.train,
    "hivlp train --data captions.tsv --out run",
    "hivlp train --preset tiny --out run --set steps=500",
)
_add(
    "fit-levels",
    fit_levels.fit_levels,
    "hivlp fit-levels --model hf:openai/clip-vit-base-patch32 --data captions.tsv --out run",
)
_add("export", export.export, "hivlp export run/model --int8", "hivlp export photos.hivlp --out embeddings")
_add("import", import_index.import_index, "hivlp import embeddings --out photos.hivlp")
for plug_in in entry_points(group="hivlp.commands"):
    _add_plug_in(plug_in)


def _print_version(wanted: bool) -> None:
    if wanted:
        import hivlp

        typer.echo(f"hivlp {hivlp.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    0 success, 2 a user's error, 3 nothing could be used, 130 interrupted, 1 a bug.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    flags = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return output.guarded(
        lambda: app(args=arguments, prog_name="hivlp", standalone_mode=False),
        json="--json" in flags,
        debug="--debug" in flags,
    )
