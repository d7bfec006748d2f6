"""``hivlp reproduce``: the paper's tables of speed and of accuracy, measured on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hivlp.cli import output
from hivlp.errors import QueryError

app = typer.Typer(help="Measure the tables of the paper on this machine.", no_args_is_help=True)


@app.command(
    "speed", epilog=output.epilog("hivlp reproduce speed --small", "hivlp reproduce speed --out results")
)
def speed(
    pools: Annotated[
        str, typer.Option(help="Pictures in each pool; each has five texts.")
    ] = "1000,5000,31014,123287,1000000",
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            help="A source of pictures with captions, whose embeddings the pools are grown from. Repeatable. "
            "Default: scenes:5000.",
        ),
    ] = None,
    queries: Annotated[int, typer.Option(min=50, help="Number of queries.")] = 200,
    out: Annotated[Path | None, typer.Option(help="A folder for the result file and the picture.")] = None,
    work: Annotated[
        Path, typer.Option(help="Folder for pools and measurements, from which a stopped run resumes.")
    ] = Path("runs/reproduce"),
    again: Annotated[
        bool, typer.Option("--again", help="Repeat measurements that other processes disturbed.")
    ] = False,
    small: Annotated[bool, typer.Option("--small", help="Tiny models, for a trial run of seconds.")] = False,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    json: output.JsonOption = False,
    debug: output.DebugOption = False,
) -> None:
    """Time of one query of UNITER, METER, LightningDOT and HiVLP at the sizes of their papers."""
    from hivlp_lab.speed import report
    from hivlp_lab.speed.clock import TimeLimit
    from hivlp_lab.speed.pools import PoolSource
    from hivlp_lab.speed.run import Speed

    suite = Speed(
        source=PoolSource(work=work, sources=data or (), queries=queries, seed=seed, say=output.say),
        pools=sorted(set(_numbers("pools", pools))),
        small=small,
        again=again,
        effort=TimeLimit(most=5, seconds=1) if small else TimeLimit(),
        say=output.say,
    )
    document = suite.run()
    for note in report.save(document, out) if out else ():
        output.say(note)
    output.answer(document, json=json, human=lambda console: console.print(report.table(document)))


@app.command("flickr8k", epilog=output.epilog("hivlp reproduce flickr8k --data captions.tsv --small"))
def flickr8k(
    data: Annotated[
        str, typer.Option(help="Pictures with captions and the splits train and val, such as captions.tsv.")
    ],
    backbone: Annotated[
        Path | None, typer.Option(help="The quantised MobileNetV2 (.tflite) whose features all systems use.")
    ] = None,
    seeds: Annotated[
        str, typer.Option(help="Random seeds; every system is trained once with each.")
    ] = "0,1,2",
    fusion_seeds: Annotated[
        int | None,
        typer.Option(
            "--fusion-seeds",
            help="Train fusion models and re-rankers with the first NUMBER seeds only; they cost most. "
            "Default: all.",
        ),
    ] = None,
    systems: Annotated[
        str,
        typer.Option(help="Names of the systems to compare, with commas between them. Default: all."),
    ] = "",
    distractors: Annotated[
        list[str] | None,
        typer.Option("--distractors", help="A source of further pictures for larger pools. Repeatable."),
    ] = None,
    ablations: Annotated[bool, typer.Option("--ablations", help="Run the ablations as well.")] = False,
    out: Annotated[Path | None, typer.Option(help="A folder for the result file and the picture.")] = None,
    work: Annotated[
        Path,
        typer.Option(help="Folder for features, weights and results, from which a stopped run resumes."),
    ] = Path("runs/reproduce"),
    small: Annotated[
        bool, typer.Option("--small", help="Tiny systems on random features, for a trial run of seconds.")
    ] = False,
    json: output.JsonOption = False,
    debug: output.DebugOption = False,
) -> None:
    """Recall of UNITER, METER, LightningDOT and HiVLP, trained here on the same pictures and features."""
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
    """Whole numbers between commas. Raises QueryError for anything else."""
    try:
        return [int(part.replace("_", "")) for part in text.split(",")]
    except ValueError:
        raise QueryError(
            f"--{option} {text!r} is invalid: must be whole numbers with commas between them. "
            f"Try --{option} {'1000,123287' if option == 'pools' else '0,1,2'}."
        ) from None
