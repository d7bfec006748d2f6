"""Paints the settings: sky, land and water of each place in each light, never the things in it.

What could be mistaken for a thing of the scene (a moon, clouds, stars, trees) is left out where the scene has
such a thing, so that a caption's count stays true.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from hivlp.data.scenes.things.pen import RGB, mix

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


def _stars(c: Canvas, bottom: float, count: int) -> None:
    if "star" in c.kinds:
        return
    for _ in range(count):
        radius = c.look.choice((1.6, 2.2, 3.0))
        c.oval((232, 232, 246), c.look.uniform(0, 1000), c.look.uniform(0, bottom), radius, radius)


def _cloud(c: Canvas, colour: RGB, x: float, y: float, wide: float) -> None:
    c.oval(colour, x, y, wide, wide * 0.22)
    c.oval(colour, x - wide * 0.3, y - wide * 0.14, wide * 0.36, wide * 0.24)
    c.oval(colour, x + wide * 0.22, y - wide * 0.2, wide * 0.42, wide * 0.32)


def _sky(c: Canvas, horizon: float) -> None:
    """The sky down to the horizon with what belongs to the light: sun, haze, moon, rain clouds."""
    upper, lower = c.look.choice(SKIES[c.light])
    c.fade(0, horizon + 4, upper, lower)
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
        _stars(c, horizon * 0.9, 34)
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
            _cloud(c, shade, c.look.uniform(0, 1000), y, c.look.uniform(60, 120))


def _water(c: Canvas, top: float, bottom: float, upper: RGB, lower: RGB) -> None:
    """Water with short glints that grow towards the viewer."""
    upper, lower = c.lit(upper), c.lit(lower)
    c.fade(top, bottom, upper, lower)
    depth = bottom - top
    for _ in range(int(14 + depth / 16)):
        t = c.look.random()
        y, x = top + 8 + t * (depth - 14), c.look.uniform(-20, 1000)
        wide = 20 + 50 * t * depth / 500
        c.line(mix(mix(upper, lower, t), (255, 255, 255), 0.3), 3 + 3 * t, x, y, x + wide, y)


def _tufts(c: Canvas, colour: RGB, top: float, count: int) -> None:
    for _ in range(count):
        x, y = c.look.uniform(0, 1000), c.look.uniform(top, 990)
        h = 10 + 22 * (y - top) / (1000 - top)
        c.line(colour, 5, x - h * 0.5, y - h, x, y, x + h * 0.5, y - h)


def _specks(c: Canvas, colour: RGB, top: float, count: int, size: float = 4) -> None:
    for _ in range(count):
        c.oval(colour, c.look.uniform(0, 1000), c.look.uniform(top, 1000), size, size * 0.6)


def _woods(c: Canvas, colour: RGB, y: float, high: float, *, pointed: bool) -> None:
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


def _meadow(c: Canvas, top: float, upper: RGB, lower: RGB) -> None:
    upper, lower = c.lit(upper), c.lit(lower)
    c.fade(top, 1000, upper, lower)
    _tufts(c, mix(lower, (20, 60, 30), 0.22), top + 60, 26)


def beach(c: Canvas) -> None:
    """Sky, sea and sand."""
    _sky(c, 430)
    _water(c, 430, 700, (84, 174, 214), (110, 204, 216))
    sand = c.lit((246, 222, 170))
    c.hills(mix(sand, (255, 255, 255), 0.6), 648, 26, waves=c.near(2.4, 0.8))
    c.hills(sand, 664, 26, waves=c.near(2.4, 0.8))
    _specks(c, mix(sand, (150, 110, 60), 0.3), 720, 46)


def sea(c: Canvas) -> None:
    """Sky and open water with long waves."""
    _sky(c, 480)
    _water(c, 480, 1000, (96, 172, 208), (30, 104, 164))
    for y in (620, 760, 900):
        wave = mix(c.lit((64, 142, 192)), (255, 255, 255), 0.06)
        c.hills(mix(wave, c.lit((24, 96, 158)), (y - 560) / 500), c.near(y, 20), 16, waves=c.near(7, 2))


def harbour(c: Canvas) -> None:
    """Water between far house fronts and a quay."""
    _sky(c, 430)
    x = -10.0
    while x < 1000:
        wide = c.near(74, 24)
        high = c.near(84, 34)
        wall = mix(
            c.lit(c.look.choice(((214, 178, 150), (190, 170, 170), (226, 206, 170), (176, 150, 146)))),
            (180, 190, 206),
            0.3,
        )
        c.rect(wall, x, 470 - high, x + wide, 482)
        c.poly(
            mix(wall, (90, 60, 60), 0.45),
            x - 4,
            470 - high,
            x + wide / 2,
            436 - high,
            x + wide + 4,
            470 - high,
        )
        x += wide + 4
    _water(c, 480, 730, (86, 150, 178), (54, 118, 152))
    stone = c.lit((186, 178, 168))
    c.fade(720, 1000, stone, mix(stone, (90, 84, 90), 0.22))
    c.rect(mix(stone, (60, 56, 66), 0.4), 0, 716, 1000, 734)
    for row in range(4):
        y = 776 + row * 60
        c.line(mix(stone, (80, 74, 80), 0.3), 3, 0, y, 1000, y)
        for column in range(7):
            x = column * 170 + (row % 2) * 85
            c.line(mix(stone, (80, 74, 80), 0.3), 3, x, y, x, y + 60)


def city(c: Canvas) -> None:
    """Rows of tall buildings over a street; windows are lit at night."""
    _sky(c, 640)
    for far in (True, False):
        x = -20.0
        while x < 1000:
            wide, top = c.near(104, 26), c.near(340 if far else 440, 70)
            colours = ((150, 164, 186), (172, 160, 172), (140, 158, 172), (186, 174, 168))
            wall = mix(
                c.lit(c.look.choice(colours)),
                (196, 208, 222) if c.light != "night" else (40, 46, 90),
                0.5 if far else 0.1,
            )
            c.rect(wall, x, top, x + wide, 660)
            if not far:
                _windows(c, wall, x, top, wide)
            x += wide + (2 if far else c.near(24, 20))
    path = c.lit((190, 190, 194))
    c.rect(path, 0, 650, 1000, 740)
    road = c.lit((98, 102, 114))
    c.fade(736, 1000, road, mix(road, (30, 30, 40), 0.25))
    c.rect(mix(path, (40, 40, 50), 0.35), 0, 730, 1000, 742)
    for x in range(30, 1000, 190):
        c.rect(mix(road, (255, 255, 255), 0.6), x, 866, x + 100, 878)


def _windows(c: Canvas, wall: RGB, x: float, top: float, wide: float) -> None:
    lit, unlit = (255, 222, 130), mix(wall, (40, 60, 90), 0.35)
    for row in range(int((630 - top) / 42)):
        for column in range(max(1, int((wide - 14) / 28))):
            colour = lit if c.light == "night" and c.look.random() < 0.55 else unlit
            left, y = x + 12 + column * 28, top + 16 + row * 42
            c.rect(colour, left, y, left + 14, y + 20)


def road(c: Canvas) -> None:
    """A country road through hills."""
    _sky(c, 520)
    c.hills(c.lit((150, 196, 150)), 470, 70, waves=2)
    c.hills(c.lit((126, 184, 112)), 530, 50, waves=3)
    _meadow(c, 600, (136, 192, 102), (120, 178, 92))
    tar = c.lit((124, 124, 132))
    c.rect(c.lit((206, 196, 170)), 0, 716, 1000, 975)
    c.fade(726, 965, tar, mix(tar, (40, 40, 50), 0.2))
    for x in range(20, 1000, 180):
        c.rect(mix(tar, (255, 255, 255), 0.7), x, 838, x + 96, 848)


def forest(c: Canvas) -> None:
    """Trunks in several depths under a dense roof of leaves."""
    upper, lower = {
        "day": ((164, 212, 164), (222, 238, 196)),
        "night": ((22, 40, 64), (44, 74, 92)),
        "rain": ((124, 148, 146), (166, 182, 172)),
    }[c.light]
    c.fade(0, 720, upper, lower)
    for depth in range(3):
        trunk = mix(c.lit((112, 82, 60)), lower, 0.62 - depth * 0.26)
        for _ in range(6 - depth):
            x, wide = c.look.uniform(0, 1000), 16 + depth * 14
            c.poly(trunk, x - wide * 0.7, 0, x + wide * 0.7, 0, x + wide, 720, x - wide, 720)
        leaves = mix(c.lit((66, 132, 76)), lower, 0.5 - depth * 0.2)
        for _ in range(9):
            c.oval(leaves, c.look.uniform(0, 1000), c.near(100 - depth * 55, 36), 120, 70)
    floor = c.lit((122, 148, 84))
    c.hills(floor, 692, 24)
    c.fade(720, 1000, floor, mix(floor, c.lit((84, 70, 44)), 0.5))
    _tufts(c, mix(floor, (30, 70, 40), 0.3), 730, 30)
    _specks(c, mix(floor, (150, 110, 50), 0.4), 740, 20, 6)


def snow(c: Canvas) -> None:
    """White hills with far firs."""
    _sky(c, 560)
    c.hills(c.lit((214, 228, 242)), 500, 70, waves=2)
    if "tree" not in c.kinds:
        _woods(
            c,
            mix(c.lit((74, 112, 110)), (200, 214, 226), 0.3 if c.light == "day" else 0.05),
            560,
            84,
            pointed=True,
        )
    ground = c.lit((238, 244, 250)) if c.light != "night" else (132, 148, 190)
    c.hills(mix(ground, (150, 178, 214), 0.18), 580, 40, waves=2)
    c.hills(ground, 640, 46, waves=1.6)
    c.fade(700, 1000, ground, mix(ground, (150, 180, 216), 0.28))


def _flakes(c: Canvas) -> None:
    for _ in range(44):
        radius = c.look.choice((3.0, 4.0, 5.5))
        c.oval((255, 255, 255), c.look.uniform(0, 1000), c.look.uniform(0, 1000), radius, radius)


def desert(c: Canvas) -> None:
    """Dunes, one behind the other."""
    _sky(c, 520)
    sand = c.lit((240, 200, 132))
    c.hills(mix(sand, (206, 150, 100), 0.4), 480, 90, waves=1.7)
    c.hills(mix(sand, (220, 166, 106), 0.3), 560, 70, waves=2.2)
    c.hills(sand, 650, 50, waves=1.4)
    c.fade(704, 1000, sand, mix(sand, (214, 156, 94), 0.4))
    for _ in range(7):
        x, y = c.look.uniform(0, 900), c.look.uniform(730, 980)
        c.line(mix(sand, (190, 130, 76), 0.35), 4, x, y, x + 60, y - 8, x + 130, y)


def mountains(c: Canvas) -> None:
    """Peaks with snow over a meadow."""
    _sky(c, 620)
    for far in (True, False):
        rock = mix(c.lit((132, 142, 164)), SKIES[c.light][0][1], 0.4 if far else 0.05)
        x = c.near(0, 90)
        while x < 1100:
            high, wide = c.near(330 if far else 260, 60), c.near(230, 40)
            c.poly(rock, x - wide, 690, x, 690 - high, x + wide, 690)
            c.poly(mix(rock, (40, 44, 80), 0.16), x, 690 - high, x + wide, 690, x + wide * 0.2, 690)
            cap, drop = 0.3 * wide, 0.3 * high
            top = 690 - high
            c.poly(
                mix((250, 252, 255), rock, 0.12), x, top, x + cap, top + drop, x + cap * 0.4, top + drop * 0.8,
                x, top + drop * 1.2, x - cap * 0.5, top + drop * 0.8, x - cap, top + drop,
            )  # fmt: skip
            x += wide * (1.3 if far else 1.9)
    if "tree" not in c.kinds:
        _woods(c, c.lit((64, 116, 92)), 690, 56, pointed=True)
    _meadow(c, 690, (132, 188, 108), (108, 170, 88))


def farm(c: Canvas) -> None:
    """Fields in stripes."""
    _sky(c, 500)
    c.hills(c.lit((156, 200, 140)), 476, 50, waves=2)
    field = c.lit((228, 204, 112))
    c.hills(field, 530, 34, waves=1.2)
    for k in range(-4, 15):
        c.line(mix(field, (176, 140, 62), 0.3), 5, 500 + (k - 5) * 60, 560, 500 + (k - 5) * 150, 700)
    edge = c.lit((140, 192, 96))
    c.hills(edge, 640, 26, waves=2)
    c.fade(668, 1000, edge, c.lit((112, 172, 82)))
    _tufts(c, mix(edge, (40, 90, 30), 0.35), 690, 28)


def park(c: Canvas) -> None:
    """Lawn, a winding path and a far hedge."""
    _sky(c, 540)
    if "tree" not in c.kinds:
        _woods(c, c.lit((98, 160, 104)), 560, 110, pointed=False)
    else:
        c.hills(c.lit((150, 200, 146)), 540, 36, waves=2)
    _meadow(c, 570, (152, 208, 112), (116, 184, 90))
    bend = c.near(0, 120)
    path = c.lit((232, 216, 178))
    c.poly(
        path, 480 + bend, 570, 520 + bend, 570, 600 + bend * 0.4, 660, 570, 780, 760, 1000, 420, 1000, 420, 780,
        520 + bend * 0.4, 660,
    )  # fmt: skip
    if "flower" not in c.kinds:
        for _ in range(12):
            x, y = c.look.uniform(0, 1000), c.look.uniform(620, 990)
            c.oval(c.lit(c.look.choice(((255, 250, 240), (255, 224, 120), (246, 190, 214)))), x, y, 5, 5)


def lake(c: Canvas) -> None:
    """Still water between far woods and a near shore."""
    _sky(c, 440)
    c.hills(mix(c.lit((126, 166, 160)), SKIES[c.light][0][1], 0.3), 370, 90, bottom=460, waves=1.6)
    if "tree" not in c.kinds:
        _woods(c, c.lit((82, 138, 104)), 460, 60, pointed=True)
    else:
        c.hills(c.lit((110, 162, 116)), 430, 30, bottom=470, waves=3)
    _water(c, 462, 780, (142, 200, 220), (78, 152, 190))
    grass = c.lit((134, 190, 106))
    c.hills(c.lit((214, 200, 150)), 742, 26, waves=2)
    c.hills(grass, 764, 26, waves=2)
    c.fade(800, 1000, grass, c.lit((106, 168, 86)))
    _tufts(c, mix(grass, (30, 80, 40), 0.3), 810, 24)


def kitchen(c: Canvas) -> None:
    """A tiled wall and a wooden table."""
    wall = c.look.choice(((246, 236, 214), (214, 232, 226), (226, 226, 240), (244, 224, 214)))
    c.fade(0, 660, wall, mix(wall, (255, 255, 255), 0.3))
    line = mix(wall, (150, 140, 140), 0.2)
    for y in range(430, 660, 76):
        c.line(line, 3, 0, y, 1000, y)
    for x in range(round(c.near(40, 30)), 1000, 110):
        c.line(line, 3, x, 430, x, 660)
    if c.look.random() < 0.6 and "clock" not in c.kinds:
        x = c.look.choice((150, 640))
        c.rect((252, 252, 250), x - 12, 68, x + 212, 332)
        c.rect((176, 218, 246), x, 80, x + 200, 320)
        c.poly((206, 234, 250), x, 250, x, 320, x + 200, 320, x + 200, 150)
        c.rect((252, 252, 250), x + 95, 80, x + 105, 320)
        c.rect((252, 252, 250), x, 195, x + 200, 205)
    wood = c.look.choice(((204, 158, 108), (188, 140, 98), (220, 182, 136)))
    c.fade(660, 1000, wood, mix(wood, (110, 70, 40), 0.3))
    c.rect(mix(wood, (255, 240, 210), 0.4), 0, 656, 1000, 668)
    for _ in range(9):
        x, y = c.look.uniform(-50, 900), c.look.uniform(690, 990)
        c.line(mix(wood, (110, 70, 40), 0.35), 3, x, y, x + c.near(160, 60), y)


def room(c: Canvas) -> None:
    """A papered wall, a skirting board, a floor and a rug."""
    wall = c.look.choice(
        ((232, 216, 196), (198, 214, 214), (224, 206, 210), (206, 208, 226), (214, 222, 196))
    )
    c.fade(0, 700, mix(wall, (255, 255, 255), 0.2), wall)
    for x in range(20, 1000, 66):
        c.line(mix(wall, (255, 255, 255), 0.28), 8, x, 0, x, 690)
    c.rect((250, 246, 238), 0, 676, 1000, 704)
    wood = c.look.choice(((190, 146, 106), (174, 130, 96), (206, 166, 126)))
    c.fade(702, 1000, mix(wood, (90, 60, 40), 0.15), wood)
    for y in (752, 816, 890):
        c.line(mix(wood, (90, 60, 40), 0.35), 3, 0, y, 1000, y)
    if c.look.random() < 0.7:
        rug = c.look.choice(((198, 120, 112), (120, 146, 178), (156, 168, 130), (200, 170, 120)))
        x = c.near(500, 60)
        c.oval(mix(rug, (255, 255, 255), 0.5), x, 880, 420, 96)
        c.oval(rug, x, 880, 394, 84)


def underwater(c: Canvas) -> None:
    """Blue depth with rays of light, weed and a sandy floor."""
    upper, lower = c.look.choice(
        (((112, 206, 226), (22, 88, 146)), ((96, 190, 222), (20, 72, 132)), ((120, 214, 214), (18, 96, 132)))
    )
    c.fade(0, 1000, upper, lower)
    for _ in range(4):
        x, wide = c.look.uniform(0, 900), c.look.uniform(30, 70)
        c.poly(mix(upper, (255, 255, 255), 0.12), x, 0, x + wide, 0, x + wide * 1.6 - 120, 330, x - 150, 330)
    sand = mix((232, 212, 160), lower, 0.22)
    c.hills(mix(sand, lower, 0.35), 800, 40, waves=2)
    c.hills(sand, 850, 30, waves=2.4)
    for _ in range(7):
        x, y, h = c.look.uniform(0, 1000), c.look.uniform(850, 930), c.look.uniform(60, 130)
        weed = c.look.choice(((48, 142, 112), (36, 120, 104), (86, 158, 92)))
        c.line(weed, 11, x, y, x + 12, y - h * 0.35, x - 8, y - h * 0.7, x + 6, y - h)
    for _ in range(14):
        x, y, r = c.look.uniform(0, 1000), c.look.uniform(60, 820), c.look.uniform(4, 9)
        c.draw.ellipse(((x - r) * c.k, (y - r) * c.k, (x + r) * c.k, (y + r) * c.k), outline=(206, 240, 248))


def moon(c: Canvas) -> None:
    """Grey ground with craters under black sky."""
    c.fade(0, 720, (10, 12, 30), (34, 34, 66))
    _stars(c, 640, 60)
    ground = c.look.choice(((186, 188, 200), (174, 178, 196), (196, 192, 192)))
    c.hills(mix(ground, (70, 72, 100), 0.4), 600, 50, waves=2.4)
    c.hills(ground, 660, 36, waves=1.8)
    c.fade(690, 1000, ground, mix(ground, (120, 120, 140), 0.3))
    for _ in range(8):
        x, y = c.look.uniform(0, 1000), c.look.uniform(720, 980)
        r = 20 + 50 * (y - 700) / 300
        c.oval(mix(ground, (90, 92, 116), 0.5), x, y, r, r * 0.34)
        c.oval(mix(ground, (110, 112, 134), 0.25), x, y + r * 0.08, r * 0.86, r * 0.24)


def space(c: Canvas) -> None:
    """Dark depth with soft clouds of gas and far stars."""
    upper, lower = c.look.choice(
        (((14, 12, 40), (44, 26, 78)), ((8, 16, 44), (20, 50, 88)), ((20, 10, 42), (62, 28, 70)))
    )
    c.fade(0, 1000, upper, lower)
    for _ in range(3):
        x, y, wide = c.look.uniform(0, 1000), c.look.uniform(0, 1000), c.look.uniform(140, 260)
        for k in range(4):
            share = 0.04 + k * 0.03
            c.oval(
                mix(mix(upper, lower, y / 1000), (140, 110, 200), share),
                x,
                y,
                wide * (1 - k * 0.2),
                wide * 0.5 * (1 - k * 0.2),
            )
    _stars(c, 1000, 90)


def _rain(c: Canvas) -> None:
    for _ in range(60):
        x, y = c.look.uniform(-20, 1020), c.look.uniform(-20, 1000)
        c.line((206, 216, 228), 2.4, x, y, x - 9, y + 34)


PAINTERS: dict[str, Callable[[Canvas], None]] = {
    "beach": beach,
    "sea": sea,
    "harbour": harbour,
    "city": city,
    "road": road,
    "forest": forest,
    "snow": snow,
    "desert": desert,
    "mountains": mountains,
    "farm": farm,
    "park": park,
    "lake": lake,
    "kitchen": kitchen,
    "room": room,
    "underwater": underwater,
    "moon": moon,
    "space": space,
}


def paint(canvas: Canvas, setting: str) -> None:
    """Everything behind the things."""
    PAINTERS[setting](canvas)


def finish(canvas: Canvas, setting: str) -> None:
    """What falls in front of the things: rain or snow."""
    if canvas.light == "rain":
        _rain(canvas)
    elif setting == "snow":
        _flakes(canvas)
