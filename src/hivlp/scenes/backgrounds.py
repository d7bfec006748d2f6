"""Which painter paints which setting, and what falls from the sky in front of the things."""

from __future__ import annotations

from collections.abc import Callable

from hivlp.scenes import elsewhere, outdoors
from hivlp.scenes.canvas import Canvas


def _flakes(c: Canvas) -> None:
    for _ in range(44):
        radius = c.look.choice((3.0, 4.0, 5.5))
        c.oval((255, 255, 255), c.look.uniform(0, 1000), c.look.uniform(0, 1000), radius, radius)


def _rain(c: Canvas) -> None:
    for _ in range(60):
        x, y = c.look.uniform(-20, 1020), c.look.uniform(-20, 1000)
        c.line((206, 216, 228), 2.4, x, y, x - 9, y + 34)


PAINTERS: dict[str, Callable[[Canvas], None]] = {
    "beach": outdoors.beach,
    "sea": outdoors.sea,
    "harbour": outdoors.harbour,
    "city": outdoors.city,
    "road": outdoors.road,
    "forest": outdoors.forest,
    "snow": outdoors.snow,
    "desert": outdoors.desert,
    "mountains": outdoors.mountains,
    "farm": outdoors.farm,
    "park": outdoors.park,
    "lake": outdoors.lake,
    "kitchen": elsewhere.kitchen,
    "room": elsewhere.room,
    "underwater": elsewhere.underwater,
    "moon": elsewhere.moon,
    "space": elsewhere.space,
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
