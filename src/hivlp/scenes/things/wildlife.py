"""Draws animals that fly and swim."""

# Every public function draws the thing it is named after, in the middle of the pen's box.
# ruff: noqa: D103

from __future__ import annotations

import math

from hivlp.scenes.things.pen import CREAM, DARK, WHITE, Paint, Pen

_BEAK = (246, 160, 44)


def bird(pen: Pen, c: Paint) -> None:
    pen.poly(c.dark, 24, 60, 0, 50, 4, 76, 26, 70)
    pen.poly(c.dark, 46, 50, 42, 4, 66, 20, 70, 50)
    pen.oval(c.base, 16, 40, 84, 92)
    pen.oval(c.base, 60, 26, 92, 68)
    pen.poly(_BEAK, 90, 40, 100, 48, 89, 54)
    pen.oval(c.light, 40, 68, 76, 90)
    pen.poly(c.dark, 30, 56, 16, 10, 30, 2, 62, 54, 46, 66)
    pen.eye(80, 42, 4.5)


def duck(pen: Pen, c: Paint) -> None:
    pen.poly(c.base, 2, 54, 20, 58, 22, 80)
    pen.poly(c.base, 4, 62, 96, 62, 84, 96, 20, 96)
    pen.oval(c.base, 6, 48, 94, 99)
    pen.rect(c.base, 62, 26, 84, 70, 8)
    pen.oval(c.base, 54, 3, 88, 44)
    pen.poly(_BEAK, 85, 20, 100, 26, 98, 34, 84, 34)
    pen.oval(c.dark, 24, 58, 62, 84)
    pen.eye(76, 19, 4.5)


def fish(pen: Pen, c: Paint) -> None:
    pen.poly(c.dark, 26, 50, 1, 12, 8, 50, 1, 88)
    pen.poly(c.dark, 40, 24, 58, 1, 74, 24)
    pen.poly(c.dark, 48, 78, 54, 98, 68, 78)
    pen.oval(c.base, 18, 14, 99, 86)
    pen.oval(c.light, 42, 56, 88, 82)
    pen.arc(c.dark, 5, 54, 20, 74, 80, -70, 70)
    pen.dot(WHITE, 84, 40, 11)
    pen.dot(DARK, 86, 40, 6)


def turtle(pen: Pen, c: Paint) -> None:
    skin = (132, 176, 106) if c.base[1] < 150 or c.base[0] > 150 else (186, 196, 110)
    pen.oval(skin, 14, 66, 36, 99)
    pen.oval(skin, 54, 66, 76, 99)
    pen.poly(skin, 14, 66, 1, 78, 16, 80)
    pen.oval(skin, 74, 26, 99, 68)
    pen.chord(c.base, 8, 4, 82, 150, 180, 360)
    pen.rect(c.dark, 6, 72, 84, 82, 6)
    for x, y in ((30, 52), (46, 32), (62, 52), (46, 60)):
        pen.dot(c.dark, x, y, 9)
    pen.eye(90, 42, 5)


def whale(pen: Pen, c: Paint) -> None:
    pen.line((190, 226, 242), 5, 70, 28, 70, 8, 62, 3)
    pen.line((190, 226, 242), 5, 70, 8, 78, 3)
    pen.poly(c.base, 14, 62, 1, 26, 12, 30, 18, 18, 26, 56)
    pen.oval(c.base, 10, 28, 99, 98)
    pen.chord(WHITE if c.base[0] < 220 else (206, 216, 228), 26, 40, 97, 97, 15, 165)
    pen.poly(c.dark, 46, 78, 58, 78, 48, 97, 40, 95)
    pen.eye(86, 58, 5)


def jellyfish(pen: Pen, c: Paint) -> None:
    for x in (20, 35, 50, 65, 80):
        pen.line(c.dark, 6, x, 46, x - 5, 62, x + 4, 78, x - 3, 96)
    pen.chord(c.base, 2, 2, 98, 98, 180, 360)
    for x in (14, 32, 50, 68, 86):
        pen.oval(c.base, x - 11, 40, x + 11, 60)
    pen.oval(c.light, 22, 12, 48, 28)
    pen.dot(DARK, 36, 38, 5)
    pen.dot(DARK, 64, 38, 5)


def octopus(pen: Pen, c: Paint) -> None:
    for k, x in enumerate((6, 24, 42, 58, 76, 94)):
        root = 30 + 8 * k
        pen.line(
            c.dark if k % 2 else c.base, 11, root, 56, (root + x) / 2, 78, x, 84, x + (-4 if k < 3 else 4), 94
        )
    pen.oval(c.base, 20, 1, 80, 66)
    pen.oval(c.light, 30, 8, 50, 24)
    for x in (38, 62):
        pen.dot(WHITE, x, 40, 9)
        pen.dot(DARK, x, 41, 5)
    pen.arc(c.dark, 4, 42, 44, 58, 60, 20, 160)


def starfish(pen: Pen, c: Paint) -> None:
    for k in range(5):
        angle = math.pi * (k * 0.4 - 0.5)
        pen.line(c.base, 24, 50, 52, 50 + 36 * math.cos(angle), 53 + 36 * math.sin(angle))
    pen.dot(c.base, 50, 52, 25)
    for k in range(5):
        angle = math.pi * (k * 0.4 - 0.5)
        for radius in (18, 34):
            pen.dot(c.light, 50 + radius * math.cos(angle), 53 + radius * math.sin(angle), 4)
    pen.dot(DARK, 43, 48, 4)
    pen.dot(DARK, 57, 48, 4)


def crab(pen: Pen, c: Paint) -> None:
    for side in (-1, 1):
        for y in (62, 74, 84):
            pen.line(c.dark, 6, 50 + side * 24, y - 6, 50 + side * 40, y, 50 + side * 43, y + 12)
        pen.line(c.base, 8, 50 + side * 26, 54, 50 + side * 40, 34)
        x = 50 + side * 38
        pen.pie(c.base, x - 12, 2, x + 12, 38, -60, 240)
        pen.line(c.base, 5, 50 + side * 9, 46, 50 + side * 9, 26)
        pen.dot(WHITE, 50 + side * 9, 24, 8)
        pen.dot(DARK, 50 + side * 9, 24, 4.5)
    pen.oval(c.base, 18, 36, 82, 90)
    pen.arc(c.dark, 5, 36, 54, 64, 78, 20, 160)


def butterfly(pen: Pen, c: Paint) -> None:
    for side in (-1, 1):
        x = 50 + side * 25
        pen.oval(c.base, x - 24, 4, x + 24, 60)
        pen.oval(c.dark, x - 19, 50, x + 16, 98)
        pen.oval(c.light, x - 10 + side * 4, 16, x + 10 + side * 4, 42)
        pen.oval(CREAM, x - 7, 62, x + 7, 82)
        pen.line(DARK, 3, 50, 24, 50 + side * 12, 4)
    pen.rect(DARK, 45, 18, 55, 90, 6)
