"""Draws toys, food and things of the house."""

# Every public function draws the thing it is named after, in the middle of the pen's box.
# ruff: noqa: D103

from __future__ import annotations

import math

from hivlp.scenes.things.pen import CREAM, DARK, LEAF, STEEL, WHITE, WOOD, Paint, Pen


def kite(pen: Pen, c: Paint) -> None:
    pen.line(CREAM, 3, 50, 68, 38, 80, 58, 88, 46, 99)
    for x, y in ((40, 80), (57, 88)):
        pen.poly(c.dark, x, y, x - 13, y - 4, x - 13, y + 4)
        pen.poly(c.dark, x, y, x + 13, y - 4, x + 13, y + 4)
    pen.poly(c.base, 50, 0, 98, 28, 50, 70, 2, 28)
    pen.poly(c.light, 50, 0, 50, 28, 2, 28)
    pen.poly(c.light, 50, 28, 98, 28, 50, 70)
    pen.line(CREAM, 2, 50, 2, 50, 68)
    pen.line(CREAM, 2, 4, 28, 96, 28)


def umbrella(pen: Pen, c: Paint) -> None:
    pen.rect(WOOD, 48, 4, 52, 96)
    pen.arc(WOOD, 5, 32, 86, 52, 99, 0, 180)
    pen.chord(c.base, 1, 6, 99, 100, 180, 360)
    pen.chord(c.light, 27, 6, 73, 100, 180, 360)
    pen.chord(c.base, 42, 6, 58, 100, 180, 360)
    pen.rect(c.dark, 1, 50, 99, 54)


def ball(pen: Pen, c: Paint) -> None:
    band = c.light if c.base[2] < 235 else (208, 214, 226)
    pen.oval(c.base, 1, 1, 99, 99)
    for start in (-20, 100, 220):
        pen.pie(band, 1, 1, 99, 99, start, start + 52)
    pen.oval(c.dark, 38, 38, 62, 62)
    pen.oval(WHITE, 22, 12, 38, 24)


def cup(pen: Pen, c: Paint) -> None:
    pen.ring(c.dark, 78, 52, 20, 9)
    pen.rect(c.base, 6, 14, 76, 98, 14)
    pen.oval(c.dark, 6, 5, 76, 26)
    pen.oval((92, 58, 40), 12, 9, 70, 23)
    pen.rect(c.light, 14, 34, 22, 80, 6)


def teapot(pen: Pen, c: Paint) -> None:
    pen.ring(c.dark, 18, 58, 20, 8)
    pen.poly(c.dark, 74, 74, 90, 34, 100, 30, 98, 40, 84, 86)
    pen.oval(c.base, 16, 26, 84, 98)
    pen.oval(c.dark, 33, 22, 67, 36)
    pen.dot(c.base, 50, 14, 8)
    pen.oval(c.light, 30, 40, 44, 62)


def bottle(pen: Pen, c: Paint) -> None:
    pen.rect(WOOD, 38, 0, 62, 8, 4)
    pen.rect(c.base, 36, 7, 64, 40, 6)
    pen.rect(c.base, 10, 32, 90, 99, 26)
    pen.rect(CREAM, 10, 52, 90, 78)
    pen.rect(c.dark, 24, 62, 76, 67)
    pen.rect(c.light, 20, 40, 30, 50, 4)


def cake(pen: Pen, c: Paint) -> None:
    pen.oval(STEEL, 1, 86, 99, 99)
    pen.rect((214, 160, 104), 9, 50, 91, 94, 6)
    pen.rect(c.base, 9, 34, 91, 58, 12)
    for x in (16, 33, 50, 67, 84):
        pen.oval(c.base, x - 9, 44, x + 9, 70)
    pen.oval(c.light, 9, 28, 91, 48)
    for x in (30, 50, 70):
        pen.rect((236, 74, 92), x - 3, 12, x + 3, 38)
        pen.oval((255, 206, 70), x - 4, 0, x + 4, 14)


def apple(pen: Pen, c: Paint) -> None:
    pen.line(WOOD, 6, 50, 24, 56, 4)
    pen.poly(LEAF, 56, 14, 72, 2, 88, 6, 76, 18)
    pen.oval(c.base, 2, 18, 62, 92)
    pen.oval(c.base, 38, 18, 98, 92)
    pen.oval(c.base, 20, 44, 80, 99)
    pen.oval(c.light, 18, 30, 34, 52)


def banana(pen: Pen, c: Paint) -> None:
    points: list[float] = []
    for k in range(13):
        angle = math.pi * (0.02 + 0.92 * k / 12)
        points += [52 + 46 * math.cos(angle), 14 + 84 * math.sin(angle)]
    for k in range(13):
        angle = math.pi * (0.92 - 0.9 * k / 12)
        points += [56 + 40 * math.cos(angle), 8 + 48 * math.sin(angle)]
    pen.poly(c.base, *points)
    pen.arc(c.dark, 4, 8, -64, 96, 82, 25, 150)
    pen.poly(DARK, 5, 20, 16, 16, 12, 4, 4, 6)
    pen.dot(DARK, 96, 18, 4)


def book(pen: Pen, c: Paint) -> None:
    pen.rect(c.dark, 5, 1, 97, 99, 5)
    pen.rect(CREAM, 14, 86, 95, 95)
    pen.rect(c.base, 10, 1, 97, 86, 4)
    pen.rect(c.dark, 5, 1, 17, 90, 3)
    pen.rect(CREAM, 30, 18, 84, 40, 4)
    pen.line(c.dark, 4, 38, 26, 76, 26)
    pen.line(c.dark, 3, 44, 33, 70, 33)


def guitar(pen: Pen, c: Paint) -> None:
    pen.rect(DARK, 36, 0, 64, 12, 5)
    pen.rect((108, 70, 44), 43, 10, 57, 60)
    pen.oval(c.base, 15, 45, 85, 74)
    pen.oval(c.base, 2, 60, 98, 99)
    pen.dot(DARK, 50, 67, 16)
    pen.rect((108, 70, 44), 30, 84, 70, 88)
    for x in (47, 53):
        pen.line(CREAM, 1.5, x, 6, x, 85)


def clock(pen: Pen, c: Paint) -> None:
    pen.oval(c.base, 1, 1, 99, 99)
    pen.oval(WHITE, 14, 14, 86, 86)
    for k in range(12):
        x, y = math.cos(k * math.pi / 6), math.sin(k * math.pi / 6)
        pen.dot(DARK, 50 + 30 * x, 50 + 30 * y, 2.6)
    pen.line(DARK, 6, 50, 50, 50, 25)
    pen.line(DARK, 6, 50, 50, 66, 60)
    pen.dot(c.base, 50, 50, 6)
