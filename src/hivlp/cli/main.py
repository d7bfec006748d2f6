"""The program ``hivlp``: it wires the commands, one file each, and holds no logic of its own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Annotated

import typer

from hivlp.cli import (
    compact,
    delete,
    demo,
    evaluate,
    export,
    fit_levels,
    import_index,
    index,
    info,
    search,
    serve,
    train,
    tune,
    verify,
)
from hivlp.cli.output import guarded

app = typer.Typer(
    name="hivlp",
    help="Coarse-to-fine image-text retrieval: find pictures by words, or by a picture.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("demo")(demo.demo)
app.command("index")(index.index)
app.command("search")(search.search)
app.command("serve")(serve.serve)
app.command("tune")(tune.tune)
app.command("info")(info.info)
app.command("delete")(delete.delete)
app.command("compact")(compact.compact)
app.command("verify")(verify.verify)
app.command("eval")(evaluate.evaluate)
app.command("train")(train.train)
app.command("fit-levels")(fit_levels.fit_levels)
app.command("export")(export.export)
app.command("import")(import_index.import_index)
for command in entry_points(group="hivlp.commands"):  # such as those of the laboratory
    app.add_typer(command.load(), name=command.name)


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
    """Runs one command and returns its exit code: 0 success, 2 a user's error, 130 interrupted, 1 a bug."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    flags = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return guarded(
        lambda: app(args=arguments, prog_name="hivlp", standalone_mode=False),
        json="--json" in flags,
        debug="--debug" in flags,
    )
