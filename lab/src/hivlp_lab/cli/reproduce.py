"""``hivlp reproduce``: the paper's tables of speed and of accuracy, measured on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hivlp.cli import output
from hivlp.errors import QueryError

app = typer.Typer(help="Measure the tables of the paper anew.", no_args_is_help=True)


@app.command("speed")
def speed(
    pools: Annotated[
        str, typer.Option(help="Pictures in each pool; texts are five times as many.")
    ] = "1000,5000,31014,123287,1000000",
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            help="A source of pictures with captions, whose embeddings the pools are grown from. Repeatable. "
            "[default: scenes:5000]",
        ),
    ] = None,
    queries: Annotated[int, typer.Option(min=50, help="How many queries are searched for.")] = 200,
    out: Annotated[Path | None, typer.Option(help="A folder for the result file and the picture.")] = None,
    work: Annotated[
        Path, typer.Option(help="Where pools and measurements are kept, so that a stopped run goes on.")
    ] = Path("runs/reproduce"),
    again: Annotated[
        bool, typer.Option("--again", help="Measure anew what other processes disturbed before.")
    ] = False,
    small: Annotated[bool, typer.Option("--small", help="Tiny models, to try a run out in seconds.")] = False,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn at random.")] = 0,
    json: output.JsonOption = False,
    debug: output.DebugOption = False,
) -> None:
    """Time of one query of UNITER, METER, LightningDOT and HiVLP at the sizes of their papers."""
    from hivlp_lab.speed import report
    from hivlp_lab.speed.clock import Effort
    from hivlp_lab.speed.pools import Source
    from hivlp_lab.speed.run import Speed

    suite = Speed(
        source=Source(work=work, sources=data or (), queries=queries, seed=seed, say=output.say),
        pools=sorted(set(_numbers("pools", pools))),
        small=small,
        again=again,
        effort=Effort(most=5, seconds=1) if small else Effort(),
        say=output.say,
    )
    document = suite.run()
    for note in report.save(document, out) if out else ():
        output.say(note)
    output.answer(document, json=json, human=lambda console: console.print(report.table(document)))


@app.command("flickr8k")
def flickr8k(
    data: Annotated[
        str, typer.Option(help="Pictures with captions and the splits train and val, such as captions.tsv.")
    ],
    backbone: Annotated[
        Path | None, typer.Option(help="The quantised MobileNetV2 (.tflite) whose features all systems get.")
    ] = None,
    seeds: Annotated[str, typer.Option(help="Every system is trained once with each.")] = "0,1,2",
    fusion_seeds: Annotated[
        int | None,
        typer.Option(
            "--fusion-seeds",
            help="So many of these seeds, the first, train fusion models and re-rank, which costs most; "
            "all by default.",
        ),
    ] = None,
    systems: Annotated[
        str,
        typer.Option(help="Which are compared, by name with commas between them; all of them by default."),
    ] = "",
    distractors: Annotated[
        list[str] | None,
        typer.Option(
            "--distractors", help="A source of other pictures, which the pools are grown with. Repeatable."
        ),
    ] = None,
    ablations: Annotated[bool, typer.Option("--ablations", help="Run the ablations as well.")] = False,
    out: Annotated[Path | None, typer.Option(help="A folder for the result file and the picture.")] = None,
    work: Annotated[
        Path,
        typer.Option(help="Where features, weights and results are kept, so that a stopped run goes on."),
    ] = Path("runs/reproduce"),
    small: Annotated[
        bool, typer.Option("--small", help="Tiny systems on random features, to try a run out in seconds.")
    ] = False,
    json: output.JsonOption = False,
    debug: output.DebugOption = False,
) -> None:
    """Recall of UNITER, METER, LightningDOT and HiVLP, all trained here on the same pictures and features."""
    from hivlp_lab.flickr8k import report
    from hivlp_lab.flickr8k.compare import Comparison
    from hivlp_lab.flickr8k.recipes import SYSTEMS

    comparison = Comparison(
        data=data,
        backbone=backbone,
        work=work,
        seeds=_numbers("seeds", seeds),
        fusion_seeds=fusion_seeds,
        systems=[name.strip() for name in systems.split(",")] if systems else tuple(SYSTEMS),
        distractors=distractors or (),
        ablate=ablations,
        small=small,
        say=output.say,
    )
    document = comparison.run()
    for note in report.save(document, out) if out else ():
        output.say(note)
    output.answer(document, json=json, human=lambda console: console.print(report.table(document)))


def _numbers(option: str, text: str) -> list[int]:
    """Whole numbers between commas. Raises QueryError where one is no number."""
    try:
        return [int(part.replace("_", "")) for part in text.split(",")]
    except ValueError:
        raise QueryError(
            f"--{option} {text!r} can't be read; it must be whole numbers with commas between them. "
            f"Try --{option} {'1000,123287' if option == 'pools' else '0,1,2'}."
        ) from None
