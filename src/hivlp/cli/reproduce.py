"""``hivlp reproduce speed``: the paper's table, measured on this machine."""

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
    from hivlp.reproduce import report
    from hivlp.reproduce.clock import Effort
    from hivlp.reproduce.pools import Source
    from hivlp.reproduce.speed import Speed

    suite = Speed(
        source=Source(work=work, sources=data or (), queries=queries, seed=seed, say=output.say),
        pools=_sizes(pools),
        small=small,
        again=again,
        effort=Effort(most=5, seconds=1) if small else Effort(),
        say=output.say,
    )
    document = suite.run()
    for note in report.save(document, out) if out else ():
        output.say(note)
    output.answer(document, json=json, human=lambda console: console.print(report.table(document)))


def _sizes(pools: str) -> list[int]:
    """The numbers of ``--pools``. Raises QueryError where one is no number."""
    try:
        return sorted({int(part.replace("_", "")) for part in pools.split(",")})
    except ValueError:
        raise QueryError(
            f"--pools {pools!r} can't be read; it must be whole numbers with commas between them. "
            "Try --pools 1000,123287."
        ) from None
