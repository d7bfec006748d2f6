"""A pen that draws in a box of 100 × 100 units, and the paint it draws with; it knows no things."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import ImageDraw

RGB = tuple[int, int, int]

SKIN: RGB = (238, 188, 150)
HAIR: RGB = (92, 58, 40)
STEEL: RGB = (150, 158, 170)
DARK: RGB = (52, 54, 66)
GLASS: RGB = (190, 226, 242)
WOOD: RGB = (150, 100, 58)
LEAF: RGB = (70, 156, 84)
CREAM: RGB = (250, 244, 228)
WHITE: RGB = (252, 252, 250)


def mix(a: RGB, b: RGB, share: float) -> RGB:
    """Colour ``a`` with a share (0..1) of colour ``b``."""
    return (
        round(a[0] + (b[0] - a[0]) * share),
        round(a[1] + (b[1] - a[1]) * share),
        round(a[2] + (b[2] - a[2]) * share),
    )


@dataclass(frozen=True)
class Paint:
    """The shades of one colour: itself, in shadow, in light."""

    base: RGB
    dark: RGB
    light: RGB

    @classmethod
    def of(cls, colour: RGB) -> Paint:
        """The shades of a colour."""
        # Black gets its shades from a lighter grey: darker than black would show no form.
        if max(colour) < 70:
            return cls(colour, mix(colour, WHITE, 0.2), mix(colour, WHITE, 0.34))
        return cls(colour, mix(colour, (24, 18, 52), 0.26), mix(colour, WHITE, 0.42))


class Pen:
    """Draws shapes whose coordinates are hundredths of a box."""

    def __init__(
        self, draw: ImageDraw.ImageDraw, left: float, top: float, width: float, height: float
    ) -> None:
        self._draw = draw
        self._left, self._top = left, top
        self._x, self._y = width / 100, height / 100
        self._unit = min(self._x, self._y)

    def _points(self, numbers: tuple[float, ...]) -> list[tuple[float, float]]:
        left, top, x, y = self._left, self._top, self._x, self._y
        return [(left + a * x, top + b * y) for a, b in zip(numbers[::2], numbers[1::2], strict=True)]

    def _box(self, x0: float, y0: float, x1: float, y1: float) -> tuple[float, float, float, float]:
        left, top, x, y = self._left, self._top, self._x, self._y
        return left + x0 * x, top + y0 * y, left + x1 * x, top + y1 * y

    def _wide(self, width: float) -> int:
        return max(1, round(width * self._unit))

    def poly(self, fill: RGB, *numbers: float) -> None:
        """A filled polygon through x, y, x, y …"""
        self._draw.polygon(self._points(numbers), fill=fill)

    def oval(self, fill: RGB, x0: float, y0: float, x1: float, y1: float) -> None:
        """A filled ellipse in a box."""
        self._draw.ellipse(self._box(x0, y0, x1, y1), fill=fill)

    def dot(self, fill: RGB, x: float, y: float, radius: float) -> None:
        """A filled circle, round whatever the shape of the box."""
        r = radius * self._unit
        x, y = self._left + x * self._x, self._top + y * self._y
        self._draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)

    def ring(self, fill: RGB, x: float, y: float, radius: float, width: float) -> None:
        """A circle's line."""
        r = radius * self._unit
        x, y = self._left + x * self._x, self._top + y * self._y
        self._draw.ellipse((x - r, y - r, x + r, y + r), outline=fill, width=self._wide(width))

    def rect(self, fill: RGB, x0: float, y0: float, x1: float, y1: float, round_: float = 0) -> None:
        """A filled rectangle; ``round_`` is the radius of its corners."""
        box = self._box(x0, y0, x1, y1)
        radius = min(round_ * self._unit, (box[2] - box[0]) / 2, (box[3] - box[1]) / 2)
        if radius < 1:
            self._draw.rectangle(box, fill=fill)
        else:
            self._draw.rounded_rectangle(box, radius, fill=fill)

    def line(self, fill: RGB, width: float, *numbers: float) -> None:
        """A line through x, y, x, y … with round ends where it is wide."""
        points = self._points(numbers)
        wide = self._wide(width)
        self._draw.line(points, fill=fill, width=wide)
        if wide > 2:
            r = (wide - 1) / 2
            for x, y in points:
                self._draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)

    def pie(self, fill: RGB, x0: float, y0: float, x1: float, y1: float, start: float, end: float) -> None:
        """A filled slice of an ellipse, degrees clockwise from three o'clock."""
        self._draw.pieslice(self._box(x0, y0, x1, y1), start, end, fill=fill)

    def chord(self, fill: RGB, x0: float, y0: float, x1: float, y1: float, start: float, end: float) -> None:
        """A filled ellipse cut off by a straight line."""
        self._draw.chord(self._box(x0, y0, x1, y1), start, end, fill=fill)

    def arc(
        self, fill: RGB, width: float, x0: float, y0: float, x1: float, y1: float, start: float, end: float
    ) -> None:
        """A piece of an ellipse's line."""
        self._draw.arc(self._box(x0, y0, x1, y1), start, end, fill=fill, width=self._wide(width))

    def eye(self, x: float, y: float, radius: float = 3.5) -> None:
        """A dark eye with a glint."""
        self.dot(DARK, x, y, radius)
        self.dot(WHITE, x + 1, y - 1, radius * 0.35)
