"""Draws animals of the land, most of them from the side with the head on the right."""

# Every public function draws the thing it is named after, in the middle of the pen's box.
# ruff: noqa: D103

from __future__ import annotations

from hivlp.scenes.things.pen import CREAM, DARK, WHITE, Paint, Pen, mix

_PINK = (240, 150, 160)


def _legs(pen: Pen, c: Paint, xs: tuple[float, ...], top: float, wide: float) -> None:
    for k, x in enumerate(xs):
        pen.rect(c.dark if k % 2 else c.base, x, top, x + wide, 99, 6)


def dog(pen: Pen, c: Paint) -> None:
    pen.line(c.base, 9, 12, 46, 3, 22)
    _legs(pen, c, (16, 28, 52, 63), 62, 9)
    pen.rect(c.base, 10, 38, 72, 74, 22)
    pen.poly(c.base, 54, 44, 66, 12, 84, 24, 72, 62)
    pen.rect(c.base, 58, 8, 88, 42, 18)
    pen.rect(c.base, 76, 22, 99, 41, 10)
    pen.rect(c.dark, 58, 8, 69, 40, 8)
    pen.dot(DARK if c.base[0] > 80 else (20, 20, 26), 96, 27, 5)
    pen.eye(80, 20, 4)
    pen.line((214, 50, 60), 6, 60, 46, 74, 50)


def cat(pen: Pen, c: Paint) -> None:
    pen.line(c.dark, 10, 26, 90, 7, 84, 8, 62)
    pen.oval(c.base, 20, 40, 80, 99)
    pen.rect(c.base, 40, 66, 52, 99, 8)
    pen.rect(c.base, 56, 66, 68, 99, 8)
    pen.line(c.dark, 2, 54, 74, 54, 96)
    pen.poly(c.base, 32, 28, 33, 0, 54, 14)
    pen.poly(c.base, 88, 28, 87, 0, 66, 14)
    pen.poly(_PINK, 37, 18, 38, 7, 48, 14)
    pen.poly(_PINK, 83, 18, 82, 7, 72, 14)
    pen.oval(c.base, 30, 10, 90, 54)
    for x in (48, 72):
        pen.dot((176, 222, 110), x, 30, 6.5)
        pen.dot(DARK, x, 30, 3.2)
    pen.poly(_PINK, 56, 39, 64, 39, 60, 44)
    pen.line(c.light, 1.5, 34, 40, 50, 42)
    pen.line(c.light, 1.5, 70, 42, 87, 40)


def horse(pen: Pen, c: Paint) -> None:
    mane = mix(c.dark, (30, 22, 30), 0.5) if c.base[0] > 90 else mix(c.base, WHITE, 0.35)
    pen.line(mane, 8, 9, 46, 2, 60, 4, 76)
    _legs(pen, c, (12, 22, 56, 65), 58, 7.5)
    pen.rect(c.base, 8, 38, 72, 68, 18)
    pen.poly(c.base, 52, 56, 66, 14, 82, 12, 76, 62)
    pen.poly(c.base, 66, 12, 78, 4, 99, 32, 93, 40, 84, 38, 70, 28)
    pen.poly(c.base, 70, 12, 74, 0, 79, 10)
    pen.poly(mane, 70, 6, 62, 12, 48, 40, 58, 42, 70, 18)
    pen.eye(81, 18, 3)
    pen.dot(c.dark, 94, 33, 2.4)


def cow(pen: Pen, c: Paint) -> None:
    patch = mix(c.base, WHITE, 0.85) if c.base[0] < 200 else (168, 172, 182)
    pen.line(c.dark, 5, 6, 36, 2, 70)
    _legs(pen, c, (12, 24, 54, 64), 62, 8)
    pen.oval(_PINK, 36, 64, 50, 82)
    pen.rect(c.base, 5, 24, 76, 74, 20)
    pen.oval(patch, 16, 28, 38, 52)
    pen.oval(patch, 46, 42, 62, 66)
    pen.poly(CREAM, 72, 16, 69, 2, 78, 12)
    pen.poly(CREAM, 92, 16, 97, 2, 87, 12)
    pen.rect(c.base, 70, 12, 95, 52, 16)
    pen.oval(c.dark, 61, 16, 72, 28)
    pen.rect(_PINK, 74, 40, 99, 58, 14)
    pen.dot(DARK, 92, 49, 2.5)
    pen.dot(DARK, 82, 49, 2.5)
    pen.eye(86, 27, 4)


def sheep(pen: Pen, c: Paint) -> None:
    face = (74, 68, 72) if c.base[0] > 70 else (150, 144, 146)
    for x in (22, 34, 56, 67):
        pen.rect(face, x, 66, x + 7, 99, 4)
    for x, y in ((20, 46), (36, 32), (56, 32), (70, 46), (30, 62), (50, 64), (66, 62), (46, 48)):
        pen.oval(c.base, x - 17, y - 20, x + 17, y + 20)
    pen.oval(c.light if c.base[0] < 240 else (228, 230, 236), 26, 42, 46, 60)
    pen.oval(face, 72, 24, 97, 66)
    pen.oval(c.base, 70, 14, 92, 36)
    pen.oval(face, 62, 34, 76, 46)
    pen.dot(WHITE, 86, 42, 4.5)
    pen.dot(DARK, 87, 42, 2.4)


def pig(pen: Pen, c: Paint) -> None:
    pen.arc(c.dark, 6, 0, 26, 14, 48, 60, 330)
    _legs(pen, c, (18, 32, 54, 66), 66, 10)
    pen.oval(c.base, 7, 14, 80, 88)
    pen.poly(c.dark, 62, 22, 66, 2, 78, 18)
    pen.oval(c.base, 56, 12, 94, 70)
    pen.poly(c.dark, 78, 18, 88, 2, 92, 24)
    pen.oval(c.dark, 82, 34, 100, 62)
    pen.dot(DARK, 89, 47, 3)
    pen.dot(DARK, 95, 47, 3)
    pen.eye(80, 32, 4.5)


def rabbit(pen: Pen, c: Paint) -> None:
    for x in (38, 60):
        pen.oval(c.base, x, 0, x + 18, 44)
        pen.oval(_PINK, x + 5, 6, x + 13, 38)
    pen.dot(c.light if c.base[0] < 200 else WHITE, 12, 82, 12)
    pen.oval(c.base, 10, 50, 82, 99)
    pen.oval(c.dark, 18, 64, 54, 99)
    pen.oval(c.base, 16, 62, 52, 97)
    pen.oval(c.base, 64, 84, 94, 99)
    pen.oval(c.base, 34, 30, 92, 68)
    pen.eye(74, 44, 5)
    pen.dot(_PINK, 90, 51, 4)


def fox(pen: Pen, c: Paint) -> None:
    pen.poly(c.base, 20, 58, 4, 50, 0, 26, 10, 14, 22, 34, 28, 48)
    pen.poly(WHITE, 0, 26, 10, 14, 15, 24, 8, 33)
    _legs(pen, c, (22, 32, 54, 64), 66, 7)
    for x in (22, 32, 54, 64):
        pen.rect(DARK, x, 88, x + 7, 99, 3)
    pen.rect(c.base, 16, 44, 74, 76, 18)
    pen.poly(c.dark, 60, 22, 63, 0, 74, 16)
    pen.poly(c.dark, 76, 18, 86, 0, 88, 22)
    pen.poly(c.base, 56, 30, 62, 16, 86, 16, 92, 28, 100, 46, 80, 54, 62, 48)
    pen.poly(WHITE, 62, 44, 82, 44, 99, 46, 80, 55)
    pen.dot(DARK, 98, 45, 3.5)
    pen.eye(80, 32, 4)
    pen.poly(WHITE, 64, 52, 78, 54, 70, 70)


def bear(pen: Pen, c: Paint) -> None:
    _legs(pen, c, (10, 24, 50, 62), 58, 13)
    pen.oval(c.base, 2, 22, 80, 82)
    pen.oval(c.dark, 60, 2, 74, 22)
    pen.oval(c.base, 84, 2, 97, 22)
    pen.oval(c.base, 58, 6, 99, 58)
    pen.oval(c.light, 78, 32, 100, 54)
    pen.dot(DARK, 95, 38, 4.5)
    pen.eye(84, 26, 4)
    pen.dot(c.base, 5, 44, 7)


def chicken(pen: Pen, c: Paint) -> None:
    yellow = (244, 178, 54)
    for x in (44, 58):
        pen.line(yellow, 4, x, 80, x, 96)
        pen.line(yellow, 4, x - 4, 97, x + 8, 97)
    pen.poly(c.dark, 24, 66, 0, 40, 6, 28, 20, 40, 18, 24, 36, 46)
    pen.oval(c.base, 12, 40, 80, 88)
    pen.poly(c.base, 52, 56, 62, 18, 84, 22, 80, 68)
    pen.oval(c.base, 58, 10, 88, 40)
    for x in (64, 72, 80):
        pen.dot((222, 48, 52), x, 9, 7)
    pen.poly(yellow, 85, 22, 100, 28, 85, 33)
    pen.oval((222, 48, 52), 80, 32, 89, 45)
    pen.eye(77, 22, 3.6)
    pen.oval(c.dark, 26, 52, 58, 76)
