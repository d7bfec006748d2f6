"""``hivlp search``: one query against one index."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hivlp.cli import output
from hivlp.errors import QueryError
from hivlp.messages import counted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from hivlp.search.request import SearchOptions
    from hivlp.sheets.contact_sheet import SheetRow
    from hivlp.types import Hits


def search(
    index: Annotated[Path, typer.Argument(help="An index folder that `hivlp index` made.")],
    text: Annotated[str | None, typer.Argument(help="What to look for, in words.")] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option("--image", help="Search with a picture, or with words and it; may be repeated."),
    ] = None,
    items: Annotated[
        list[str] | None,
        typer.Option(
            "--item", metavar="ID", help="Search for what is like an item of the index; may be repeated."
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", "--k", help="How many hits.")] = 10,
    candidates: Annotated[
        int | None, typer.Option(help="Candidates that the coarse level hands to the fine one.")
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Score every item at the finest level.")] = False,
    recall: Annotated[
        float | None,
        typer.Option(
            help="Take the fastest plan that `hivlp tune` measured to keep this recall, such as 0.95."
        ),
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(help="Keep only hits with at least this score, between -1 and 1.")
    ] = None,
    min_probability: Annotated[
        float | None,
        typer.Option(
            help="Keep only pictures that match the words with at least this probability. Needs a model "
            "that knows what a match is, or an index tuned on captions."
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            metavar="FILTER", help="Only items that meet a filter, such as \"color = 'red' and price < 20\"."
        ),
    ] = None,
    kind: Annotated[
        str | None, typer.Option(metavar="image|text", help="Only items of this kind. Default: all.")
    ] = None,
    rerank: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Score the best N again, words and picture together, by the fusion head of the model.",
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Another place of the model that made the index.")] = None,
    sheet: Annotated[
        Path | None, typer.Option(help="Also draw the hits as one picture, such as hits.png.")
    ] = None,
    json: output.JsonOption = False,
    debug: output.DebugOption = False,
) -> None:
    """Find pictures and texts by words, by a picture, by an item of the index, or by a mix of these."""
    images, items = images or [], items or []
    if text is None and not images and not items:
        raise QueryError("give words, --image FILE or --item ID to search with, or several of these to mix")

    from hivlp.index.layout import looks_like_index
    from hivlp.retriever import Index
    from hivlp.search.query import Part

    if text is not None and looks_like_index(text) and not looks_like_index(index):
        raise QueryError(
            f"{text} is an index, and the index comes first. Did you mean: hivlp search {text} {str(index)!r}"
        )
    with Index.open(index, model) as opened:
        options: SearchOptions = {
            "candidates": candidates,
            "exact": exact,
            "recall": recall,
            "min_score": min_score,
            "min_probability": min_probability,
            "where": where,
            "kind": kind,
            "rerank": rerank,
        }
        if text is not None and not images and not items:
            hits = opened.search(text, k, **options)
        else:
            parts = [Part(text=text)] if text is not None else []
            parts += [Part(image=image) for image in images] + [Part(item=item) for item in items]
            hits = opened.search_mix(parts, k, **options)
    for note in hits.notes:
        output.say(note)
    document = hits.as_dict()
    if sheet is not None:
        from hivlp.sheets.contact_sheet import contact_sheet, save

        save(contact_sheet(_rows(hits, text, items, images), subtitle=str(index)), sheet)
        document["contact_sheet"] = str(sheet)
        output.say(f"drew the hits as {sheet}")
    output.answer(document, json=json, human=lambda console: show(console, hits))


def _rows(hits: Hits, text: str | None, items: list[str], pictures: list[Path]) -> list[SheetRow]:
    """All hits as rows of a sheet; the query picture stands before the first ones."""
    from hivlp.sheets.contact_sheet import SheetLayout, SheetRow

    picture = pictures[0] if pictures else None
    columns = SheetLayout().columns
    first = columns - (picture is not None)
    words = [] if text is None else [text]
    query = " + ".join([*words, *items, *(path.name for path in pictures)])
    rows = [SheetRow(query=query, hits=replace(hits, hits=hits.hits[:first]), picture=picture)]
    for start in range(first, len(hits), columns):
        some = hits.hits[start : start + columns]
        rows.append(SheetRow(query=f"hits {start + 1} to {start + len(some)}", hits=replace(hits, hits=some)))
    return rows


def show(console: Console, hits: Hits) -> None:
    """The hits as a table, with a line on what they cost."""
    from rich.text import Text

    if hits:
        console.print(_table(hits))
    stages = ", ".join(
        f"{name} {ms:.1f}" for name, ms in hits.timings_ms.as_dict().items() if ms and name != "total"
    )
    found = f"{counted(len(hits), 'hit')} in {hits.timings_ms.total:.1f} ms ({stages})"
    console.print(Text(found, style="dim"))


def _table(hits: Hits) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("rank", justify="right")
    table.add_column("score", justify="right")
    told = any(hit.probability is not None for hit in hits)
    if told:
        table.add_column("match", justify="right")
    table.add_column("id", overflow="fold")
    placed = any(hit.uri != hit.id for hit in hits)
    if placed:
        table.add_column("uri", overflow="fold")
    mixed = len({hit.kind for hit in hits}) > 1
    if mixed:
        table.add_column("kind", style="dim")
    captioned = any(hit.caption for hit in hits)
    if captioned:
        table.add_column("caption", style="dim")
    for hit in hits:
        uri = Text("" if hit.uri == hit.id else hit.uri)
        more = [uri] * placed + [Text(hit.kind)] * mixed + [Text(hit.caption or "")] * captioned
        match = "" if hit.probability is None else f"{hit.probability:.0%}"
        scores = (f"{hit.score:.3f}", match) if told else (f"{hit.score:.3f}",)
        table.add_row(str(hit.rank), *scores, Text(hit.id), *more)
    return table
