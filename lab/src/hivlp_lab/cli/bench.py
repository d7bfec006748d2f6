"""``hivlp bench search``: HiVLP's search and every peer, in one run, on the same vectors and threads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hivlp.cli import output

app = typer.Typer(help="Measure this machine.", no_args_is_help=True)


@app.command("search")
def search(
    items: Annotated[
        int, typer.Option(min=1000, help="How many items; beyond the real ones they are generated.")
    ] = 100_000,
    only: Annotated[
        str | None, typer.Option(help="Only these engines, such as ours,flat,scann. [default: all]")
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            help="A source of pictures with captions, as for `hivlp index`. Repeatable. "
            "[default: scenes:5000]",
        ),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of a search and of a batch.")] = 1,
    queries: Annotated[int, typer.Option(min=1, help="How many captions are searched for.")] = 1000,
    recall: Annotated[float, typer.Option(help="The recall@10 at which engines are compared.")] = 0.99,
    like: Annotated[
        Path | None,
        typer.Option(
            help="An earlier result file: measure of other engines only the build that was best there."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A folder for the result file and the picture.")] = None,
    work: Annotated[
        Path, typer.Option(help="Where vectors and rows are kept, so that a stopped run goes on.")
    ] = Path("runs/bench"),
    seed: Annotated[int, typer.Option(help="Of everything that is drawn at random.")] = 0,
    json: output.JsonOption = False,
    debug: output.DebugOption = False,
) -> None:
    """Compare the search of HiVLP with that of other engines; those that are not installed are left out."""
    from hivlp_lab.bench import report, vectors
    from hivlp_lab.bench.engines import selected
    from hivlp_lab.bench.search import Suite

    names = selected([name.strip() for name in only.split(",")] if only else [])
    prepared = vectors.prepare(data or [], items=items, queries=queries, seed=seed, work=work, say=output.say)
    suite = Suite(
        vectors=prepared,
        names=names,
        threads=threads,
        target=recall,
        work=work,
        like=None if like is None else report.read(like),
        say=output.say,
    )
    document = suite.run()
    for note in report.save(document, out) if out else ():
        output.say(note)
    output.answer(document, json=json, human=lambda console: console.print(report.table(document)))
