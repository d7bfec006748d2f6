"""Paints rooms, the depth of the sea, the moon and space, without the things in them."""

from __future__ import annotations

from hivlp.scenes.canvas import Canvas, stars
from hivlp.scenes.things.pen import mix


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
    stars(c, 640, 60)
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
    stars(c, 1000, 90)
