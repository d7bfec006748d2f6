"""``hivlp index``: encodes the pictures or texts of a source and adds them to an index."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hivlp.cli import output
from hivlp.errors import QueryError
from hivlp.messages import counted

if TYPE_CHECKING:
    from hivlp.data.sources import Source


def index(
    source: Annotated[
        str,
        typer.Argument(
            help="A folder of pictures, a .tsv .csv .jsonl .parquet or .json of captions, "
            "webdataset tars, or scenes:COUNT for drawn pictures. With --texts a .txt of lines, or a table."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", help="The index folder, such as photos.hivlp; items are added if it exists."),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="mini, a model folder, or hf:owner/name. Default: the model of the index; mini for a new "
            "index."
        ),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Only this split of the source.")] = None,
    image_root: Annotated[Path | None, typer.Option(help="Folder of the pictures of a caption file.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Threads that decode pictures.")] = 2,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Items per batch; a kill loses at most one batch. Default: 32 pictures or 256 texts."
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Skip every id that the index holds, without comparing the content of its file."
        ),
    ] = False,
    captions: Annotated[
        bool, typer.Option("--captions", help="Also keep each caption as an item of kind text.")
    ] = False,
    texts: Annotated[
        bool,
        typer.Option("--texts", help="Index the lines or the text column of SOURCE instead of pictures."),
    ] = False,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune", help="Also remove indexed pictures whose files below the folder SOURCE are gone."
        ),
    ] = False,
    json: output.JsonOption = False,
    debug: output.DebugOption = False,
) -> None:
    """Index pictures or texts; items that are unchanged since an earlier run are skipped."""
    from hivlp.index.layout import looks_like_index
    from hivlp.retriever import Index

    if looks_like_index(source):
        raise QueryError(
            f"{source} is an index, and pictures come first. Did you mean: hivlp index {out} --out {source}"
        )
    samples = _open(source, image_root, split, texts=texts, captions=captions)  # before the index is made
    folder = _folder_to_prune(source, samples) if prune else None
    for note in samples.notes:
        output.say(note)
    unit = "texts" if texts else "pictures"
    with Index.ensure(out, model) as target, output.progress("indexing", unit=unit) as advance:
        output.say_device(target.encoder)
        options: dict[str, Any] = {
            "batch_size": batch_size or (256 if texts else 32),
            "resume": resume,
            "progress": advance,
        }
        if texts:
            report = target.add_texts(samples, **options)
        else:
            report = target.add(samples, workers=workers, captions=captions, **options)
        document = report.as_dict()
        if folder is not None:
            pruned = target.prune(folder)
            document |= {"pruned": pruned.ids, "notes": [*document["notes"], *pruned.notes]}
        document = {"index": str(out), "items": len(target), **document}
    for note in document["notes"][len(samples.notes) :]:
        output.say(note)
    title = f"{counted(len(report.partial), 'picture')} used in part:"
    output.show_failures(document["partial"], title=title)
    output.show_failures(document["failed"])
    line = (
        f"{out}: {report.indexed:,} indexed, "
        + (f"{counted(report.captions, 'caption')}, " if captions else "")
        + f"{report.skipped:,} skipped, {len(report.failed):,} failed "
        + (f"and {len(document['pruned']):,} removed " if prune else "")
        + f"in {report.seconds:.1f} s ({report.items_per_s:.1f}/s); "
        f"it holds {counted(document['items'], 'item')} now"
    )
    output.answer(document, json=json, human=lambda console: output.print_lines(console, line))
    output.check_used(report.indexed + report.skipped, len(report.failed))


def _folder_to_prune(source: str, samples: Source) -> Path:
    from hivlp.data.sources.folder import FolderSource

    if not isinstance(samples, FolderSource):
        raise QueryError(f"--prune needs a folder of pictures, and {source} is not one; leave --prune out")
    return samples.folder


def _open(source: str, image_root: Path | None, split: str | None, *, texts: bool, captions: bool) -> Source:
    from hivlp.data.sources import open_source, open_texts

    if not texts:
        return open_source(source, image_root=image_root, split=split)
    if captions or image_root is not None:
        raise QueryError(
            f"--texts and {'--captions' if captions else '--image-root'} exclude each other: texts have no "
            "pictures. Index pictures and texts in two calls with the same --out."
        )
    return open_texts(source, split=split)
