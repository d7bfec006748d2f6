"""Paints the settings under the open sky of the earth, without the things in them."""

from __future__ import annotations

import math

from hivlp.scenes.canvas import SKIES, Canvas, meadow, sky, specks, tufts, water, woods
from hivlp.scenes.things.pen import RGB, mix


def beach(c: Canvas) -> None:
    """Sky, sea and sand."""
    sky(c, 430)
    water(c, 430, 700, (84, 174, 214), (110, 204, 216))
    sand = c.lit((246, 222, 170))
    c.hills(mix(sand, (255, 255, 255), 0.6), 648, 26, waves=c.near(2.4, 0.8))
    c.hills(sand, 664, 26, waves=c.near(2.4, 0.8))
    specks(c, mix(sand, (150, 110, 60), 0.3), 720, 46)


def sea(c: Canvas) -> None:
    """Sky and open water with long waves."""
    sky(c, 480)
    water(c, 480, 1000, (96, 172, 208), (30, 104, 164))
    for y in (620, 760, 900):
        wave = mix(c.lit((64, 142, 192)), (255, 255, 255), 0.06)
        c.hills(mix(wave, c.lit((24, 96, 158)), (y - 560) / 500), c.near(y, 20), 16, waves=c.near(7, 2))


def harbour(c: Canvas) -> None:
    """Water between far house fronts and a quay."""
    sky(c, 430)
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
    water(c, 480, 730, (86, 150, 178), (54, 118, 152))
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
    sky(c, 640)
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
    sky(c, 520)
    c.hills(c.lit((150, 196, 150)), 470, 70, waves=2)
    c.hills(c.lit((126, 184, 112)), 530, 50, waves=3)
    meadow(c, 600, (136, 192, 102), (120, 178, 92))
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
    tufts(c, mix(floor, (30, 70, 40), 0.3), 730, 30)
    specks(c, mix(floor, (150, 110, 50), 0.4), 740, 20, 6)


def snow(c: Canvas) -> None:
    """White hills with far firs."""
    sky(c, 560)
    c.hills(c.lit((214, 228, 242)), 500, 70, waves=2)
    if "tree" not in c.kinds:
        woods(
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


def desert(c: Canvas) -> None:
    """Dunes, one behind the other."""
    sky(c, 520)
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
    sky(c, 620)
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
                mix((250, 252, 255), rock, 0.12),
                x, top, x + cap, top + drop, x + cap * 0.4, top + drop * 0.8,
                x, top + drop * 1.2, x - cap * 0.5, top + drop * 0.8, x - cap, top + drop,
            )  # fmt: skip
            x += wide * (1.3 if far else 1.9)
    if "tree" not in c.kinds:
        woods(c, c.lit((64, 116, 92)), 690, 56, pointed=True)
    meadow(c, 690, (132, 188, 108), (108, 170, 88))


def farm(c: Canvas) -> None:
    """Fields in stripes."""
    sky(c, 500)
    c.hills(c.lit((156, 200, 140)), 476, 50, waves=2)
    field = c.lit((228, 204, 112))
    c.hills(field, 530, 34, waves=1.2)
    for k in range(-4, 15):
        c.line(mix(field, (176, 140, 62), 0.3), 5, 500 + (k - 5) * 60, 560, 500 + (k - 5) * 150, 700)
    edge = c.lit((140, 192, 96))
    c.hills(edge, 640, 26, waves=2)
    c.fade(668, 1000, edge, c.lit((112, 172, 82)))
    tufts(c, mix(edge, (40, 90, 30), 0.35), 690, 28)


def park(c: Canvas) -> None:
    """Lawn, a winding path and a far hedge."""
    sky(c, 540)
    if "tree" not in c.kinds:
        woods(c, c.lit((98, 160, 104)), 560, 110, pointed=False)
    else:
        c.hills(c.lit((150, 200, 146)), 540, 36, waves=2)
    meadow(c, 570, (152, 208, 112), (116, 184, 90))
    bend, lean = c.look.uniform(-170, 170), c.near(500, 160)
    left: list[float] = []
    right: list[float] = []
    for step in range(13):
        t = step / 12
        x = lean + bend * math.sin(t * 4.2) * (0.3 + 0.7 * t)
        left += [x - 16 - 120 * t * t, 570 + 430 * t]
        right = [x + 16 + 120 * t * t, 570 + 430 * t, *right]
    c.poly(c.lit((232, 216, 178)), *left, *right)
    if "flower" not in c.kinds:
        for _ in range(12):
            x, y = c.look.uniform(0, 1000), c.look.uniform(620, 990)
            c.oval(c.lit(c.look.choice(((255, 250, 240), (255, 224, 120), (246, 190, 214)))), x, y, 5, 5)


def lake(c: Canvas) -> None:
    """Still water between far woods and a near shore."""
    sky(c, 440)
    c.hills(mix(c.lit((126, 166, 160)), SKIES[c.light][0][1], 0.3), 370, 90, bottom=460, waves=1.6)
    if "tree" not in c.kinds:
        woods(c, c.lit((82, 138, 104)), 460, 60, pointed=True)
    else:
        c.hills(c.lit((110, 162, 116)), 430, 30, bottom=470, waves=3)
    water(c, 462, 780, (142, 200, 220), (78, 152, 190))
    grass = c.lit((134, 190, 106))
    c.hills(c.lit((214, 200, 150)), 742, 26, waves=2)
    c.hills(grass, 764, 26, waves=2)
    c.fade(800, 1000, grass, c.lit((106, 168, 86)))
    tufts(c, mix(grass, (30, 80, 40), 0.3), 810, 24)
