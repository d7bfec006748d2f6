"""``hivlp index``: encodes the pictures or texts of a source and adds them to an index."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hivlp.cli import output
from hivlp.errors import QueryError
from hivlp.messages import counted

if TYPE_CHECKING:
    from hivlp.data.sources import Source
    from hivlp.ingest import AddReport
    from hivlp.types import Progress


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
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Skip these files and folders of a folder, written as in a .gitignore, such as 'Scans/' or "
            "'*.gif'; may be repeated.",
        ),
    ] = None,
    skipped: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="List every file that was skipped or could not be used here, with the reason.",
        ),
    ] = None,
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
    # before the index is made
    samples = _open(source, image_root, split, exclude or [], texts=texts, captions=captions)
    folder = _folder_to_prune(source, samples) if prune else None
    for note in samples.notes:
        output.say(note)
    said = len(samples.notes)
    unit = "texts" if texts else "pictures"
    options: dict[str, Any] = {"batch_size": batch_size or (256 if texts else 32), "resume": resume}
    with (
        _listed(samples, skipped) as listed,
        _stoppable(unit) as watched,
        Index.ensure(out, model) as target,
        output.progress("indexing", unit=unit) as advance,
    ):
        output.say_device(target.encoder)
        options["progress"] = watched(advance)
        if texts:
            report = target.add_texts(samples, **options)
        else:
            report = target.add(samples, workers=workers, captions=captions, **options)
        document = {"index": str(out), "items": len(target), **report.as_dict()}
        if folder is not None:
            from hivlp.ingest import count_gone

            pruned = target.prune(folder)
            document |= {
                "pruned": pruned.ids,
                "notes": [*document["notes"], *pruned.notes],
                "items": len(target),
                "gone": count_gone(target.store, folder),
            }
        for failure in report.failed:
            listed(failure.uri, failure.error)
    for note in document["notes"][said:]:
        output.say(note)
    summary = _Summary(document, report, unit="text" if texts else "image", listed=skipped)
    title = f"{counted(len(report.partial), 'picture')} used in part:"
    output.show_failures(document["partial"], title=title)
    output.show_failures(document["failed"], most=3 if summary.is_up_to_date else 10)
    output.answer(document, json=json, human=lambda console: output.print_lines(console, *summary.lines()))
    output.check_used(report.indexed + report.skipped, len(report.failed))


@dataclass(frozen=True)
class _Summary:
    """What people read at the end of a run."""

    document: dict[str, Any]
    report: AddReport
    unit: str
    listed: Path | None

    @property
    def is_up_to_date(self) -> bool:
        """Whether the run has changed nothing."""
        report = self.report
        changed = report.indexed or report.captions or report.moved or self.document.get("pruned")
        return bool(report.skipped) and not changed

    def lines(self) -> list[str]:
        report, files = self.report, self.report.skipped_files
        where = f"listed in {self.listed}" if self.listed else "`--skipped FILE` lists them"
        lines = [self._up_to_date(where) if self.is_up_to_date else self._changes()]
        if files.line():
            lines.append(f"{files.line()}" + (f" ({where})" if files.count else ""))
        if files.sidecars:
            them = "it" if files.sidecars == 1 else "them"
            lines.append(f"{counted(files.sidecars, 'picture')} took a caption from a .txt beside {them}")
        if report.copies:
            lines.append(
                f"{counted(report.copies, 'new picture has', 'new pictures have')} the same content as "
                "another picture in the index"
            )
        gone = self.document.get("gone")
        if gone and "pruned" not in self.document:
            is_gone = "picture is gone from the folder; --prune removes it"
            lines.append(
                f"1 indexed {is_gone}"
                if gone == 1
                else f"{gone:,} indexed pictures are gone from the folder; --prune removes them"
            )
        return lines

    def _up_to_date(self, where: str) -> str:
        line = f"{self.document['index']} is up to date: {counted(self.report.skipped, self.unit)}"
        failed = len(self.report.failed)
        return f"{line}, {failed:,} unreadable ({where})" if failed else line

    def _changes(self) -> str:
        report, document = self.report, self.document
        parts = [f"{report.indexed:,} indexed"]
        parts += [counted(report.captions, "caption")] if report.captions else []
        parts.append(f"{report.skipped:,} unchanged" + (f" ({report.moved:,} moved)" if report.moved else ""))
        parts.append(f"{len(report.failed):,} failed")
        removed = f" and {len(document['pruned']):,} removed" if "pruned" in document else ""
        rate = f" ({report.items_per_s:.1f}/s)" if report.indexed else ""
        return (
            f"{document['index']}: {', '.join(parts)}{removed} in {report.seconds:.1f} s{rate}; "
            f"it holds {counted(document['items'], 'item')} now"
        )


@contextlib.contextmanager
def _listed(samples: Source, path: Path | None) -> Iterator[Any]:
    """Writes what the source passes over into a file, a line each; yields the function that writes one."""
    from hivlp.data.sources.base import printable

    if path is None:
        yield lambda uri, reason: None
        return
    with path.open("w", encoding="utf-8") as file:

        def write(uri: str, reason: str) -> None:
            file.write(f"{printable(uri)}\t{printable(reason)}\n")

        samples.skipped.listener = write
        yield write


@contextlib.contextmanager
def _stoppable(unit: str) -> Iterator[Any]:
    """Says how far an interrupted run came; yields a function that gives a progress which it watches."""
    far: list[tuple[int, int | None]] = [(0, None)]

    def watched(advance: Progress) -> Progress:
        def progress(line: str, done: int = 0, total: int | None = None, /) -> None:
            far.append((done, total))
            del far[0]
            advance(line, done, total)

        return progress

    try:
        yield watched
    except KeyboardInterrupt:
        done, total = far[-1]
        of = f"{done:,} of {total:,}" if total else f"{done:,}"
        raise output.Stopped(
            f"stopped after {of} {unit}, which are kept; run the same command again to go on"
        ) from None


def _folder_to_prune(source: str, samples: Source) -> Path:
    from hivlp.data.sources.folder import FolderSource

    if not isinstance(samples, FolderSource):
        raise QueryError(f"--prune needs a folder of pictures, and {source} is not one; leave --prune out")
    return samples.folder


def _open(
    source: str,
    image_root: Path | None,
    split: str | None,
    exclude: list[str],
    *,
    texts: bool,
    captions: bool,
) -> Source:
    from hivlp.data.sources import open_source, open_texts

    if not texts:
        return open_source(source, image_root=image_root, split=split, exclude=exclude)
    wrong = {"--captions": captions, "--image-root": image_root is not None, "--exclude": bool(exclude)}
    for option in (name for name, given in wrong.items() if given):
        raise QueryError(
            f"--texts and {option} exclude each other: texts have no pictures. Index pictures and texts in "
            "two calls with the same --out."
        )
    return open_texts(source, split=split)
