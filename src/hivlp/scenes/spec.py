"""The description of one scene and the facts about it; it knows neither words nor drawing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Box = tuple[int, int, int, int]

# Sideways relations may touch by this much, in thousandths of the picture's side.
_TOUCH = 12


@dataclass(frozen=True)
class Group:
    """Some things of one kind, colour and size that belong together.

    Attributes:
        kind: key of ``vocabulary.KINDS``.
        colour: key of ``vocabulary.COLOURS``.
        size: ``small``, ``large``, or the empty string for ordinary.
        zone: the band of the place in which they are.
        boxes: (left, top, right, bottom) of each thing, in thousandths of the picture's side.
        mirrored: whether each thing looks the other way.
    """

    kind: str
    colour: str
    size: str
    zone: str
    boxes: tuple[Box, ...]
    mirrored: tuple[bool, ...]

    @property
    def count(self) -> int:
        """How many things the group has."""
        return len(self.boxes)

    @property
    def bounds(self) -> Box:
        """The smallest box around all things of the group."""
        return union(self.boxes)


@dataclass(frozen=True)
class SceneSpec:
    """Everything that drawing and captions of one scene need.

    Attributes:
        seed: the number of the scene.
        split: ``train``, ``val`` or ``test``.
        setting: key of ``vocabulary.PLACES``.
        light: ``day``, ``sunset``, ``night``, ``rain``, or ``inside`` for places without weather.
        groups: one to three groups, none hidden by another.
        look: seed of the small variations of the drawing (hills, waves, shades).
        captions: four or more true captions in different styles; the first says everything.
        near_misses: false captions, each with exactly the words of a true one in another order.
    """

    seed: int
    split: str
    setting: str
    light: str
    groups: tuple[Group, ...]
    look: int
    captions: tuple[str, ...] = ()
    near_misses: tuple[str, ...] = ()

    @property
    def meta(self) -> dict[str, Any]:
        """What is in the picture, as JSON-compatible values."""
        things = [
            {
                "kind": group.kind,
                "colour": group.colour,
                "size": group.size,
                "count": group.count,
                "zone": group.zone,
                "boxes": [list(box) for box in group.boxes],
            }
            for group in self.groups
        ]
        return {
            "setting": self.setting,
            "light": self.light,
            "things": things,
            "near_misses": list(self.near_misses),
        }


def union(boxes: Iterable[Box]) -> Box:
    """The smallest box around some boxes."""
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def overlap(a: Box, b: Box) -> int:
    """The common area of two boxes, 0 where they do not meet."""
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    return wide * high if wide > 0 and high > 0 else 0


def holds(relation: str, a: Box, b: Box) -> bool:
    """Whether all that is inside box ``a`` stands in a relation to all that is inside box ``b``.

    Sideways needs a clear gap between the two; above and below need a gap and that one is over the other;
    in front needs lower feet and that the two meet from the viewer's side.
    """
    shared = min(a[2], b[2]) - max(a[0], b[0])
    over = shared * 3 >= min(a[2] - a[0], b[2] - b[0])
    if relation == "left":
        return a[2] <= b[0] + _TOUCH
    if relation == "above":
        return over and a[3] <= b[1] + _TOUCH
    if relation == "front":
        return over and a[3] >= b[3] + 20 and a[1] < b[3]
    opposite = {"right": "left", "below": "above", "behind": "front"}[relation]
    return holds(opposite, b, a)


def could_hold(relation: str, a: Box, b: Box) -> bool:
    """Whether a relation holds in the loosest sense; otherwise it is certainly false."""
    if relation == "left":
        return a[0] + a[2] < b[0] + b[2]
    if relation == "above":
        return a[1] + a[3] < b[1] + b[3]
    if relation == "front":
        return a[3] > b[3]
    opposite = {"right": "left", "below": "above", "behind": "front"}[relation]
    return could_hold(opposite, b, a)
