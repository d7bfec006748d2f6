"""Draws people, and what stands on two legs like them."""

# Every public function draws the thing it is named after, in the middle of the pen's box.
# ruff: noqa: D103

from __future__ import annotations

from hivlp.scenes.things.pen import DARK, GLASS, HAIR, SKIN, STEEL, WHITE, WOOD, Paint, Pen

_TROUSERS = (74, 82, 110)
_ORANGE = (244, 150, 50)


def _face(pen: Pen, x: float, y: float, spread: float, radius: float) -> None:
    pen.dot(DARK, x - spread, y, radius)
    pen.dot(DARK, x + spread, y, radius)


def man(pen: Pen, c: Paint) -> None:
    pen.line(SKIN, 13, 13, 42, 11, 60)
    pen.line(SKIN, 13, 87, 42, 89, 60)
    pen.rect(_TROUSERS, 29, 58, 48, 96, 4)
    pen.rect(_TROUSERS, 52, 58, 71, 96, 4)
    pen.rect(DARK, 24, 94, 48, 99, 6)
    pen.rect(DARK, 52, 94, 76, 99, 6)
    pen.rect(c.base, 5, 29, 95, 46, 22)
    pen.rect(c.base, 25, 29, 75, 63, 10)
    pen.line(c.dark, 3, 27, 44, 27, 62)
    pen.line(c.dark, 3, 73, 44, 73, 62)
    pen.oval(HAIR, 27, 1, 73, 22)
    pen.oval(SKIN, 30, 6, 70, 28)
    pen.rect(HAIR, 29, 5, 71, 11, 10)
    _face(pen, 50, 17, 8, 3.4)


def woman(pen: Pen, c: Paint) -> None:
    pen.rect((116, 66, 38), 26, 4, 74, 36, 20)
    pen.line(SKIN, 11, 30, 37, 13, 56)
    pen.line(SKIN, 11, 70, 37, 87, 56)
    pen.line(SKIN, 11, 41, 80, 41, 95)
    pen.line(SKIN, 11, 59, 80, 59, 95)
    pen.rect(DARK, 32, 94, 48, 99, 5)
    pen.rect(DARK, 52, 94, 68, 99, 5)
    pen.poly(c.base, 30, 30, 70, 30, 64, 52, 94, 84, 6, 84, 36, 52)
    pen.poly(c.dark, 36, 50, 64, 50, 65, 54, 35, 54)
    pen.oval(SKIN, 32, 6, 68, 28)
    pen.chord((116, 66, 38), 29, 1, 71, 24, 180, 360)
    _face(pen, 50, 18, 8, 3.2)


def child(pen: Pen, c: Paint) -> None:
    pen.line(SKIN, 12, 14, 50, 5, 38)
    pen.line(SKIN, 12, 86, 50, 95, 38)
    pen.rect(_TROUSERS, 31, 72, 48, 95, 4)
    pen.rect(_TROUSERS, 52, 72, 69, 95, 4)
    pen.rect(WHITE, 26, 93, 48, 99, 6)
    pen.rect(WHITE, 52, 93, 74, 99, 6)
    pen.line(c.base, 20, 30, 54, 14, 48)
    pen.line(c.base, 20, 70, 54, 86, 48)
    pen.rect(c.base, 26, 43, 74, 78, 12)
    pen.oval((170, 106, 50), 18, 0, 82, 40)
    pen.oval(SKIN, 22, 7, 78, 45)
    pen.chord((170, 106, 50), 20, 0, 80, 32, 180, 360)
    _face(pen, 50, 27, 11, 4.4)
    pen.arc(DARK, 2.5, 40, 25, 60, 38, 30, 150)


def astronaut(pen: Pen, c: Paint) -> None:
    pen.rect(STEEL, 14, 34, 86, 72, 14)
    pen.line(c.base, 18, 26, 48, 11, 62)
    pen.line(c.base, 18, 74, 48, 89, 62)
    pen.rect(c.base, 25, 68, 48, 99, 12)
    pen.rect(c.base, 52, 68, 75, 99, 12)
    pen.rect(c.dark, 25, 90, 48, 99, 6)
    pen.rect(c.dark, 52, 90, 75, 99, 6)
    pen.rect(c.base, 22, 38, 78, 78, 18)
    pen.rect(DARK, 36, 52, 64, 63, 5)
    pen.dot((236, 74, 92), 43, 57, 3.5)
    pen.dot((110, 220, 130), 56, 57, 3.5)
    pen.oval(c.base, 17, 0, 83, 44)
    pen.oval(DARK, 25, 9, 75, 37)
    pen.oval((112, 168, 208), 29, 11, 71, 34)
    pen.oval(GLASS, 34, 14, 48, 24)


def robot(pen: Pen, c: Paint) -> None:
    pen.line(STEEL, 4, 50, 4, 50, 14)
    pen.dot((236, 74, 92), 50, 5, 6)
    pen.rect(STEEL, 42, 36, 58, 44)
    pen.line(STEEL, 10, 16, 50, 8, 72)
    pen.line(STEEL, 10, 84, 50, 92, 72)
    pen.rect(STEEL, 28, 76, 42, 96)
    pen.rect(STEEL, 58, 76, 72, 96)
    pen.rect(DARK, 22, 93, 46, 99, 4)
    pen.rect(DARK, 54, 93, 78, 99, 4)
    pen.rect(c.base, 20, 42, 80, 80, 8)
    pen.rect(c.dark, 32, 52, 68, 70, 5)
    pen.rect(c.base, 22, 12, 78, 38, 10)
    for x in (38, 62):
        pen.dot(WHITE, x, 24, 8)
        pen.dot(DARK, x, 24, 4)
    pen.dot((255, 216, 90), 42, 61, 4)
    pen.dot((120, 226, 160), 58, 61, 4)


def snowman(pen: Pen, c: Paint) -> None:
    shade = (222, 232, 242)
    pen.line(WOOD, 4, 20, 54, 2, 40)
    pen.line(WOOD, 4, 80, 54, 98, 40)
    pen.oval(WHITE, 8, 56, 92, 99)
    pen.chord(shade, 8, 56, 92, 99, 20, 160)
    pen.oval(WHITE, 19, 34, 81, 70)
    pen.oval(WHITE, 26, 10, 74, 40)
    pen.rect(DARK, 32, 0, 68, 13, 3)
    pen.rect(DARK, 22, 11, 78, 15, 2)
    pen.rect(c.base, 22, 35, 78, 43, 6)
    pen.rect(c.dark, 60, 38, 74, 59, 4)
    _face(pen, 50, 22, 9, 3.4)
    pen.poly(_ORANGE, 49, 25, 49, 30, 70, 29)
    for y in (52, 62, 78):
        pen.dot(DARK, 46, y, 3)


def penguin(pen: Pen, c: Paint) -> None:
    black = (48, 52, 68)
    pen.oval(_ORANGE, 16, 92, 48, 100)
    pen.oval(_ORANGE, 52, 92, 84, 100)
    pen.poly(black, 16, 42, 0, 78, 20, 70)
    pen.poly(black, 84, 42, 100, 78, 80, 70)
    pen.oval(black, 12, 26, 88, 98)
    pen.oval(black, 20, 0, 80, 48)
    pen.oval(WHITE, 24, 40, 76, 95)
    pen.oval(WHITE, 27, 12, 52, 38)
    pen.oval(WHITE, 48, 12, 73, 38)
    _face(pen, 50, 21, 11, 4)
    pen.poly(_ORANGE, 40, 27, 60, 27, 50, 36)
    pen.rect(c.base, 18, 39, 82, 49, 10)
    pen.rect(c.dark, 60, 44, 76, 68, 4)
