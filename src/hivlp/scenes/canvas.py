"""A canvas for settings, and what many of them share: sky, water, woods, grass; it knows no place.

What could be mistaken for a thing of the scene (a moon, clouds, stars, trees) is left out where the scene has
such a thing, so that a caption's count stays true.
"""

from __future__ import annotations

import math
import random

import numpy as np
from PIL import Image, ImageDraw

from hivlp.scenes.things.pen import RGB, mix

# Upper and lower colour of the sky, several variants for each light.
SKIES: dict[str, tuple[tuple[RGB, RGB], ...]] = {
    "day": (
        ((110, 184, 240), (214, 240, 252)),
        ((126, 200, 244), (236, 246, 244)),
        ((96, 172, 232), (200, 232, 248)),
    ),
    "sunset": (
        ((92, 74, 148), (255, 178, 122)),
        ((122, 84, 150), (255, 196, 138)),
        ((232, 128, 124), (255, 214, 150)),
    ),
    "night": (((16, 20, 56), (58, 66, 124)), ((20, 22, 60), (76, 70, 132)), ((12, 26, 62), (48, 82, 128))),
    "rain": (((112, 124, 142), (178, 188, 198)), ((102, 116, 136), (168, 182, 190))),
}


class Canvas:
    """A picture to paint on in thousandths of its side, with this scene's light and chance."""

    def __init__(self, side: int, light: str, kinds: frozenset[str], look: random.Random) -> None:
        self.side, self.light, self.kinds, self.look = side, light, kinds, look
        self.image = Image.new("RGB", (side, side))
        self.draw = ImageDraw.Draw(self.image)
        self.k = side / 1000

    def near(self, value: float, by: float) -> float:
        """The value, give or take a little."""
        return value + self.look.uniform(-by, by)

    def lit(self, colour: RGB) -> RGB:
        """A colour of land or water in this scene's light, a little different in every picture."""
        shift = self.look.uniform(-7, 7)
        r, g, b = (max(0, min(255, round(v + shift))) for v in colour)
        if self.light == "night":
            return mix((r // 3, round(g * 0.38), round(b * 0.55)), (34, 40, 92), 0.35)
        if self.light == "sunset":
            return mix((r, g, b), (206, 104, 92), 0.26)
        if self.light == "rain":
            return mix((r, g, b), (104, 116, 128), 0.36)
        return r, g, b

    def fade(self, top: float, bottom: float, upper: RGB, lower: RGB) -> None:
        """A vertical gradient over the whole width."""
        y0, y1 = round(top * self.k), round(bottom * self.k)
        share = np.linspace(0.0, 1.0, max(1, y1 - y0))[:, None]
        column = np.asarray(upper) * (1 - share) + np.asarray(lower) * share
        strip = Image.fromarray(np.round(column).astype(np.uint8)[:, None, :])
        self.image.paste(strip.resize((self.side, y1 - y0), Image.Resampling.NEAREST), (0, y0))

    def poly(self, fill: RGB, *numbers: float) -> None:
        k = self.k
        self.draw.polygon(
            [(x * k, y * k) for x, y in zip(numbers[::2], numbers[1::2], strict=True)], fill=fill
        )

    def oval(self, fill: RGB, x: float, y: float, rx: float, ry: float) -> None:
        k = self.k
        self.draw.ellipse(((x - rx) * k, (y - ry) * k, (x + rx) * k, (y + ry) * k), fill=fill)

    def rect(self, fill: RGB, x0: float, y0: float, x1: float, y1: float) -> None:
        k = self.k
        self.draw.rectangle((x0 * k, y0 * k, x1 * k, y1 * k), fill=fill)

    def line(self, fill: RGB, width: float, *numbers: float) -> None:
        k = self.k
        points = [(x * k, y * k) for x, y in zip(numbers[::2], numbers[1::2], strict=True)]
        self.draw.line(points, fill=fill, width=max(1, round(width * k)))

    def hills(self, fill: RGB, y: float, height: float, *, bottom: float = 1000, waves: float = 2.0) -> None:
        """Rolling hills whose crest is about ``y``, filled down to ``bottom``."""
        phase, phase2 = self.look.uniform(0, 6.3), self.look.uniform(0, 6.3)
        points: list[float] = []
        for step in range(26):
            t = step / 25
            crest = math.sin(phase + t * 6.28 * waves / 2) + 0.5 * math.sin(phase2 + t * 6.28 * waves)
            points += [t * 1000, y - height * 0.5 * crest]
        self.poly(fill, 0, bottom, *points, 1000, bottom)


def stars(c: Canvas, bottom: float, count: int) -> None:
    """Far stars, unless the scene has stars to count."""
    if "star" in c.kinds:
        return
    for _ in range(count):
        radius = c.look.choice((1.6, 2.2, 3.0))
        c.oval((232, 232, 246), c.look.uniform(0, 1000), c.look.uniform(0, bottom), radius, radius)


def cloud(c: Canvas, colour: RGB, x: float, y: float, wide: float) -> None:
    """A flat cloud."""
    c.oval(colour, x, y, wide, wide * 0.22)
    c.oval(colour, x - wide * 0.3, y - wide * 0.14, wide * 0.36, wide * 0.24)
    c.oval(colour, x + wide * 0.22, y - wide * 0.2, wide * 0.42, wide * 0.32)


def sky(c: Canvas, horizon: float) -> None:
    """The sky down to the horizon with what belongs to the light: sun, haze, moon, rain clouds."""
    upper, lower = c.look.choice(SKIES[c.light])
    c.fade(0, horizon, upper, lower)
    # Hills dip below the horizon here and there: the haze goes on behind them.
    c.rect(lower, 0, horizon, 1000, 1000)
    x = c.look.choice((c.look.uniform(80, 340), c.look.uniform(660, 920)))
    if c.light == "day":
        y = c.look.uniform(70, 150)
        c.oval(mix(mix(upper, lower, y / horizon), (255, 246, 196), 0.45), x, y, 78, 78)
        c.oval((255, 238, 150), x, y, 54, 54)
    elif c.light == "sunset":
        for radius, share in ((130, 0.25), (98, 0.5)):
            c.oval(mix(lower, (255, 226, 150), share), x, horizon - 20, radius, radius)
        c.oval((255, 236, 168), x, horizon - 20, 70, 70)
    elif c.light == "night":
        stars(c, horizon * 0.9, 34)
        if "moon" not in c.kinds:
            c.oval(mix(upper, (240, 238, 214), 0.16), x, 120, 74, 74)
            c.oval((240, 238, 214), x, 120, 48, 48)
            c.oval((224, 222, 196), x + 12, 110, 10, 10)
            c.oval((224, 222, 196), x - 14, 132, 7, 7)
    if "cloud" not in c.kinds and c.light != "night":
        colour = {"day": (250, 253, 255), "sunset": (250, 186, 160), "rain": (142, 152, 166)}[c.light]
        for _ in range(c.look.choice((1, 2, 3)) + (c.light == "rain") * 2):
            y = c.look.uniform(50, horizon * 0.62)
            shade = mix(colour, mix(upper, lower, y / horizon), 0.35)
            cloud(c, shade, c.look.uniform(0, 1000), y, c.look.uniform(60, 120))


def water(c: Canvas, top: float, bottom: float, upper: RGB, lower: RGB) -> None:
    """Water with short glints that grow towards the viewer."""
    upper, lower = c.lit(upper), c.lit(lower)
    c.fade(top, bottom, upper, lower)
    depth = bottom - top
    for _ in range(int(14 + depth / 16)):
        t = c.look.random()
        y, x = top + 8 + t * (depth - 14), c.look.uniform(-20, 1000)
        wide = 20 + 50 * t * depth / 500
        c.line(mix(mix(upper, lower, t), (255, 255, 255), 0.3), 3 + 3 * t, x, y, x + wide, y)


def tufts(c: Canvas, colour: RGB, top: float, count: int) -> None:
    """Tufts of grass."""
    for _ in range(count):
        x, y = c.look.uniform(0, 1000), c.look.uniform(top, 990)
        h = 10 + 22 * (y - top) / (1000 - top)
        c.line(colour, 5, x - h * 0.5, y - h, x, y, x + h * 0.5, y - h)


def specks(c: Canvas, colour: RGB, top: float, count: int, size: float = 4) -> None:
    """Pebbles or crumbs of soil."""
    for _ in range(count):
        c.oval(colour, c.look.uniform(0, 1000), c.look.uniform(top, 1000), size, size * 0.6)


def woods(c: Canvas, colour: RGB, y: float, high: float, *, pointed: bool) -> None:
    """A far line of trees, too small and too many to be counted."""
    c.rect(colour, 0, y - high * 0.3, 1000, y + 12)
    x = -20.0
    while x < 1010:
        h, wide = c.near(high, high * 0.35), c.near(30, 9)
        if pointed:
            c.poly(colour, x - wide, y, x, y - h, x + wide, y)
        else:
            c.oval(colour, x, y - h * 0.4, wide * 1.2, h * 0.5)
        x += wide * 1.25


def meadow(c: Canvas, top: float, upper: RGB, lower: RGB) -> None:
    """Grass down to the lower border."""
    upper, lower = c.lit(upper), c.lit(lower)
    c.fade(top, 1000, upper, lower)
    tufts(c, mix(lower, (20, 60, 30), 0.22), top + 60, 26)
