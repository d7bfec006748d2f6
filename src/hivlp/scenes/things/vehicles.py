"""Draws vehicles that drive, swim and fly."""

# Every public function draws the thing it is named after, in the middle of the pen's box.
# ruff: noqa: D103

from __future__ import annotations

from hivlp.scenes.things.pen import CREAM, DARK, GLASS, STEEL, WHITE, WOOD, Paint, Pen


def _wheel(pen: Pen, x: float, y: float, radius: float) -> None:
    pen.dot(DARK, x, y, radius)
    pen.dot(STEEL, x, y, radius * 0.5)


def boat(pen: Pen, c: Paint) -> None:
    pen.line(WOOD, 4, 50, 3, 50, 74)
    pen.poly(CREAM, 54, 6, 54, 66, 92, 66)
    pen.poly(c.light, 46, 14, 46, 66, 14, 66)
    pen.poly(c.base, 1, 72, 99, 72, 84, 98, 17, 98)
    pen.poly(c.dark, 9, 86, 91, 86, 84, 98, 17, 98)
    pen.line(WHITE, 3, 4, 76, 96, 76)


def car(pen: Pen, c: Paint) -> None:
    pen.poly(c.base, 20, 44, 33, 6, 68, 6, 84, 44)
    pen.poly(GLASS, 27, 42, 37, 14, 49, 14, 49, 42)
    pen.poly(GLASS, 53, 42, 53, 14, 65, 14, 76, 42)
    pen.rect(c.base, 2, 40, 98, 82, 18)
    pen.rect(c.dark, 3, 66, 97, 82, 10)
    pen.rect((255, 236, 150), 90, 48, 97, 60, 4)
    pen.rect((210, 60, 60), 2, 48, 7, 58, 3)
    _wheel(pen, 24, 80, 19)
    _wheel(pen, 76, 80, 19)


def bus(pen: Pen, c: Paint) -> None:
    pen.rect(c.base, 1, 4, 99, 86, 12)
    pen.rect(c.dark, 1, 64, 99, 86, 8)
    pen.rect(WHITE, 1, 57, 99, 62)
    for x in (6, 25, 44, 63):
        pen.rect(GLASS, x, 16, x + 15, 48, 4)
    pen.rect(GLASS, 82, 16, 96, 76, 4)
    pen.line(c.dark, 2, 89, 18, 89, 76)
    _wheel(pen, 22, 85, 14)
    _wheel(pen, 72, 85, 14)


def truck(pen: Pen, c: Paint) -> None:
    pen.rect(c.base, 1, 3, 64, 76, 4)
    pen.rect(c.light, 6, 14, 59, 24)
    pen.line(c.dark, 2, 22, 32, 22, 70)
    pen.line(c.dark, 2, 43, 32, 43, 70)
    pen.poly(STEEL, 67, 26, 85, 26, 97, 52, 99, 78, 67, 78)
    pen.poly(GLASS, 72, 33, 83, 33, 91, 52, 72, 52)
    pen.rect(DARK, 1, 76, 99, 84)
    for x in (17, 45, 82):
        _wheel(pen, x, 84, 15)


def bicycle(pen: Pen, c: Paint) -> None:
    for x in (22, 78):
        pen.ring(DARK, x, 68, 31, 6)
        pen.dot(STEEL, x, 68, 5)
    pen.line(c.base, 8, 22, 68, 38, 28, 69, 28, 47, 70, 38, 28)
    pen.line(c.base, 8, 22, 68, 47, 70)
    pen.line(c.base, 8, 78, 68, 67, 14)
    pen.line(DARK, 8, 60, 10, 69, 10)
    pen.line(DARK, 9, 31, 18, 43, 18)
    pen.line(c.base, 7, 38, 28, 37, 18)
    pen.dot(STEEL, 47, 70, 8)


def train(pen: Pen, c: Paint) -> None:
    pen.rect(STEEL, 78, 8, 85, 44)
    pen.rect(DARK, 76, 4, 87, 13)
    pen.rect(c.base, 58, 34, 96, 80, 14)
    pen.rect(c.dark, 38, 12, 62, 80, 4)
    pen.rect(GLASS, 42, 22, 57, 46, 3)
    pen.rect(DARK, 36, 6, 64, 14, 4)
    pen.rect(c.base, 1, 24, 33, 80, 6)
    pen.rect(GLASS, 4, 34, 16, 54, 3)
    pen.rect(GLASS, 19, 34, 31, 54, 3)
    pen.rect(WHITE, 1, 62, 33, 68)
    pen.rect(DARK, 30, 74, 40, 80)
    pen.dot((255, 232, 140), 93, 48, 9)
    pen.poly(STEEL, 92, 80, 99, 97, 86, 97)
    for x in (9, 25, 46, 64, 81):
        _wheel(pen, x, 84, 14)


def airplane(pen: Pen, c: Paint) -> None:
    pen.poly(c.dark, 42, 44, 58, 44, 40, 6, 30, 6)
    pen.poly(c.dark, 4, 8, 16, 8, 27, 46, 10, 46)
    pen.poly(c.base, 3, 40, 20, 36, 84, 36, 95, 46, 98, 54, 92, 64, 22, 66)
    pen.poly(c.light, 6, 46, 95, 46, 97, 52, 10, 53)
    for x in (34, 44, 54, 64, 74):
        pen.dot(GLASS, x, 46, 8)
    pen.poly(GLASS, 84, 38, 93, 48, 84, 48)
    pen.poly(c.dark, 38, 58, 62, 58, 38, 96, 26, 96)


def rocket(pen: Pen, c: Paint) -> None:
    pen.poly((255, 176, 46), 36, 84, 64, 84, 50, 100)
    pen.poly((255, 226, 110), 43, 84, 57, 84, 50, 94)
    pen.poly(c.dark, 28, 56, 28, 86, 3, 92, 8, 70)
    pen.poly(c.dark, 72, 56, 72, 86, 97, 92, 92, 70)
    pen.oval(c.base, 22, 18, 78, 92)
    pen.rect(c.dark, 32, 80, 68, 87, 4)
    pen.poly(c.base, 50, 0, 70, 28, 30, 28)
    pen.oval(c.base, 25, 16, 75, 60)
    pen.poly(WHITE, 50, 0, 64, 20, 36, 20)
    pen.dot(WHITE, 50, 45, 16)
    pen.dot((120, 190, 226), 50, 45, 11)


def balloon(pen: Pen, c: Paint) -> None:
    pen.line(WOOD, 2.5, 30, 60, 42, 86)
    pen.line(WOOD, 2.5, 70, 60, 58, 86)
    pen.poly(c.base, 9, 50, 91, 50, 60, 78, 40, 78)
    pen.oval(c.base, 3, 1, 97, 68)
    pen.oval(c.light, 22, 1, 78, 68)
    pen.poly(c.light, 22, 42, 78, 42, 56, 78, 44, 78)
    pen.oval(c.base, 38, 1, 62, 68)
    pen.poly(c.base, 38, 40, 62, 40, 53, 78, 47, 78)
    pen.rect(WOOD, 38, 83, 62, 99, 5)
    pen.rect((190, 140, 90), 37, 82, 63, 87, 2)


def submarine(pen: Pen, c: Paint) -> None:
    pen.line(STEEL, 5, 52, 6, 52, 30)
    pen.line(STEEL, 5, 52, 6, 62, 6)
    pen.rect(c.dark, 38, 20, 66, 50, 10)
    pen.poly(c.dark, 2, 38, 10, 38, 20, 60, 20, 70, 10, 92, 2, 92)
    pen.oval(c.base, 10, 32, 99, 98)
    pen.chord(c.dark, 10, 32, 99, 98, 20, 160)
    for x in (38, 57, 76):
        pen.dot(WHITE, x, 60, 11)
        pen.dot((120, 190, 226), x, 60, 7.5)
