"""The galleries of ``hivlp demo``: the photographs that the package ships, and scenes drawn on the spot.

Each is laid down as plain files, so that people can look at what is searched.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hivlp.cli import output

if TYPE_CHECKING:
    from hivlp.types import Sample

SEARCHES = 8
# Each has several right answers among the photographs.
QUERIES = (
    "a steam locomotive",
    "an old man with a hat",
    "a group of children",
    "a small yellow plane",
    "a shop with signs on its front",
    "snow on the ground",
    "fruit and vegetables",
    "an old wooden barn",
)


@dataclass(frozen=True, slots=True)
class GalleryQuery:
    """A query, and the picture that it was written for where there is only one such."""

    words: str
    picture: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """Pictures in files, and queries for them.

    Attributes:
        title: the heading of their contact sheet.
        source: what `hivlp index` takes.
        index: where their index goes.
        example: words to search them with, for those who want to go on.
    """

    title: str
    source: Path
    index: Path
    count: int
    queries: list[GalleryQuery]
    example: str


def photographs(out: Path) -> Gallery:
    """Copies the photographs of the package into a folder."""
    from hivlp.data.photographs import TABLE, copy

    folder = out / "gallery"
    count = copy(folder)
    output.say(f"copied {count} photographs into {folder}")
    return Gallery(
        title="Photographs, found by words",
        source=folder / TABLE.name,
        index=out / "gallery.hivlp",
        count=count,
        queries=[GalleryQuery(query) for query in QUERIES],
        example="ships in the harbour",
    )


def scenes(out: Path, count: int) -> Gallery:
    """Draws scenes as files, each with its captions; the queries are captions of some of them."""
    from hivlp import scenes

    folder = out / "scenes"
    folder.mkdir(parents=True, exist_ok=True)
    queries: list[GalleryQuery] = []
    every = count // SEARCHES
    with output.progress("drawing", unit="pictures") as advance:
        for number, sample in enumerate(scenes.samples(count, split="test")):
            path = _write(sample, folder)
            if number % every == 0 and len(queries) < SEARCHES:
                # One style of caption after the other, so that the queries are not all of one form.
                queries.append(GalleryQuery(sample.captions[len(queries) % len(sample.captions)], path))
            advance("", number + 1, count)
    output.say(f"drew {count} pictures into {folder}")
    return Gallery(
        title="Drawn pictures, found by words",
        source=folder,
        index=out / "scenes.hivlp",
        count=count,
        queries=queries,
        example="a red boat at sunset",
    )


def _write(sample: Sample, folder: Path) -> Path:
    path = folder / f"{sample.id}.jpg"
    path.write_bytes(sample.read())
    path.with_suffix(".txt").write_text("\n".join(sample.captions) + "\n", encoding="utf-8")
    return path
