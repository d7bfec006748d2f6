"""Draws search results as one picture: a row a query, its best hits as thumbnails.

It knows hits and where their pictures lie; it knows neither indexes nor models.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from PIL import Image, ImageDraw, ImageFont, ImageOps

from hivlp.data.images import decode
from hivlp.errors import DataError
from hivlp.types import Hit, Hits

Opener: TypeAlias = Callable[[Hit], "Path | bytes | Image.Image"]
Font: TypeAlias = "ImageFont.FreeTypeFont | ImageFont.ImageFont"

PAPER = (250, 249, 246)
CARD = (255, 255, 255)
LINE = (228, 225, 218)
INK = (32, 34, 40)
SOFT_INK = (108, 110, 118)
EMPTY = (236, 234, 228)
ACCENT = (38, 84, 124)
RIGHT = (34, 139, 84)

_SMOOTH = 4  # corners are drawn this much larger and shrunk, since Pillow draws without anti-aliasing


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One query and what came back.

    Attributes:
        query: the words, or the name of the query picture.
        hits: the answers, best first.
        picture: the query picture, where the query was one; it is shown before the hits.
        expected: ids of the right answers, where they are known; their thumbnails are framed.
    """

    query: str
    hits: Hits
    picture: Path | bytes | Image.Image | None = None
    expected: Collection[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Sizes in pixels."""

    columns: int = 6
    thumb: int = 208
    gap: int = 18
    margin: int = 44
    padding: int = 24
    radius: int = 14
    caption_lines: int = 3

    @property
    def width(self) -> int:
        inside = self.columns * self.thumb + (self.columns - 1) * self.gap
        return inside + 2 * (self.margin + self.padding)

    @property
    def row_height(self) -> int:
        return 2 * self.padding + 40 + self.thumb + 34 + self.caption_lines * 19


def contact_sheet(
    rows: Sequence[Row],
    *,
    title: str = "HiVLP",
    subtitle: str = "",
    layout: Layout | None = None,
    opener: Opener | None = None,
) -> Image.Image:
    """Draws the results of several queries on one RGB picture.

    Args:
        rows: the queries; of each, the first `layout.columns` hits are shown.
        title: the heading of the sheet.
        subtitle: one line below it.
        layout: sizes; six thumbnails of 208 pixels a row unless told.
        opener: gives the picture of a hit; reads the file at `hit.uri` unless told. A picture that can't be
            had becomes an empty tile which says so.
    """
    layout = layout or Layout()
    top = layout.margin + 76
    step = layout.row_height + layout.gap
    sheet = Image.new("RGB", (layout.width, top + len(rows) * step - layout.gap + layout.margin), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((layout.margin, layout.margin), title, fill=INK, font=_font(32, bold=True), anchor="la")
    draw.text((layout.margin, layout.margin + 44), subtitle, fill=SOFT_INK, font=_font(16), anchor="la")
    for number, row in enumerate(rows):
        _draw_row(sheet, row, top + number * step, layout, opener or _at_uri)
    return sheet


def save(sheet: Image.Image, path: str | Path) -> None:
    """Writes the picture; the ending of the name chooses the format.

    Raises:
        DataError: the ending is no picture format, or the file can't be written.
    """
    path = Path(path)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise DataError(
            f"a contact sheet can't be written to {path}: the name must end in .png, .jpg or .webp"
        )
    try:
        sheet.save(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{path} can't be written ({reason}); check that its folder exists") from error


def _at_uri(hit: Hit) -> Path | bytes:
    """The file at a hit's uri, or the member of a tar that ``archive.tar#member`` names."""
    archive, mark, member = hit.uri.partition(".tar#")
    if not mark:
        return Path(hit.uri)
    with tarfile.open(archive + ".tar", "r:") as tar:
        try:
            stream = tar.extractfile(member)
        except KeyError:
            stream = None
        if stream is None:
            raise DataError(f"{hit.uri} is not there; index its archive again")
        return stream.read()


def _draw_row(sheet: Image.Image, row: Row, top: int, layout: Layout, opener: Opener) -> None:
    draw = ImageDraw.Draw(sheet)
    box = (layout.margin, top, layout.width - layout.margin, top + layout.row_height)
    draw.rounded_rectangle(box, radius=layout.radius, fill=CARD, outline=LINE)
    left, y = layout.margin + layout.padding, top + layout.padding
    right = layout.width - layout.margin - layout.padding

    cost = f"{row.hits.timings_ms.total:.1f} ms"
    draw.text((right, y + 11), cost, fill=SOFT_INK, font=_font(14), anchor="rm")
    room = right - left - int(_font(14).getlength(cost)) - layout.gap
    heading = _ellipsis(row.query, _font(20, bold=True), room)
    draw.text((left, y + 11), heading, fill=INK, font=_font(20, bold=True), anchor="lm")

    y += 40
    hits = list(row.hits)
    if row.picture is not None:
        _paste(sheet, _tile(lambda: row.picture, layout), (left, y))  # type: ignore[arg-type,return-value]
        draw.text(
            (left, y + layout.thumb + 12), "the query", fill=ACCENT, font=_font(15, bold=True), anchor="la"
        )
        left += layout.thumb + layout.gap
        hits = hits[: layout.columns - 1]
    if not hits:
        draw.text((left, y + layout.thumb // 2), "nothing found", fill=SOFT_INK, font=_font(16), anchor="lm")
    for column, hit in enumerate(hits[: layout.columns]):
        corner = (left + column * (layout.thumb + layout.gap), y)
        if hit.id in row.expected:
            _draw_frame(sheet, corner, layout)
        _draw_hit(sheet, hit, corner, layout, opener)


def _draw_frame(sheet: Image.Image, corner: tuple[int, int], layout: Layout) -> None:
    """A frame around a thumbnail, in the gap between it and its neighbours."""
    x, y = corner
    edge = layout.thumb + 4
    box = (x - 5, y - 5, x + edge, y + edge)
    ImageDraw.Draw(sheet).rounded_rectangle(box, radius=layout.radius, outline=RIGHT, width=3)


def _draw_hit(sheet: Image.Image, hit: Hit, corner: tuple[int, int], layout: Layout, opener: Opener) -> None:
    x, y = corner
    _paste(sheet, _tile(lambda: opener(hit), layout), corner)
    draw = ImageDraw.Draw(sheet)
    y += layout.thumb + 12
    rank = f"{hit.rank}"
    draw.text((x, y), rank, fill=ACCENT, font=_font(15, bold=True), anchor="la")
    after = x + int(_font(15, bold=True).getlength(rank)) + 8
    draw.text((after, y), f"{hit.score:.3f}", fill=SOFT_INK, font=_font(15), anchor="la")
    caption = hit.caption or Path(hit.uri).name
    for line in _wrap(caption, _font(13), layout.thumb, layout.caption_lines):
        y += 19
        draw.text((x, y + 3), line, fill=INK, font=_font(13), anchor="la")


def _tile(get: Callable[[], Path | bytes | Image.Image], layout: Layout) -> Image.Image:
    """The picture, cropped to a square with round corners (RGBA); an empty tile where it can't be had."""
    side = layout.thumb
    try:
        picture = ImageOps.fit(decode(get(), hint=side), (side, side), Image.Resampling.LANCZOS)
    except (DataError, OSError, tarfile.TarError):
        picture = Image.new("RGB", (side, side), EMPTY)
        centre = (side // 2, side // 2)
        ImageDraw.Draw(picture).text(centre, "picture not found", SOFT_INK, _font(14), anchor="mm")
    mask = Image.new("L", (side * _SMOOTH, side * _SMOOTH), 0)
    edge = side * _SMOOTH - 1
    ImageDraw.Draw(mask).rounded_rectangle(
        (0, 0, edge, edge), radius=layout.radius * _SMOOTH * 3 // 4, fill=255
    )
    picture.putalpha(mask.resize((side, side), Image.Resampling.LANCZOS))
    return picture


def _paste(sheet: Image.Image, tile: Image.Image, corner: tuple[int, int]) -> None:
    sheet.paste(tile, corner, tile)


def _wrap(text: str, font: Font, width: int, lines: int) -> list[str]:
    """Words into at most `lines` lines of at most `width` pixels; what does not fit ends in an ellipsis."""
    done: list[str] = []
    words = text.split()
    while words and len(done) < lines - 1:
        count = 1
        while count < len(words) and font.getlength(" ".join(words[: count + 1])) <= width:
            count += 1
        done.append(_ellipsis(" ".join(words[:count]), font, width))
        words = words[count:]
    return [*done, _ellipsis(" ".join(words), font, width)] if words else done


def _ellipsis(text: str, font: Font, width: int) -> str:
    # A query may have 10,000 characters; no line shows more than 400. A line break can't be drawn in a line.
    text, whole = "".join(letter if letter.isprintable() else " " for letter in text[:400]), len(text) <= 400
    if whole and font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


_FONTS: dict[tuple[int, bool], Font] = {}


def _font(size: int, *, bold: bool = False) -> Font:
    """DejaVu Sans where the system has it (more alphabets, a bold face), else the face inside Pillow."""
    if (size, bold) not in _FONTS:
        try:
            font: Font = ImageFont.truetype("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf", size)
        except OSError:
            font = ImageFont.load_default(size)
        _FONTS[size, bold] = font
    return _FONTS[size, bold]
