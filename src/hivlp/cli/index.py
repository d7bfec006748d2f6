"""``hivlp index``: encodes the pictures of a source and adds them to an index."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hivlp.cli import output


def index(
    source: Annotated[
        str,
        typer.Argument(
            help="A folder of pictures, a .tsv .csv .jsonl .parquet or .json of captions, "
            "webdataset tars, or scenes:COUNT for drawn ones."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", help="The index folder, such as photos.hivlp. Added to if it exists.")
    ],
    model: Annotated[
        str | None,
        typer.Option(help="mini, or a model folder. [default: the index's own, mini for a new one]"),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Only this split of the source.")] = None,
    image_root: Annotated[Path | None, typer.Option(help="Where the pictures of a caption file lie.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Threads that decode pictures.")] = 2,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Pictures a batch; a kill loses at most one batch.")
    ] = 32,
    resume: Annotated[
        bool, typer.Option("--resume", help="Skip every known id, without comparing the content of its file.")
    ] = False,
    json: output.JsonOption = False,
    debug: output.DebugOption = False,
) -> None:
    """Index pictures; what is indexed already and unchanged is skipped."""
    from hivlp.data.sources import open_source
    from hivlp.retriever import Index

    samples = open_source(source, image_root=image_root, split=split)  # before an index is made for nothing
    for note in samples.notes:
        output.say(note)
    with Index.ensure(out, model) as target, output.progress("indexing", unit="pictures") as advance:
        report = target.add(
            samples,
            batch_size=batch_size,
            workers=workers,
            resume=resume,
            progress=lambda p: advance(p.done, p.total, f"{p.skipped} skipped, {p.failed} failed"),
        )
        items = len(target)
    document = {"index": str(out), "items": items, **report.as_dict()}
    output.show_failures(document["failed"])
    output.answer(
        document,
        json=json,
        human=lambda console: console.print(
            f"{out}: {report.indexed:,} indexed, {report.skipped:,} skipped, {len(report.failed):,} failed "
            f"in {report.seconds:.1f} s ({report.items_per_s:.1f}/s); it holds {items:,} items now",
            highlight=False,
            soft_wrap=True,
        ),
    )
