"""Draws plants and what shines or drifts in the sky."""

# Every public function draws the thing it is named after, in the middle of the pen's box.
# ruff: noqa: D103

from __future__ import annotations

import math

from hivlp.scenes.things.pen import CREAM, LEAF, WHITE, WOOD, Paint, Pen


def tree(pen: Pen, c: Paint) -> None:
    pen.poly(WOOD, 43, 50, 57, 50, 61, 99, 39, 99)
    pen.oval(c.dark, 4, 28, 60, 72)
    pen.oval(c.dark, 40, 28, 97, 72)
    pen.oval(c.base, 14, 1, 86, 50)
    pen.oval(c.base, 5, 24, 58, 66)
    pen.oval(c.base, 44, 24, 96, 66)
    pen.oval(c.light, 24, 6, 54, 28)


def flower(pen: Pen, c: Paint) -> None:
    pen.line(LEAF, 6, 50, 40, 50, 98)
    pen.poly(LEAF, 50, 84, 80, 62, 92, 66, 74, 82)
    pen.poly(LEAF, 50, 92, 20, 70, 8, 76, 26, 90)
    for k in range(6):
        x, y = 50 + 28 * math.cos(k * math.pi / 3), 28 + 17 * math.sin(k * math.pi / 3)
        pen.oval(c.base, x - 20, y - 12.5, x + 20, y + 12.5)
    for k in range(6):
        x, y = 50 + 20 * math.cos(k * math.pi / 3), 28 + 12 * math.sin(k * math.pi / 3)
        pen.dot(c.light, x, y, 6)
    pen.dot((236, 170, 40) if c.base[2] < 90 < c.base[1] - 60 else (252, 214, 70), 50, 28, 15)


def mushroom(pen: Pen, c: Paint) -> None:
    pen.rect(CREAM, 36, 46, 64, 99, 12)
    pen.rect((226, 214, 190), 54, 50, 64, 98, 8)
    pen.chord(c.base, 2, 2, 98, 112, 180, 360)
    pen.oval(c.dark, 2, 48, 98, 66)
    for x, y, r in ((30, 34, 8), (56, 18, 8), (74, 40, 7), (48, 42, 5)):
        pen.dot(WHITE, x, y, r)


def cactus(pen: Pen, c: Paint) -> None:
    green, dark = (74, 146, 88), (52, 116, 70)
    pen.line(green, 18, 14, 40, 14, 58, 40, 62)
    pen.line(green, 18, 86, 30, 86, 48, 60, 54)
    pen.rect(green, 34, 12, 66, 99, 16)
    for x in (42, 50, 58):
        pen.line(dark, 2, x, 22, x, 96)
    for x, y in ((50, 9), (14, 38), (86, 28)):
        for dx, dy in ((-9, 0), (9, 0), (0, -4), (0, 4)):
            pen.dot(c.base, x + dx * 0.9, y + dy, 9)
        pen.dot(WHITE if c.base[0] > 240 and c.base[1] > 200 else (252, 220, 90), x, y, 6)


def star(pen: Pen, c: Paint) -> None:
    points: list[float] = []
    for k in range(10):
        radius = 50 if k % 2 == 0 else 22
        angle = math.pi * (k / 5 - 0.5)
        points += [50 + radius * math.cos(angle), 53 + radius * math.sin(angle)]
    pen.poly(c.base, *points)
    inner = [50 + (p - 50) * 0.5 if i % 2 == 0 else 53 + (p - 53) * 0.5 for i, p in enumerate(points)]
    pen.poly(c.light, *inner)


def moon(pen: Pen, c: Paint) -> None:
    # A crescent as one polygon: an outer half circle and a flatter inner one back.
    points: list[float] = []
    for k in range(21):
        angle = math.pi * (0.32 + 1.36 * k / 20)
        points += [56 + 52 * math.cos(angle), 50 + 49 * math.sin(angle)]
    for k in range(21):
        angle = math.pi * (1.68 - 1.36 * k / 20)
        points += [69 + 37 * math.cos(angle) * 0.9, 50 + 49 * math.sin(angle) * 0.86]
    pen.poly(c.base, *points)
    pen.dot(c.dark, 20, 46, 5)
    pen.dot(c.dark, 27, 66, 4)


def cloud(pen: Pen, c: Paint) -> None:
    pen.rect(c.base, 4, 52, 96, 98, 40)
    pen.oval(c.base, 14, 22, 56, 92)
    pen.oval(c.base, 38, 2, 82, 90)
    pen.oval(c.light, 44, 10, 70, 46)


def planet(pen: Pen, c: Paint) -> None:
    pen.arc(c.light, 7, 1, 34, 99, 70, 180, 360)
    pen.dot(c.base, 50, 50, 46)
    pen.chord(c.dark, 15, 4, 85, 96, 20, 160)
    pen.oval(c.light, 30, 16, 52, 32)
    pen.arc(CREAM, 7, 1, 34, 99, 70, -14, 194)


def plant(pen: Pen, c: Paint) -> None:
    for x, y in ((14, 26), (32, 8), (50, 2), (68, 8), (86, 26)):
        side = 9 if abs(x - 50) > 10 else 11
        pen.poly(LEAF, 50, 66, x - side, y + 12, x, y, x + side, y + 12)
        pen.line((44, 120, 62), 2, 50, 64, x, y + 6)
    pen.poly(c.base, 20, 66, 80, 66, 70, 99, 30, 99)
    pen.rect(c.dark, 16, 62, 84, 71, 4)
