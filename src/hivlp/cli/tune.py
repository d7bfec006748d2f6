"""``hivlp tune``: measures plans on an index, and stores those that reach the recall."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hivlp.cli import output
from hivlp.errors import DataError
from hivlp.messages import counted

if TYPE_CHECKING:
    from rich.console import Console

    from hivlp.search.tuned import Tuned


def tune(
    index: Annotated[Path, typer.Argument(help="An index folder.")],
    recall: Annotated[
        float, typer.Option(help="Share of the true k best items that a search must return, such as 0.99.")
    ] = 0.99,
    k: Annotated[int, typer.Option("-k", "--k", help="Number of results that the recall counts.")] = 10,
    queries: Annotated[
        Path | None,
        typer.Option(
            help="A text file with one query per line. Default: captions of the index, or else points "
            "between its items."
        ),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Number of captions or points to measure with.")] = 2_000,
    coarse: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND", help="Try only this kind of coarse index; may be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed for the choice of captions or points.")] = 0,
    model: Annotated[
        str | None, typer.Option(help="The model of the index, if it has moved: a folder or a name.")
    ] = None,
    json: output.JsonOption = False,
    debug: output.DebugOption = False,
) -> None:
    """Measure search plans on an index; searches then use the fastest plan that reaches the recall."""
    texts = None if queries is None else read_queries(queries)

    from hivlp.retriever import Index
    from hivlp.search.plan import ALL_UP_TO
    from hivlp.tune import KINDS

    with (
        Index.open(index, model, writable=True) as opened,
        output.progress("tuning", unit="plans") as advance,
    ):
        tuned = opened.tune(
            recall, k=k, queries=texts, count=count, kinds=coarse or KINDS, seed=seed, progress=advance
        )
    notes = [] if tuned.match is not None else [_why_no_match(tuned.queries)]
    if tuned.items <= ALL_UP_TO:
        notes.append(
            f"up to {ALL_UP_TO:,} items a search scores all of them anyway; the plan takes effect once "
            "there are more"
        )
    for note in notes:
        output.say(note)
    document = {"index": str(index), **tuned.as_dict(), "notes": notes}
    output.answer(document, json=json, human=lambda console: _show(console, tuned))


def read_queries(path: Path) -> list[str]:
    """The lines of a text file that are not blank."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text: {error}. Save it as UTF-8, with one query per line."
        ) from error
    texts = [line.strip() for line in lines if line.strip()]
    if not texts:
        raise DataError(f"{path} holds no query; write one query per line")
    return texts


def _why_no_match(queries: str) -> str:
    why = (
        "the right pictures for your own queries are unknown: leave out --queries"
        if queries == "queries"
        else "fewer than 50 pictures of the index have a caption"
    )
    return (
        "match probabilities (--min-probability) were not calibrated: they need captions of the pictures in "
        f"the index, and {why}. If the model has its own, searches keep using them"
    )


def _show(console: Console, tuned: Tuned) -> None:
    from rich.table import Table

    table = Table(box=None, header_style="dim", pad_edge=False)
    for title in ("plan", f"recall@{tuned.k}", "at least", "p50 ms", "p99 ms", "bytes per item"):
        table.add_column(title, justify="left" if title == "plan" else "right")
    for one in tuned.pareto:
        table.add_row(
            one.plan.name,
            f"{one.recall:.4f}",
            f"{one.recall_low:.4f}",
            f"{one.p50_ms:.2f}",
            f"{one.p99_ms:.2f}",
            f"{one.hot_bytes_per_item:.0f}",
            style="bold" if one.plan == tuned.chosen.plan else None,
        )
    console.print(table)
    output.print_lines(
        console,
        f"chosen: {tuned.chosen.plan.name}; its recall@{tuned.k} is at least {tuned.chosen.recall_low:.4f} "
        f"with 95 % confidence, measured with {tuned.query_count:,} {tuned.queries} on "
        f"{counted(tuned.items, 'item')}",
    )
