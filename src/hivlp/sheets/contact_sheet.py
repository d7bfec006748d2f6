"""Draws search results as one picture: a row a query, its best hits as thumbnails.

It knows hits and where their pictures lie; it knows neither indexes nor models.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from PIL import Image, ImageDraw, ImageOps
from PIL.PngImagePlugin import PngInfo

from hivlp.data.images import decode
from hivlp.data.originals import SHEET_MARK, read_original
from hivlp.errors import DataError
from hivlp.sheets import lettering
from hivlp.types import Hit, Hits

Opener: TypeAlias = Callable[[Hit], "Path | bytes | Image.Image"]

PAPER = (250, 249, 246)
CARD = (255, 255, 255)
LINE = (228, 225, 218)
INK = (32, 34, 40)
SOFT_INK = (108, 110, 118)
EMPTY = (236, 234, 228)
ACCENT = (38, 84, 124)
RIGHT = (34, 139, 84)

HEADING = 76  # height of title and subtitle
_SMOOTH = 4  # corners are drawn this much larger and shrunk, since Pillow draws without anti-aliasing


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetRow:
    """One query and its hits.

    Attributes:
        query: the words, or the name of the query picture.
        hits: the hits, best first.
        picture: the query picture, where the query was one; it is shown before the hits.
        expected: ids of the right answers, where they are known; their thumbnails are framed.
    """

    query: str
    hits: Hits
    picture: Path | bytes | Image.Image | None = None
    expected: Collection[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetLayout:
    """Sizes in pixels."""

    columns: int = 6
    thumb: int = 184
    gap: int = 14
    margin: int = 40
    padding: int = 20
    radius: int = 14
    caption_lines: int = 2  # at most; a row is only as high as its captions are

    @property
    def width(self) -> int:
        inside = self.columns * self.thumb + (self.columns - 1) * self.gap
        return inside + 2 * (self.margin + self.padding)

    def row_height(self, lines: int) -> int:
        """Height of a row whose longest caption has `lines` lines."""
        return 2 * self.padding + 40 + self.thumb + 30 + lines * 19


def contact_sheet(
    rows: Sequence[SheetRow],
    *,
    title: str = "HiVLP",
    subtitle: str = "",
    layout: SheetLayout | None = None,
    opener: Opener | None = None,
) -> Image.Image:
    """Draws the results of several queries on one RGB picture.

    Args:
        rows: the queries; of each, the first `layout.columns` hits are shown.
        title: the heading of the sheet.
        subtitle: one line below it.
        layout: sizes; by default six thumbnails of 184 pixels per row.
        opener: gives the picture of a hit; by default it reads the file at `hit.uri`. A picture that
            can't be read becomes an empty tile that says so.
    """
    layout = layout or SheetLayout()
    top = layout.margin + HEADING
    captions = [[_caption(hit, layout) for hit in row.hits][: layout.columns] for row in rows]
    heights = [layout.row_height(max((len(c.lines) for c in found), default=0)) for found in captions]
    height = top + sum(heights) + layout.gap * max(0, len(rows) - 1) + layout.margin
    sheet = Image.new("RGB", (layout.width, height), PAPER)
    room = layout.width - 2 * layout.margin
    _write(sheet, (layout.margin, layout.margin), title, room, size=32, bold=True)
    _write(sheet, (layout.margin, layout.margin + 44), subtitle, room, size=16, fill=SOFT_INK)
    for row, found, row_height in zip(rows, captions, heights, strict=True):
        _draw_row(sheet, row, found, (top, top + row_height), layout, opener or _at_uri)
        top += row_height + layout.gap
    return sheet


def save(sheet: Image.Image, path: str | Path) -> None:
    """Writes the picture; the ending of the name chooses the format.

    Raises:
        DataError: the ending is not a picture format, or the file can't be written.
    """
    path = Path(path)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise DataError(
            f"a contact sheet can't be written to {path}: the name must end in .png, .jpg or .webp"
        )
    try:
        sheet.save(path, **_marked(path.suffix.lower()))
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{path} can't be written ({reason}); check that its folder exists") from error


def _marked(ending: str) -> dict[str, Any]:
    """Options of Pillow that write into the file what it is, so that it is not indexed as a photograph."""
    if ending == ".png":
        info = PngInfo()
        info.add_text("Comment", SHEET_MARK)
        return {"pnginfo": info}
    return {"xmp": SHEET_MARK.encode()} if ending == ".webp" else {"comment": SHEET_MARK}


def _at_uri(hit: Hit) -> bytes:
    return read_original(hit.uri)


@dataclass(frozen=True, slots=True)
class _Caption:
    lines: list[str]
    font: lettering.Font


def _caption(hit: Hit, layout: SheetLayout) -> _Caption:
    text, font = lettering.readable(hit.caption or Path(hit.uri).name, 13)
    if hit.caption is None:  # two names often differ at their ends only
        return _Caption([lettering.shortened(text, font, layout.thumb)], font)
    return _Caption(lettering.wrap(text, font, layout.thumb, layout.caption_lines), font)


def _write(
    sheet: Image.Image,
    corner: tuple[int, int],
    text: str,
    room: int,
    *,
    size: int,
    bold: bool = False,
    fill: tuple[int, int, int] = INK,
    anchor: str = "la",
) -> None:
    """Any words on one line of at most `room` pixels."""
    text, font = lettering.readable(text, size, bold=bold)
    line = lettering.ellipsis(text, font, room)
    ImageDraw.Draw(sheet).text(corner, line, fill=fill, font=font, anchor=anchor)


def _draw_row(
    sheet: Image.Image,
    row: SheetRow,
    captions: Sequence[_Caption],
    edges: tuple[int, int],
    layout: SheetLayout,
    opener: Opener,
) -> None:
    top, bottom = edges
    draw = ImageDraw.Draw(sheet)
    box = (layout.margin, top, layout.width - layout.margin, bottom)
    draw.rounded_rectangle(box, radius=layout.radius, fill=CARD, outline=LINE)
    left, y = layout.margin + layout.padding, top + layout.padding
    right = layout.width - layout.margin - layout.padding

    spent = row.hits.timings_ms.total
    cost = f"{spent:.1f} ms" if spent else ""  # nothing was searched for
    draw.text((right, y + 11), cost, fill=SOFT_INK, font=lettering.font(14), anchor="rm")
    room = right - left - int(lettering.font(14).getlength(cost)) - layout.gap
    _write(sheet, (left, y + 11), row.query, room, size=18, bold=True, anchor="lm")

    y += 40
    columns = layout.columns
    if row.picture is not None:
        _draw_query(sheet, row.picture, (left, y), layout)
        left += layout.thumb + layout.gap
        columns -= 1
    if not captions:
        middle = (left, y + layout.thumb // 2)
        _write(sheet, middle, "nothing found", room, size=16, fill=SOFT_INK, anchor="lm")
    for column, (hit, caption) in enumerate(zip(row.hits, captions[:columns], strict=False)):
        corner = (left + column * (layout.thumb + layout.gap), y)
        if hit.id in row.expected:
            _draw_frame(sheet, corner, layout)
        _draw_hit(sheet, hit, caption, corner, layout, opener)


def _draw_query(
    sheet: Image.Image, picture: Path | bytes | Image.Image, corner: tuple[int, int], layout: SheetLayout
) -> None:
    _paste(sheet, _tile(lambda: picture, layout), corner)
    below = (corner[0], corner[1] + layout.thumb + 12)
    _write(sheet, below, "the query", layout.thumb, size=15, bold=True, fill=ACCENT)


def _draw_frame(sheet: Image.Image, corner: tuple[int, int], layout: SheetLayout) -> None:
    """A frame around a thumbnail, in the gap between it and its neighbours."""
    x, y = corner
    edge = layout.thumb + 4
    box = (x - 5, y - 5, x + edge, y + edge)
    ImageDraw.Draw(sheet).rounded_rectangle(box, radius=layout.radius, outline=RIGHT, width=3)


def _draw_hit(
    sheet: Image.Image,
    hit: Hit,
    caption: _Caption,
    corner: tuple[int, int],
    layout: SheetLayout,
    opener: Opener,
) -> None:
    x, y = corner
    _paste(
        sheet, _empty("text", layout) if hit.kind == "text" else _tile(lambda: opener(hit), layout), corner
    )
    draw = ImageDraw.Draw(sheet)
    y += layout.thumb + 12
    rank = f"{hit.rank}"
    draw.text((x, y), rank, fill=ACCENT, font=lettering.font(15, bold=True), anchor="la")
    after = x + int(lettering.font(15, bold=True).getlength(rank)) + 8
    numbers = _numbers(hit, x + layout.thumb - after)
    draw.text((after, y), numbers, fill=SOFT_INK, font=lettering.font(15), anchor="la")
    for line in caption.lines:
        y += 19
        draw.text((x, y + 3), line, fill=INK, font=caption.font, anchor="la")


def _numbers(hit: Hit, room: int) -> str:
    """The score of a hit; of the best one also how likely the index holds what the words describe.

    As much of that as `room` pixels take: later hits have no probability of their own.
    """
    score, font = f"{hit.score:.3f}", lettering.font(15)
    if hit.probability is None or hit.rank != 1:
        return score
    likely = f"{score} · {hit.probability:.0%}"
    return next((line for line in (f"{likely} match", likely) if font.getlength(line) <= room), score)


def _tile(get: Callable[[], Path | bytes | Image.Image], layout: SheetLayout) -> Image.Image:
    """The picture, cropped to a square with round corners (RGBA); an empty tile where it can't be read."""
    side = layout.thumb
    try:
        picture = ImageOps.fit(decode(get(), hint=side), (side, side), Image.Resampling.LANCZOS)
    except (DataError, OSError):
        return _empty("picture not found", layout)
    return _rounded(picture, layout)


def _empty(words: str, layout: SheetLayout) -> Image.Image:
    """A tile without a picture, with words in its middle."""
    tile = Image.new("RGB", (layout.thumb, layout.thumb), EMPTY)
    centre = (layout.thumb // 2, layout.thumb // 2)
    ImageDraw.Draw(tile).text(centre, words, SOFT_INK, lettering.font(14), anchor="mm")
    return _rounded(tile, layout)


def _rounded(picture: Image.Image, layout: SheetLayout) -> Image.Image:
    side = layout.thumb
    mask = Image.new("L", (side * _SMOOTH, side * _SMOOTH), 0)
    edge = side * _SMOOTH - 1
    ImageDraw.Draw(mask).rounded_rectangle(
        (0, 0, edge, edge), radius=layout.radius * _SMOOTH * 3 // 4, fill=255
    )
    picture.putalpha(mask.resize((side, side), Image.Resampling.LANCZOS))
    return picture


def _paste(sheet: Image.Image, tile: Image.Image, corner: tuple[int, int]) -> None:
    sheet.paste(tile, corner, tile)
