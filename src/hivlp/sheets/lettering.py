"""Fits any words into lines of pixels with the fonts of this machine; what no font has is said in words.

It knows fonts and texts, and no pictures.
"""

from __future__ import annotations

import itertools
import unicodedata
from functools import lru_cache
from typing import TypeAlias

from PIL import Image, ImageDraw, ImageFont

Font: TypeAlias = "ImageFont.FreeTypeFont | ImageFont.ImageFont"

LONGEST = 400  # letters; a query may have 10,000, and no line shows more than these

_FIRST = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf")
# Fonts with many letters as the usual systems have them, tried in this order where the first one lacks some.
_OTHERS = (
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKsc-Regular.otf",
    "SourceHanSansSC-Regular.otf",
    "wqy-microhei.ttc",
    "wqy-zenhei.ttc",
    "DroidSansFallbackFull.ttf",
    "NotoSans-Regular.ttf",
    "Arial Unicode.ttf",
    "PingFang.ttc",
    "msyh.ttc",
    "YuGothM.ttc",
    "malgun.ttf",
    "NotoEmoji-Regular.ttf",
    "Symbola.ttf",
    "seguisym.ttf",
    "unifont.otf",
)
_NO_LETTER = "\U0010fffe"  # never will a font have this one
_PROBE_SIZE = 16


def font(size: int, *, bold: bool = False) -> Font:
    """DejaVu Sans where the system has it (more alphabets, a bold face), else the face inside Pillow."""
    return _load(_FIRST[bold], size) or _inside_pillow(size)


def readable(text: str, size: int, *, bold: bool = False) -> tuple[str, Font]:
    """A text on one line and a font that has all of its letters.

    Where no font of this machine has all, it is the one that lacks the fewest. Instead of the rest stands the
    name of a symbol, such as ``:dog:``, or how many letters are missing. Line breaks and control characters
    become spaces, and the end of an endless text is cut.
    """
    text = "".join(letter if letter.isprintable() else " " for letter in text[: LONGEST + 1])
    first = _FIRST[bold]
    if not _lacking(text, first):
        return text, font(size, bold=bold)
    installed = [name for name in _OTHERS if _load(name, _PROBE_SIZE) is not None]
    best = min((first, *installed), key=lambda name: _lacking(text, name))
    return _in_words(text, best), _load(best, size) or font(size, bold=bold)


def ellipsis(text: str, font: Font, width: int) -> str:
    """As much of the beginning of a text as `width` pixels take, with an ellipsis where something is cut."""
    if len(text) <= LONGEST and font.getlength(text) <= width:
        return text
    text = text[:LONGEST]
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


def shortened(name: str, font: Font, width: int) -> str:
    """A name on one line of at most `width` pixels: its beginning and its end, with an ellipsis between."""
    if len(name) <= LONGEST and font.getlength(name) <= width:
        return name
    shown = min(len(name), LONGEST) - 1
    while shown > 1:
        line = f"{name[: (shown + 1) // 2]}…{name[-(shown // 2) :]}"
        if font.getlength(line) <= width:
            return line
        shown -= 1
    return ellipsis(name, font, width)


def wrap(text: str, font: Font, width: int, lines: int) -> list[str]:
    """Words into at most `lines` lines of at most `width` pixels; what does not fit ends in an ellipsis."""
    done: list[str] = []
    words = [piece for word in text.split() for piece in _pieces(word, font, width)]
    while words and len(done) < lines - 1:
        count = 1
        while count < len(words) and font.getlength(" ".join(words[: count + 1])) <= width:
            count += 1
        done.append(" ".join(words[:count]))
        words = words[count:]
    return [*done, ellipsis(" ".join(words), font, width)] if words else done


def _pieces(word: str, font: Font, width: int) -> list[str]:
    """A word in pieces that fit, at least a letter each: a Chinese sentence has no spaces."""
    pieces: list[str] = [""]
    for letter in word:
        if pieces[-1] and font.getlength(pieces[-1] + letter) > width:
            pieces.append("")
        pieces[-1] += letter
    return pieces


def _in_words(text: str, name: str) -> str:
    parts: list[str] = []
    for kind, letters in itertools.groupby(text, key=lambda letter: _kind(letter, name)):
        part = list(letters)
        if kind == "there":
            parts += part
        elif kind == "symbol":
            parts += [f":{unicodedata.name(letter, 'symbol').lower()}:" for letter in part]
        elif kind == "letter":
            parts.append(f"[{len(part)} letter{'s' * (len(part) > 1)} this font lacks]")
    return "".join(parts)


def _kind(letter: str, name: str) -> str:
    if not _lacks(name, letter):
        return "there"
    category = unicodedata.category(letter)
    # Marks and modifiers, such as the skin colour of an emoji, mean nothing by themselves.
    return "symbol" if category == "So" else "mark" if category[0] == "M" or category == "Sk" else "letter"


def _lacking(text: str, name: str) -> int:
    return 0 if text.isascii() else sum(_lacks(name, letter) for letter in text)


@lru_cache(maxsize=4096)
def _lacks(name: str, letter: str) -> bool:
    """Whether a font draws for this letter what it draws for a letter that there is not: an empty box."""
    if letter.isspace():
        return False
    face = _load(name, _PROBE_SIZE) or _inside_pillow(_PROBE_SIZE)
    try:
        return _look(face, letter) == _look(face, _NO_LETTER)
    except UnicodeError:  # Pillow without FreeType has a face of Latin letters only
        return not letter.isascii()


def _look(face: Font, letter: str) -> bytes:
    image = Image.new("L", (2 * _PROBE_SIZE, 2 * _PROBE_SIZE))
    ImageDraw.Draw(image).text((0, 0), letter, fill=255, font=face)
    return image.tobytes()


@lru_cache(maxsize=64)
def _load(name: str, size: int) -> ImageFont.FreeTypeFont | None:
    try:
        return ImageFont.truetype(name, size)
    except (OSError, ImportError):  # not installed; or a Pillow without FreeType
        return None


@lru_cache(maxsize=16)
def _inside_pillow(size: int) -> Font:
    return ImageFont.load_default(size)
