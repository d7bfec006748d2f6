"""Draws a sheet of scenes with a caption under each: what `scenes:COUNT` looks like.

python examples/scenes_sheet.py [FILE] [SEED]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from hivlp import scenes

COLUMNS, ROWS = 4, 3
SIDE, GAP, LINES, LINE_HEIGHT = 160, 18, 4, 15
PAPER, INK = (255, 255, 255), (60, 60, 60)


def wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> Iterator[str]:
    """Lines of a text that fit a width in pixels."""
    line = ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and font.getlength(longer) > width:
            yield line
            longer = word
        line = longer
    yield line


def sheet(seed: int) -> Image.Image:
    """A grid of scenes of different settings, each with its first caption."""
    font = ImageFont.load_default(size=12)
    cell = (SIDE + GAP, SIDE + LINES * LINE_HEIGHT + GAP)
    picture = Image.new("RGB", (COLUMNS * cell[0] + GAP, ROWS * cell[1] + GAP), PAPER)
    draw = ImageDraw.Draw(picture)
    for place, spec in enumerate(different_settings(seed, COLUMNS * ROWS)):
        left, top = GAP + place % COLUMNS * cell[0], GAP + place // COLUMNS * cell[1]
        # Drawn at four times the size and reduced: smooth edges.
        picture.paste(
            scenes.render(spec, size=4 * SIDE).resize((SIDE, SIDE), Image.Resampling.BOX), (left, top)
        )
        for number, line in enumerate(wrapped(spec.captions[0], font, SIDE)):
            draw.text((left, top + SIDE + 4 + number * LINE_HEIGHT), line, INK, font=font)
    return picture


def different_settings(seed: int, count: int) -> Iterator[scenes.SceneSpec]:
    """Scenes in the order of their seeds, every setting once, captions short enough for a sheet."""
    seen: set[str] = set()
    while len(seen) < count:
        spec = scenes.describe(seed)
        seed += 1
        setting = str(spec.meta["setting"])
        if setting not in seen and len(spec.captions[0]) <= 80:
            seen.add(setting)
            yield spec


def main() -> None:
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "scenes.png")
    picture = sheet(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    picture.save(path, optimize=True)
    print(f"{path}: {picture.width}×{picture.height}, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
