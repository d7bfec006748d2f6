"""``hivlp bench search``: compares HiVLP's search with other engines on the same vectors and threads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hivlp.cli import output

app = typer.Typer(help="Measure this machine.", no_args_is_help=True)


@app.command("search", epilog=output.epilog("hivlp bench search --items 10000 --out results"))
def search(
    items: Annotated[
        int, typer.Option(min=1000, help="Number of items; items beyond those of the data are generated.")
    ] = 100_000,
    only: Annotated[
        str | None, typer.Option(help="Only these engines, such as ours,flat,scann. Default: all.")
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            help="A source of pictures, as for `hivlp index`. Repeatable. Default: scenes:5000.",
        ),
    ] = None,
    queries: Annotated[
        list[str] | None,
        typer.Option(
            "--queries",
            help="A source of captions that the model never trained on. Repeatable. "
            "Default: the captions of the split val of --data.",
        ),
    ] = None,
    query_count: Annotated[
        int, typer.Option(min=2, help="Number of queries: half to choose plans by, half to report.")
    ] = 2000,
    threads: Annotated[int, typer.Option(min=1, help="Threads of a single search and of a batch.")] = 1,
    recall: Annotated[float, typer.Option(help="The recall@10 at which engines are compared.")] = 0.99,
    out: Annotated[Path | None, typer.Option(help="A folder for the result file and the picture.")] = None,
    work: Annotated[
        Path, typer.Option(help="Folder for vectors and measured rows, from which a stopped run resumes.")
    ] = Path("runs/bench"),
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    json: output.JsonOption = False,
    debug: output.DebugOption = False,
) -> None:
    """Compare the search of HiVLP with the installed search engines."""
    from hivlp_lab.bench import report, vectors
    from hivlp_lab.bench.engines import selected
    from hivlp_lab.bench.queries import require_enough
    from hivlp_lab.bench.search import Suite

    names = selected([name.strip() for name in only.split(",")] if only else [])
    require_enough(query_count, recall)
    prepared = vectors.prepare(
        data or [],
        items=items,
        queries=queries or [],
        query_count=query_count,
        seed=seed,
        work=work,
        say=output.say,
    )
    suite = Suite(
        vectors=prepared,
        names=names,
        threads=threads,
        target=recall,
        work=work,
        say=output.say,
    )
    document = suite.run()
    for note in report.save(document, out) if out else ():
        output.say(note)
    output.answer(document, json=json, human=lambda console: console.print(report.table(document)))
