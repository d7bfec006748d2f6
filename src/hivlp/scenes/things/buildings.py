"""Draws buildings, and what stands in streets and parks."""

# Every public function draws the thing it is named after, in the middle of the pen's box.
# ruff: noqa: D103

from __future__ import annotations

from hivlp.scenes.things.pen import CREAM, DARK, GLASS, STEEL, WHITE, WOOD, Paint, Pen, mix


def house(pen: Pen, c: Paint) -> None:
    pen.rect(DARK, 70, 8, 81, 34)
    pen.rect(c.base, 10, 42, 90, 99)
    pen.rect(c.dark, 10, 42, 90, 50)
    pen.poly((122, 74, 62), 50, 3, 99, 46, 1, 46)
    pen.poly((150, 96, 80), 50, 3, 56, 8, 12, 46, 1, 46)
    pen.rect(WOOD, 42, 64, 60, 99, 3)
    pen.dot((250, 220, 120), 56, 82, 2)
    for x in (17, 67):
        pen.rect(WHITE, x - 1, 57, x + 17, 77)
        pen.rect(GLASS, x + 1, 59, x + 15, 75)
        pen.line(WHITE, 2, x + 8, 59, x + 8, 75)


def lighthouse(pen: Pen, c: Paint) -> None:
    pen.poly((118, 116, 118), 4, 99, 14, 90, 86, 90, 97, 99)
    pen.poly(WHITE, 32, 26, 68, 26, 82, 94, 18, 94)
    for k in (0, 2):
        top = 30 + k * 17
        spread = (top - 26) * 0.206
        low = spread + 17 * 0.206
        pen.poly(c.base, 32 - spread, top, 68 + spread, top, 68 + low, top + 17, 32 - low, top + 17)
    pen.rect(c.dark, 24, 23, 76, 27)
    pen.rect((255, 240, 150), 36, 12, 64, 23)
    pen.line(DARK, 2.5, 50, 12, 50, 23)
    pen.poly(c.base, 50, 1, 72, 12, 28, 12)
    pen.rect(WOOD, 43, 84, 57, 94, 6)


def castle(pen: Pen, c: Paint) -> None:
    for x, top in ((1, 30), (77, 30), (36, 16)):
        wide = 22 if top == 30 else 28
        pen.rect(c.base if top == 30 else c.light, x, top, x + wide, 99)
        pen.poly(c.dark, x - 1, top, x + wide + 1, top, x + wide / 2, top - 18 if top > 16 else 1)
        pen.rect(DARK, x + wide / 2 - 3, top + 12, x + wide / 2 + 3, top + 24, 4)
    pen.rect(c.base, 18, 56, 82, 99)
    for x in (18, 32, 46, 60, 73):
        pen.rect(c.base, x, 49, x + 9, 57)
    pen.line(c.dark, 1.6, 18, 60, 82, 60)
    pen.rect(WOOD, 41, 72, 59, 99)
    pen.chord(WOOD, 41, 62, 59, 84, 180, 360)
    pen.rect(DARK, 26, 70, 31, 80, 3)
    pen.rect(DARK, 69, 70, 74, 80, 3)


def windmill(pen: Pen, c: Paint) -> None:
    pen.poly(c.base, 38, 40, 62, 40, 76, 99, 24, 99)
    pen.poly(c.dark, 55, 40, 62, 40, 76, 99, 60, 99)
    pen.poly((122, 74, 62), 34, 42, 66, 42, 58, 26, 42, 26)
    pen.rect(WOOD, 43, 80, 57, 99, 5)
    pen.rect(GLASS, 45, 56, 55, 66, 2)
    for dx, dy in ((38, -21), (31, 28), (-38, 21), (-31, -28)):
        tip_x, tip_y = 50 + dx, 34 + dy
        side_x, side_y = -dy * 0.3, dx * 0.22
        pen.poly(
            CREAM, 50 + dx * 0.2, 34 + dy * 0.2, tip_x, tip_y, tip_x + side_x, tip_y + side_y,
            50 + dx * 0.2 + side_x, 34 + dy * 0.2 + side_y,
        )  # fmt: skip
        pen.line(WOOD, 3, 50, 34, tip_x, tip_y)
    pen.dot(WOOD, 50, 34, 5)


def tent(pen: Pen, c: Paint) -> None:
    pen.poly(c.dark, 50, 4, 99, 98, 60, 98)
    pen.poly(c.base, 50, 4, 78, 98, 1, 98)
    pen.poly(DARK, 44, 36, 58, 98, 26, 98)
    pen.poly(c.light, 44, 36, 34, 98, 24, 98)
    pen.line(WOOD, 3, 47, 1, 51, 8)


def bench(pen: Pen, c: Paint) -> None:
    for x in (12, 84):
        pen.rect(DARK, x, 12, x + 5, 99)
    for y in (6, 24):
        pen.rect(c.base, 2, y, 98, y + 13, 4)
    pen.rect(c.dark, 1, 54, 99, 68, 4)
    pen.rect(c.base, 1, 52, 99, 60, 4)


def lamp(pen: Pen, c: Paint) -> None:
    pen.rect(c.base, 43, 28, 57, 94)
    pen.rect(c.dark, 50, 28, 57, 94)
    pen.rect(c.base, 26, 92, 74, 99, 8)
    pen.rect(c.base, 36, 56, 64, 60)
    pen.poly((255, 238, 150), 14, 10, 86, 10, 70, 27, 30, 27)
    pen.poly(c.base, 50, 0, 92, 11, 8, 11)
    pen.rect(c.base, 26, 26, 74, 30)


def bridge(pen: Pen, c: Paint) -> None:
    pen.rect(c.base, 1, 40, 99, 58)
    pen.rect(c.dark, 1, 54, 99, 62)
    for x in (8, 50, 84):
        pen.rect(c.base, x - 5, 58, x + 9, 99)
    for x in (28, 67):
        pen.chord(c.base, x - 20, 52, x + 20, 92, 180, 360)
        pen.chord(mix(DARK, (90, 150, 190), 0.3), x - 13, 66, x + 13, 134, 180, 360)
    pen.line(c.base, 8, 2, 12, 98, 12)
    for x in range(4, 100, 10):
        pen.line(STEEL, 4, x, 12, x, 40)


def table(pen: Pen, c: Paint) -> None:
    pen.rect(c.dark, 10, 18, 18, 99)
    pen.rect(c.dark, 82, 18, 90, 99)
    pen.rect(c.dark, 14, 24, 86, 38)
    pen.rect(c.base, 1, 4, 99, 24, 8)
    pen.rect(c.light, 5, 6, 95, 12, 4)


def chair(pen: Pen, c: Paint) -> None:
    pen.rect(c.dark, 12, 2, 24, 99, 4)
    pen.rect(c.dark, 78, 52, 90, 99, 4)
    pen.rect(c.base, 8, 2, 28, 60, 6)
    pen.rect(c.base, 8, 46, 96, 60, 6)
    pen.rect(c.light, 10, 47, 94, 51, 3)
    pen.rect(c.dark, 24, 74, 80, 79)


def sofa(pen: Pen, c: Paint) -> None:
    pen.rect(DARK, 10, 88, 17, 99)
    pen.rect(DARK, 83, 88, 90, 99)
    pen.rect(c.base, 8, 4, 92, 70, 18)
    pen.line(c.dark, 2.5, 50, 12, 50, 54)
    pen.rect(c.light, 12, 52, 49, 76, 8)
    pen.rect(c.light, 51, 52, 88, 76, 8)
    pen.rect(c.dark, 8, 72, 92, 90, 6)
    pen.rect(c.base, 0, 38, 15, 90, 14)
    pen.rect(c.base, 85, 38, 100, 90, 14)
