"""``hivlp eval``: the Karpathy protocol, both directions, every level, and the cascade."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hivlp.cli import output
from hivlp.errors import QueryError

if TYPE_CHECKING:
    from hivlp.search.plan import Plan


def evaluate(
    model: Annotated[str, typer.Option("--model", help="mini, a model folder, or hf:owner/name.")],
    data: Annotated[
        str, typer.Option("--data", help="A source of pictures with captions; see `hivlp index --help`.")
    ],
    split: Annotated[str | None, typer.Option(help="Split to evaluate. Default: the whole source.")] = None,
    image_root: Annotated[Path | None, typer.Option(help="Folder of the pictures of a caption file.")] = None,
    candidates: Annotated[
        int | None,
        typer.Option(help="Candidates that the coarse level passes to the fine one. Default: 200."),
    ] = None,
    plan: Annotated[
        str | None,
        typer.Option(help="A complete plan of the cascade instead: JSON, or a JSON file."),
    ] = None,
    classes: Annotated[
        bool,
        typer.Option(
            "--classes", help="Also show the accuracy of each class, where the captions are labels."
        ),
    ] = False,
    workers: Annotated[int, typer.Option(min=0, help="Threads that decode pictures.")] = 2,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures per batch.")] = 32,
    json: output.JsonOption = False,
    debug: output.DebugOption = False,
) -> None:
    """Measure a model on pictures with captions."""
    from hivlp.data.sources import open_source
    from hivlp.encode import load
    from hivlp.evaluate import protocols, report

    search_plan = _plan(plan, candidates)
    source = open_source(data, image_root=image_root, split=split)
    for note in source.notes:
        output.say(note)
    encoder = load(model)
    output.say_device(encoder)
    with output.progress("evaluating", unit="pictures") as advance:
        result = protocols.evaluate_karpathy(
            encoder,
            source,
            split=split,
            plan=search_plan,
            classes=classes,
            batch_size=batch_size,
            workers=workers,
            progress=advance,
        )
    for note in result.notes[len(source.notes) :]:
        output.say(note)
    document = {"model": encoder.name, "data": data, **result.as_dict()}
    output.show_failures(document["failed"])
    output.answer(document, json=json, human=lambda console: console.print(report.table(document)))


def _plan(text: str | None, candidates: int | None) -> Plan:
    """The plan of the options.

    Raises:
        QueryError: both options are set, or the plan is invalid.
    """
    from hivlp.search.plan import Plan

    if text is None:
        return Plan() if candidates is None else Plan(candidates=candidates)
    if candidates is not None:
        raise QueryError("--candidates and --plan exclude each other; a plan holds its candidates")
    is_json = text.lstrip().startswith("{")
    if not is_json and not Path(text).is_file():
        raise QueryError(
            f"--plan {text!r} is neither a JSON object nor a file; "
            """give one of these, such as '{"candidates": 100}'"""
        )
    try:
        record = json_module.loads(text if is_json else Path(text).read_text(encoding="utf-8"))
    except ValueError as error:
        raise QueryError(f"--plan {text} is not JSON ({error}); correct it") from None
    if not isinstance(record, dict):
        raise QueryError(f"the plan in {text} is not a JSON object; it must look like {Plan().as_dict()}")
    return Plan.from_dict(record)
