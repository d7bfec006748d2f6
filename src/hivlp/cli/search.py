"""``hivlp search``: one query against one index."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from hivlp.cli import output
from hivlp.errors import QueryError
from hivlp.messages import counted
from hivlp.search.request import DEFAULTS, OPTIONS

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from hivlp.search.query import Part
    from hivlp.sheets.contact_sheet import SheetRow
    from hivlp.types import Hits

Command = TypeVar("Command", bound=Callable[..., None])


def _with_search_options(command: Command) -> Command:
    """Replaces the parameter ``**options`` of a command by the options of a search, as typer reads them."""
    signature = inspect.signature(command, eval_str=True)
    before = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
    place = next(n for n, one in enumerate(before) if one.name == "model")
    options = [_parameter(name) for name, option in OPTIONS.items() if option.type is not None]
    parameters = [*before[:place], *options, *before[place:]]
    command.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[one.replace(kind=one.KEYWORD_ONLY) for one in parameters]
    )
    command.__annotations__ |= {one.name: one.annotation for one in options}
    return command


def _parameter(name: str) -> inspect.Parameter:
    """One option of a search for typer. Ranges are checked by `SearchRequest`, the same for every caller."""
    option, default = OPTIONS[name], DEFAULTS[name]
    type_ = option.type if option.type in (int, float, bool) else str
    flag = f"--{name.replace('_', '-')}"
    if type_ is bool:
        annotation = Annotated[bool, typer.Option(flag, help=option.help)]
    else:
        flags = ("-k", flag) if name == "k" else (flag,)
        value = type_ if default is not None else type_ | None
        annotation = Annotated[value, typer.Option(*flags, metavar=option.metavar, help=option.help)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


@_with_search_options
def search(
    index: Annotated[Path, typer.Argument(help="An index folder that `hivlp index` made.")],
    text: Annotated[str | None, typer.Argument(help="Words to search for.")] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(
            "--image", metavar="FILE", help="Search with an image, or mix it with words; may be repeated."
        ),
    ] = None,
    items: Annotated[
        list[str] | None,
        typer.Option("--item", metavar="ID", help="Search for items like this one; may be repeated."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Path of the model that made the index, if it has moved.")
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also draw the hits as one image, such as hits.png.")
    ] = None,
    json: output.JsonOption = False,
    debug: output.DebugOption = False,
    **options: Any,
) -> None:
    """Find images and texts by words, by an image, by an item of the index, or by a mix of these."""
    images, items = images or [], items or []
    if text is None and not images and not items:
        raise QueryError("give words, --image FILE or --item ID to search with, or several of these to mix")

    from hivlp.data.originals import note_on_missing
    from hivlp.index.layout import looks_like_index
    from hivlp.retriever import Index

    if text is not None and looks_like_index(text) and not looks_like_index(index):
        raise QueryError(
            f"{text} is an index, and the index comes first. Did you mean: hivlp search {text} {str(index)!r}"
        )
    with Index.open(index, model) as opened:
        hits = opened.search(_parts(text, images, items), **options)
    missing = note_on_missing(hits, index)
    for note in (*hits.notes, *([missing] if missing else [])):
        output.say(note)
    document = hits.as_dict()
    if sheet is not None:
        from hivlp.sheets.contact_sheet import contact_sheet, save

        save(contact_sheet(_rows(hits, text, items, images), subtitle=str(index)), sheet)
        document["contact_sheet"] = str(sheet)
        output.say(f"drew the hits as {sheet}")
    output.answer(document, json=json, human=lambda console: show(console, hits))


def _parts(text: str | None, images: list[Path], items: list[str]) -> list[Part]:
    from hivlp.search.query import Part

    words = [] if text is None else [Part(text=text)]
    return [*words, *(Part(image=image) for image in images), *(Part(item=item) for item in items)]


def _rows(hits: Hits, text: str | None, items: list[str], images: list[Path]) -> list[SheetRow]:
    """All hits as rows of a sheet; the query image comes before the first ones."""
    from hivlp.sheets.contact_sheet import SheetLayout, SheetRow

    image = images[0] if images else None
    columns = SheetLayout().columns
    first = columns - (image is not None)
    words = [] if text is None else [text]
    query = " + ".join([*words, *items, *(path.name for path in images)])
    rows = [SheetRow(query=query, hits=replace(hits, hits=hits.hits[:first]), picture=image)]
    for start in range(first, len(hits), columns):
        some = hits.hits[start : start + columns]
        rows.append(SheetRow(query=f"hits {start + 1} to {start + len(some)}", hits=replace(hits, hits=some)))
    return rows


def show(console: Console, hits: Hits) -> None:
    """The hits as a table, with a line of their times."""
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
    has_probabilities = any(hit.probability is not None for hit in hits)
    if has_probabilities:
        table.add_column("match", justify="right")
    table.add_column("id", overflow="fold")
    has_uris = any(hit.uri != hit.id for hit in hits)
    if has_uris:
        table.add_column("uri", overflow="fold")
    has_kinds = len({hit.kind for hit in hits}) > 1
    if has_kinds:
        table.add_column("kind", style="dim")
    has_captions = any(hit.caption for hit in hits)
    if has_captions:
        table.add_column("caption", style="dim")
    for hit in hits:
        cells = [str(hit.rank), f"{hit.score:.3f}"]
        if has_probabilities:
            cells.append("" if hit.probability is None else f"{hit.probability:.0%}")
        texts = [Text(hit.id)]
        if has_uris:
            texts.append(Text("" if hit.uri == hit.id else hit.uri))
        if has_kinds:
            texts.append(Text(hit.kind))
        if has_captions:
            texts.append(Text(hit.caption or ""))
        table.add_row(*cells, *texts)
    return table
