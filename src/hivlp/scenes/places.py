"""The settings of the drawn scenes: their things, places, light and words; it draws nothing.

Positions are thousandths of the picture's side, from the top.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Zone:
    """A band of a place in which things can be.

    Attributes:
        kinds: the kinds of things there.
        top: standing things: highest place of their feet; floating things: upper border of the band.
        bottom: the lowest, likewise.
        where: phrases that say where things of this band are.
        avoid: colours that would be hard to see there.
        floating: whether things hang freely in the band instead of standing on it.
    """

    kinds: tuple[str, ...]
    top: int
    bottom: int
    where: tuple[str, ...]
    avoid: tuple[str, ...] = ()
    floating: bool = False


@dataclass(frozen=True)
class Place:
    """A setting: its bands, the light it can have, and its names.

    Attributes:
        zones: bands by name: sky, water, ground, wall, sea.
        phrases: where the whole scene is.
        titles: what the place is called as a noun.
        lights: the light or weather it can have.
    """

    zones: dict[str, Zone]
    phrases: tuple[str, ...]
    titles: tuple[str, ...]
    lights: tuple[str, ...] = ("day",)


LIGHT_PHRASES: dict[str, tuple[str, ...]] = {
    "day": ("", "on a sunny day", "in daylight"),
    "sunset": ("at sunset", "at sunset", "in the evening light"),
    "night": ("at night",),
    "rain": ("in the rain", "on a rainy day"),
    "inside": ("",),
}

# Colours that the light itself swallows.
LIGHT_AVOID: dict[str, tuple[str, ...]] = {"night": ("black",)}
SKY_AVOID: dict[str, tuple[str, ...]] = {
    "sunset": ("orange", "pink", "yellow"),
    "night": ("black", "blue", "purple"),
    "rain": (),
    "day": ("blue",),
}


def _sky(kinds: str, over: str, bottom: int = 400, *, flying: str = "in the sky") -> Zone:
    return Zone(tuple(kinds.split()), 25, bottom, (f"{flying} over {over}", f"above {over}"), (), True)


def _band(kinds: str, top: int, bottom: int, *where: str, avoid: str = "") -> Zone:
    return Zone(tuple(kinds.split()), top, bottom, where, tuple(avoid.split()))


PLACES: dict[str, Place] = {
    "beach": Place(
        {
            "sky": _sky("bird kite balloon airplane", "the beach", 420),
            "water": _band(
                "boat", 560, 620, "on the sea by the beach", "on the water off the beach", avoid="blue"
            ),
            "ground": _band(
                "man woman child umbrella ball dog chair crab starfish tent bicycle guitar turtle",
                790,
                965,
                "on the beach",
                "on the sand",
                avoid="brown",
            ),
        },
        ("on the beach", "at the beach", "on the shore"),
        ("a beach", "a sandy beach"),
        ("day", "sunset"),
    ),
    "sea": Place(
        {
            "sky": _sky("bird balloon airplane cloud", "the sea", 450),
            "water": _band(
                "boat lighthouse duck whale", 640, 940, "on the waves", "on the open water", avoid="blue"
            ),
        },
        ("on the sea", "out at sea"),
        ("the sea", "the open sea"),
        ("day", "sunset", "night", "rain"),
    ),
    "harbour": Place(
        {
            "sky": _sky("bird balloon airplane", "the harbour", 400),
            "water": _band(
                "boat duck bridge",
                600,
                680,
                "on the water in the harbour",
                "in the harbour water",
                avoid="blue",
            ),
            "ground": _band(
                "man woman child lighthouse bench lamp bicycle dog cat car truck",
                850,
                965,
                "on the quay",
                "on the harbour wall",
            ),
        },
        ("in the harbour", "at the harbour", "in the port"),
        ("a harbour", "a small port"),
        ("day", "sunset", "night"),
    ),
    "city": Place(
        {
            "sky": _sky("airplane balloon bird moon", "the city", 300),
            "path": _band(
                "man woman child lamp dog cat bench robot",
                700,
                735,
                "on the city pavement",
                "on the pavement in the city",
            ),
            "ground": _band("car bus truck bicycle", 870, 965, "on the city street", "in the city street"),
        },
        ("in the city", "in town", "downtown"),
        ("a city", "a city street"),
        ("day", "night", "rain"),
    ),
    "road": Place(
        {
            "sky": _sky("bird balloon airplane cloud", "the road", 400),
            "path": _band(
                "house tree horse cow windmill sheep man woman",
                660,
                712,
                "beside the country road",
                "at the side of the country road",
                avoid="green",
            ),
            "ground": _band(
                "car bus truck bicycle", 840, 955, "on the country road", "on the road in the country"
            ),
        },
        ("on a country road", "along a country road"),
        ("a country road", "a road in the hills"),
        ("day", "sunset", "rain"),
    ),
    "forest": Place(
        {
            "sky": _sky("bird butterfly", "the forest floor", 520, flying="among the trees"),
            "ground": _band(
                "mushroom tent dog fox rabbit bear man woman child bench house bicycle flower",
                770,
                960,
                "in the forest",
                "on the forest floor",
                avoid="green",
            ),
        },
        ("in the forest", "in the woods"),
        ("a forest", "the woods"),
        ("day", "night", "rain"),
    ),
    "snow": Place(
        {
            "sky": _sky("bird balloon airplane", "the snow", 400),
            "ground": _band(
                "snowman child man woman dog house fox tent bear rabbit penguin bench lamp train",
                740,
                960,
                "in the snow",
                "on the snow",
                avoid="white",
            ),
        },
        ("in the snow", "in a snowy field"),
        ("a snowy field", "a winter landscape"),
        ("day", "night"),
    ),
    "desert": Place(
        {
            "sky": _sky("bird balloon airplane cloud", "the desert", 420),
            "ground": _band(
                "cactus tent car truck horse man rocket castle robot bus",
                740,
                960,
                "in the desert",
                "on the desert sand",
                avoid="orange yellow",
            ),
        },
        ("in the desert", "among the sand dunes"),
        ("a desert", "a sandy desert"),
        ("day", "sunset", "night"),
    ),
    "mountains": Place(
        {
            "sky": _sky("bird balloon airplane kite", "the mountains", 380),
            "ground": _band(
                "tent horse sheep cow man woman house castle train dog bicycle",
                780,
                960,
                "below the mountains",
                "in a mountain meadow",
                avoid="green",
            ),
        },
        ("in the mountains", "in the high mountains"),
        ("a mountain landscape", "the mountains"),
        ("day", "sunset"),
    ),
    "farm": Place(
        {
            "sky": _sky("bird kite balloon cloud butterfly", "the farm", 400),
            "ground": _band(
                "cow sheep horse house windmill truck chicken pig dog cat tree flower duck",
                740,
                960,
                "on the farm",
                "in the farm field",
                avoid="green",
            ),
        },
        ("on the farm", "on a farm", "in the fields"),
        ("a farm", "a farm field"),
        ("day", "sunset"),
    ),
    "park": Place(
        {
            "sky": _sky("kite bird balloon butterfly", "the park", 400),
            "ground": _band(
                "bench tree child man woman dog ball bicycle umbrella flower table rabbit lamp cat",
                740,
                960,
                "in the park",
                "on the grass in the park",
                avoid="green",
            ),
        },
        ("in the park", "in a green park"),
        ("a park", "a city park"),
        ("day", "sunset", "rain"),
    ),
    "lake": Place(
        {
            "sky": _sky("bird balloon airplane kite", "the lake", 380),
            "water": _band("boat duck bridge", 570, 680, "on the lake", "on the lake water", avoid="blue"),
            "ground": _band(
                "tent man woman bench child dog tree horse guitar chair bear",
                840,
                965,
                "on the lake shore",
                "beside the lake",
                avoid="green",
            ),
        },
        ("by the lake", "at the lake"),
        ("a lake", "a quiet lake"),
        ("day", "sunset"),
    ),
    "kitchen": Place(
        {
            "wall": Zone(("clock",), 40, 400, ("on the kitchen wall",), ("yellow",), True),
            "ground": _band(
                "cup apple banana book bottle teapot cake plant",
                760,
                950,
                "on the kitchen table",
                "on the table",
                avoid="brown",
            ),
        },
        ("in the kitchen", "in a kitchen"),
        ("a kitchen", "a tidy kitchen"),
        ("inside",),
    ),
    "room": Place(
        {
            "wall": Zone(("clock", "butterfly"), 40, 400, ("on the living room wall",), (), True),
            "ground": _band(
                "chair table sofa cat dog guitar ball child woman man plant robot book",
                800,
                955,
                "on the living room floor",
                "in the living room",
                avoid="brown",
            ),
        },
        ("in the living room", "in a living room"),
        ("a living room", "a cosy living room"),
        ("inside",),
    ),
    "underwater": Place(
        {
            "sea": Zone(
                (
                    "fish",
                    "jellyfish",
                    "octopus",
                    "turtle",
                    "submarine",
                    "whale",
                ),
                40,
                760,
                ("under water", "below the surface"),
                ("blue",),
                True,
            ),
            "ground": _band(
                "crab starfish castle bottle", 880, 960, "on the sea floor", "on the bottom of the sea"
            ),
        },
        ("under the sea", "in the deep sea"),
        ("the underwater world", "the sea floor"),
        ("inside",),
    ),
    "moon": Place(
        {
            "sky": Zone(
                (
                    "planet",
                    "star",
                    "rocket",
                    "astronaut",
                ),
                30,
                480,
                ("in the sky over the moon", "above the lunar ground"),
                ("black",),
                True,
            ),
            "ground": _band(
                "rocket robot astronaut tent truck car dog",
                760,
                955,
                "on the ground of the moon",
                "on the surface of the moon",
                avoid="black",
            ),
        },
        ("on the moon", "on the lunar surface"),
        ("the moon", "the lunar surface"),
        ("inside",),
    ),
    "space": Place(
        {
            "sea": Zone(
                (
                    "rocket",
                    "planet",
                    "star",
                    "astronaut",
                    "robot",
                    "moon",
                ),
                30,
                970,
                ("in space", "in outer space"),
                ("black",),
                True,
            ),
        },
        ("in space", "in outer space"),
        ("outer space", "the starry depths of space"),
        ("inside",),
    ),
}

# How two phrases are joined to say where the first is from the second.
RELATION_PHRASES: dict[str, tuple[str, ...]] = {
    "left": ("to the left of", "left of", "on the left of"),
    "right": ("to the right of", "right of", "on the right of"),
    "above": ("above", "high above", "over"),
    "below": ("below", "underneath", "under"),
    "front": ("in front of",),
    "behind": ("behind",),
}
