"""Chooses the things of a scene and their places from a seed; it writes no words and draws nothing."""

from __future__ import annotations

from dataclasses import dataclass

from hivlp.scenes.dice import Dice
from hivlp.scenes.places import LIGHT_AVOID, PLACES, SKY_AVOID, Zone
from hivlp.scenes.spec import Box, Group, SceneSpec, overlap
from hivlp.scenes.vocabulary import KINDS, Kind

SPLITS = ("train", "val", "test")
SCALES = {"small": 0.7, "": 1.0, "large": 1.36}

_MARGIN = 18
_GAP = 14
_SMALLEST = 100


@dataclass(frozen=True)
class _Wish:
    """A group that is wanted and has no position yet."""

    kind: str
    colour: str
    size: str
    count: int
    zone: str


def choose(seed: int, split: str) -> SceneSpec:
    """The scene of a seed, without captions. The same on every machine; splits share no random numbers."""
    dice = Dice.of("hivlp-scenes-1", split, seed)
    setting = dice.pick(tuple(PLACES))
    light = dice.pick(PLACES[setting].lights)
    groups: list[Group] = []
    roll = dice.unit()
    wanted = 1 if roll < 0.12 else 2 if roll < 0.66 else 3
    for _ in range(40):
        wish = _wish(dice, setting, light, groups)
        placed = _place(dice, setting, wish, groups) if wish else None
        if placed:
            groups.append(placed)
        if len(groups) == wanted:
            break
    return SceneSpec(seed, split, setting, light, tuple(groups), dice.whole(0, 2**31 - 1))


def _wish(dice: Dice, setting: str, light: str, groups: list[Group]) -> _Wish | None:
    """A plausible next group, or None where this throw of the dice fits the others badly."""
    zones = PLACES[setting].zones
    # Bands weigh by how many kinds they hold, so that no kind of a place is much rarer than another.
    weights = [name for name, zone in zones.items() for _ in range(min(len(zone.kinds), 10))]
    zone_name = dice.pick(weights)
    zone = zones[zone_name]
    twin = groups[0] if groups and dice.chance(0.16) else None
    name = twin.kind if twin else dice.pick(zone.kinds)
    if twin:
        zone_name, zone = twin.zone, zones[twin.zone]
    kind = KINDS[name]
    if name == "moon" and light in ("day", "rain"):
        return None
    if not twin and any(_clash(name, kind, group) for group in groups):
        return None
    taken = {group.colour for group in groups if group.kind == name}
    colours = [c for c in kind.colours if c not in taken and c not in _avoided(zone_name, zone, light)]
    if not colours or len(taken) > 1 or (taken and kind.most == 1):
        return None
    most = min(kind.most, 3 if groups else 4) if kind.most < 5 else 5
    roll = dice.unit()
    count = 1 if roll < 0.5 else 2 if roll < 0.75 else dice.whole(2, most)
    roll = dice.unit()
    small_enough = max(kind.width, kind.height) * SCALES["small"] >= _SMALLEST
    size = "small" if roll < 0.22 and small_enough else "large" if roll > 0.8 and count < 3 else ""
    return _Wish(name, dice.pick(colours), size, min(count, kind.most), zone_name)


def _avoided(zone_name: str, zone: Zone, light: str) -> tuple[str, ...]:
    sky = SKY_AVOID.get(light, ()) if zone_name == "sky" else ()
    return (*zone.avoid, *LIGHT_AVOID.get(light, ()), *sky)


def _clash(name: str, kind: Kind, group: Group) -> bool:
    """Whether a kind can't meet a group: the same kind by accident, or a word that could mean both."""
    return group.kind == name or (kind.family != "" and KINDS[group.kind].family == kind.family)


def _place(dice: Dice, setting: str, wish: _Wish, groups: list[Group]) -> Group | None:
    """The group with boxes that are inside of the picture and hide nothing, or None without room."""
    zone = PLACES[setting].zones[wish.zone]
    kind = KINDS[wish.kind]
    count = wish.count
    for attempt in range(24):
        if attempt and attempt % 8 == 0 and count > 1:
            count -= 1
        boxes = None
        host = groups[-1] if groups else None
        if host and attempt < 6 and _can_be_before(host, wish, zone, kind) and dice.chance(0.5):
            boxes = _before(dice, kind, wish, host, zone)
            others = groups[:-1]
        else:
            boxes = _free(dice, kind, wish, count, zone)
            others = groups
        if boxes and not any(_meets(box, other) for box in boxes for other in others):
            mirrored = tuple([dice.chance(0.5)] * len(boxes))
            return Group(wish.kind, wish.colour, wish.size, wish.zone, boxes, mirrored)
    return None


def _sides(dice: Dice, kind: Kind, size: str) -> tuple[int, int]:
    scale = SCALES[size] * dice.real(0.96, 1.04)
    return round(kind.width * scale), round(kind.height * scale)


def _meets(box: Box, group: Group) -> bool:
    wider = (box[0] - _GAP, box[1] - _GAP, box[2] + _GAP, box[3] + _GAP)
    return any(overlap(wider, other) > 0 for other in group.boxes)


def _free(dice: Dice, kind: Kind, wish: _Wish, count: int, zone: Zone) -> tuple[Box, ...] | None:
    """Boxes of a group in rows somewhere in its band."""
    wide, high = _sides(dice, kind, wish.size)
    step_x, step_y = round(wide * 1.1) + 8, round(high * 1.08) + 8
    columns = min(count, (1000 - 2 * _MARGIN) // step_x)
    depth = zone.bottom - zone.top - (high if zone.floating else 0)
    if count > 2 and depth >= step_y and dice.chance(0.5):
        columns = min(columns, (count + 1) // 2)
    if columns == 0:
        return None
    rows = -(-count // columns)
    slack = depth - (rows - 1) * step_y
    if slack < 0:
        return None
    first_bottom = zone.top + (high if zone.floating else 0) + dice.whole(0, slack)
    if first_bottom - high < _MARGIN:
        return None
    left = dice.whole(_MARGIN, 1000 - _MARGIN - columns * step_x)
    last = 1000 - _MARGIN if zone.floating else zone.bottom
    boxes: list[Box] = []
    for number in range(count):
        row, column = divmod(number, columns)
        # The last row can be shorter than the others: it is shifted to their middle.
        short = (columns - (count - row * columns)) * step_x // 2 if row == rows - 1 else 0
        x = left + column * step_x + short + dice.whole(0, max(0, step_x - wide - 2))
        bottom = first_bottom + row * step_y + dice.whole(-3, 3)
        bottom = max(high + _MARGIN, min(bottom, last))
        boxes.append((x, bottom - high, x + wide, bottom))
    return tuple(boxes)


def _can_be_before(host: Group, wish: _Wish, zone: Zone, kind: Kind) -> bool:
    """Whether the wish can stand in front of the host: one much bigger thing on the same ground."""
    if zone.floating or host.zone != wish.zone or host.count != 1 or wish.count > 2:
        return False
    left, top, right, bottom = host.boxes[0]
    scale = SCALES[wish.size]
    return (
        kind.height * scale < 0.72 * (bottom - top)
        and kind.width * scale < 0.9 * (right - left)
        and bottom + 40 < zone.bottom
    )


def _before(dice: Dice, kind: Kind, wish: _Wish, host: Group, zone: Zone) -> tuple[Box, ...] | None:
    """The box of one thing in front of the host, hiding less than a quarter of it."""
    wide, high = _sides(dice, kind, wish.size)
    left, top, right, bottom = host.boxes[0]
    foot = dice.whole(bottom + 40, zone.bottom)
    x = dice.whole(left - wide // 3, right - wide + wide // 3)
    box = (x, foot - high, x + wide, foot)
    inside = x >= _MARGIN and x + wide <= 1000 - _MARGIN
    hidden = overlap(box, host.boxes[0]) / ((right - left) * (bottom - top))
    return (box,) if inside and 0 < hidden < 0.25 else None
