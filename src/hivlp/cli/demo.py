"""``hivlp demo``: the whole way on drawn pictures, from a folder to a picture of search results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hivlp.cli import output

if TYPE_CHECKING:
    from rich.console import Console

    from hivlp.retriever import Index
    from hivlp.types import Hits, Sample

SEARCHES = 8
HITS = 6


def demo(
    out: Annotated[Path, typer.Option(help="Where the gallery, its index and the contact sheet go.")] = Path(
        "hivlp-demo"
    ),
    count: Annotated[int, typer.Option(min=SEARCHES, help="How many pictures are drawn.")] = 400,
    model: Annotated[str, typer.Option(help="mini, a model folder, or hf:owner/name.")] = "mini",
    serve: Annotated[
        bool, typer.Option("--serve", help="Then open the search page over the gallery.")
    ] = False,
    json: output.JsonOption = False,
    debug: output.DebugOption = False,
) -> None:
    """Draw pictures, index them, search them, and show the results on a contact sheet."""
    from hivlp.encode import load
    from hivlp.retriever import Index

    encoder = load(model)  # first, so that a wrong name is not noticed after the drawing only
    gallery = out / "gallery"
    asked = _draw_gallery(gallery, count)
    with Index.ensure(out / "gallery.hivlp", encoder) as index:
        with output.progress("indexing", unit="pictures") as advance:
            report = index.add(gallery, progress=lambda p: advance(p.done, p.total))
        output.say(
            f"indexed {report.indexed} pictures in {report.seconds:.1f} s, {report.skipped} were there before"
        )
        searches = [(query, *_search(index, query, picture)) for query, picture in asked]
        items = len(index)
    document = {
        "index": str(out / "gallery.hivlp"),
        "items": items,
        **{key: value for key, value in report.as_dict().items() if key != "items_per_s"},
        "searches": [
            {"query": query, "drawn_as": str(picture), "found_at_rank": rank, **hits.as_dict()}
            for (query, hits, rank), (_, picture) in zip(searches, asked, strict=True)
        ],
        "contact_sheet": str(_draw_sheet(out / "contact-sheet.png", searches, items, model)),
    }
    output.answer(document, json=json, human=lambda console: _show(console, document, searches))
    if serve:
        _serve(Path(document["index"]))


def _serve(index: Path) -> None:
    from hivlp.cli.serve import serve

    serve([index], port=0)  # whatever port is free: people who try things out have others running


def _draw_gallery(gallery: Path, count: int) -> list[tuple[str, Path]]:
    """Draws the scenes as files. Returns some queries, each with the picture that it was written for."""
    from hivlp.data import scenes

    gallery.mkdir(parents=True, exist_ok=True)
    asked: list[tuple[str, Path]] = []
    every = count // SEARCHES
    with output.progress("drawing", unit="pictures") as advance:
        for number, sample in enumerate(scenes.samples(count, split="test")):
            path = _write(sample, gallery)
            if number % every == 0 and len(asked) < SEARCHES:
                # One style of caption after the other, so that the queries are not all of one form.
                asked.append((sample.captions[len(asked) % len(sample.captions)], path))
            advance(number + 1, count)
    output.say(f"drew {count} pictures into {gallery}")
    return asked


def _write(sample: Sample, gallery: Path) -> Path:
    path = gallery / f"{sample.id}.jpg"
    path.write_bytes(sample.read())
    path.with_suffix(".txt").write_text("\n".join(sample.captions) + "\n", encoding="utf-8")
    return path


def _search(index: Index, query: str, picture: Path) -> tuple[Hits, int | None]:
    """The hits of a query, and the rank of the picture that it was written for where that is among them."""
    hits = index.search(query, k=HITS)
    return hits, next((hit.rank for hit in hits if Path(hit.uri).name == picture.name), None)


def _draw_sheet(path: Path, searches: Iterable[tuple[str, Hits, int | None]], items: int, model: str) -> Path:
    from hivlp.evaluate.contact_sheet import Layout, Row, contact_sheet, save

    rows = [
        Row(query=query, hits=hits, expected=[hit.id for hit in hits if hit.rank == rank])
        for query, hits, rank in searches
    ]
    title = "Drawn pictures, found by words"
    subtitle = (
        f"{len(rows)} searches over {items:,} pictures with the model {model}; framed: drawn from these words"
    )
    save(contact_sheet(rows, title=title, subtitle=subtitle, layout=Layout(columns=HITS)), path)
    return path


def _show(
    console: Console, document: dict[str, Any], searches: Sequence[tuple[str, Hits, int | None]]
) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="dim", pad_edge=False)
    for heading in ("query", "best hit", "score", "its picture at rank", "ms"):
        table.add_column(heading, justify="left" if heading in ("query", "best hit") else "right")
    for query, hits, rank in searches:
        best = hits[0]
        found = str(rank) if rank is not None else f"> {HITS}"
        table.add_row(
            Text(query), Path(best.uri).name, f"{best.score:.3f}", found, f"{hits.timings_ms.total:.1f}"
        )
    console.print(table)
    lines = (
        "",
        f"Look at {document['contact_sheet']}",
        f'Search more:      hivlp search {document["index"]} "a red boat at sunset"',
        f"In the browser:   hivlp serve {document['index']}",
        "Your own folder:  hivlp index ~/Pictures --out photos.hivlp",
        '                  hivlp search photos.hivlp "two dogs on a beach" --sheet hits.png',
    )
    console.print(Text("\n".join(lines)), soft_wrap=True)
