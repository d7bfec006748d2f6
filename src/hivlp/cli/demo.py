"""``hivlp demo``: the whole way on pictures at hand, from a folder to a picture of search results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hivlp.cli import output
from hivlp.cli.galleries import SEARCHES, Gallery, GalleryQuery, photographs, scenes
from hivlp.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from hivlp.retriever import Index
    from hivlp.types import Hit, Hits

HITS = 6
SCENES = 400


@dataclass(frozen=True, slots=True)
class _Found:
    """The hits of a query, and the rank of the picture that the query describes, if that is a hit."""

    query: GalleryQuery
    hits: Hits
    rank: int | None

    def as_dict(self) -> dict[str, Any]:
        drawn = {"drawn_as": str(self.query.picture), "found_at_rank": self.rank}
        return {
            "query": self.query.words,
            **(drawn if self.query.picture is not None else {}),
            **self.hits.as_dict(),
        }


def demo(
    out: Annotated[
        Path, typer.Option(help="Folder for the gallery, its index and the contact sheet.")
    ] = Path("hivlp-demo"),
    drawn: Annotated[bool, typer.Option("--scenes", help="Use drawn scenes instead of photographs.")] = False,
    count: Annotated[
        int | None,
        typer.Option(
            min=SEARCHES, help=f"How many scenes to draw; the default is {SCENES}. Only with --scenes."
        ),
    ] = None,
    model: Annotated[str, typer.Option(help="mini, a model folder, or hf:owner/name.")] = "mini",
    serve: Annotated[
        bool, typer.Option("--serve", help="Open the search page of the gallery afterwards.")
    ] = False,
    json: output.JsonOption = False,
    debug: output.DebugOption = False,
) -> None:
    """Index a gallery of photographs, search it, and show the results on a contact sheet."""
    from hivlp.encode import load
    from hivlp.retriever import Index

    if count is not None and not drawn:
        raise ConfigError(f"--count {count} is for drawn scenes only; add --scenes, or leave --count out")
    encoder = load(model)  # first, so that a wrong name is reported before anything is drawn
    gallery = scenes(out, count or SCENES) if drawn else photographs(out)
    with Index.ensure(gallery.index, encoder) as index:
        with output.progress("indexing", unit="pictures") as advance:
            report = index.add(gallery.source, progress=advance)
        output.say(
            f"indexed {report.indexed} pictures in {report.seconds:.1f} s, {report.skipped} were in the "
            f"index already"
        )
        answers = [_search(index, query) for query in gallery.queries]
        items = len(index)
    _say_others(gallery, items)
    document = {
        "index": str(gallery.index),
        "items": items,
        **{key: value for key, value in report.as_dict().items() if key != "items_per_s"},
        "searches": [answer.as_dict() for answer in answers],
        "contact_sheet": str(_draw_sheet(out / "contact-sheet.png", gallery, answers, items, model)),
    }
    output.answer(document, json=json, human=lambda console: _show(console, document, gallery, answers))
    if serve:
        _serve(gallery.index)


def _serve(index: Path) -> None:
    from hivlp.cli.serve import serve

    serve([index], port=0)  # any free port, since another demo may be running


def _search(index: Index, query: GalleryQuery) -> _Found:
    hits = index.search(query.words, k=HITS)
    name = query.picture.name if query.picture is not None else None
    return _Found(query, hits, next((hit.rank for hit in hits if Path(hit.uri).name == name), None))


def _say_others(gallery: Gallery, items: int) -> None:
    """Says so where the index holds pictures of an earlier demo."""
    if items > gallery.count:
        output.say(
            f"{gallery.index} also holds {items - gallery.count} pictures of an earlier demo, and "
            "searches find them too; name a new folder with --out to leave them out"
        )


def _draw_sheet(path: Path, gallery: Gallery, answers: Sequence[_Found], items: int, model: str) -> Path:
    from hivlp.sheets.contact_sheet import SheetLayout, SheetRow, contact_sheet, save

    rows = [
        SheetRow(
            query=answer.query.words,
            hits=answer.hits,
            expected=[hit.id for hit in answer.hits if hit.rank == answer.rank],
        )
        for answer in answers
    ]
    subtitle = f"{len(rows)} searches over {items:,} pictures with the model {model}"
    if _drawn_for(answers):
        subtitle += "; framed: drawn from these words"
    save(contact_sheet(rows, title=gallery.title, subtitle=subtitle, layout=SheetLayout(columns=HITS)), path)
    return path


def _drawn_for(answers: Sequence[_Found]) -> bool:
    """Whether every query describes one picture of the gallery."""
    return all(answer.query.picture is not None for answer in answers)


def _show(console: Console, document: dict[str, Any], gallery: Gallery, answers: Sequence[_Found]) -> None:
    from rich.text import Text

    console.print(_table(answers))
    lines = (
        "",
        f"Look at {document['contact_sheet']}",
        f'Search more:      hivlp search {document["index"]} "{gallery.example}"',
        f"In the browser:   hivlp serve {document['index']}",
        "Your own folder:  hivlp index ~/Pictures --out photos.hivlp",
        '                  hivlp search photos.hivlp "two dogs on a beach" --sheet hits.png',
    )
    console.print(Text("\n".join(lines)), soft_wrap=True)


def _table(answers: Sequence[_Found]) -> Table:
    from rich.table import Table
    from rich.text import Text

    drawn = _drawn_for(answers)
    table = Table(box=None, header_style="dim", pad_edge=False)
    for heading in ("query", "best hit", "score", *(["its picture at rank"] if drawn else []), "ms"):
        table.add_column(heading, justify="left" if heading in ("query", "best hit") else "right")
    for answer in answers:
        best = answer.hits[0]
        rank = str(answer.rank) if answer.rank is not None else f"> {HITS}"
        table.add_row(
            Text(answer.query.words),
            Text(Path(best.uri).name if drawn else _title(best)),
            f"{best.score:.3f}",
            *([rank] if drawn else []),
            f"{answer.hits.timings_ms.total:.1f}",
        )
    return table


def _title(hit: Hit) -> str:
    """The beginning of a photograph's title: some are as long as a paragraph."""
    return shorten(hit.caption or Path(hit.uri).name, 64, placeholder=" …")
