"""Writes true captions of a scene, and false ones of the same words; it draws nothing.

A caption is a claim (phrases, a relation, bands) put into words. The same test of truth admits the
captions and, with looser relations, rejects the near-misses: neither depends on how a sentence was made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from hivlp.scenes.dice import Dice
from hivlp.scenes.places import LIGHT_PHRASES, PLACES, RELATION_PHRASES
from hivlp.scenes.spec import Box, Group, SceneSpec, could_hold, holds, union
from hivlp.scenes.vocabulary import COUNT_WORDS, FLY, KINDS, STAND


@dataclass(frozen=True)
class Phrase:
    """What a caption says of some things: "two small red boats".

    An empty colour or size is not said. ``name`` is which of the kind's names is used.
    """

    kind: str
    count: int
    colour: str = ""
    size: str = ""
    name: int = 0

    def text(self) -> str:
        """The phrase in words, with its count or article."""
        kind = KINDS[self.kind]
        number = 0 if self.count == 1 else 1
        noun = kind.names[self.name][number]
        words = kind.form[number].format(c=self.colour, n=noun) if self.colour else noun
        words = words.replace(" a orange", " an orange")
        words = f"{self.size} {words}" if self.size else words
        if self.count == 1:
            return f"an {words}" if words[0] in "aeio" or words.startswith("umb") else f"a {words}"
        return f"{COUNT_WORDS[self.count]} {words}"

    def matching(self, groups: Sequence[Group]) -> tuple[Group, ...]:
        """The groups that this phrase fits, whatever their count."""
        return tuple(
            group
            for group in groups
            if group.kind == self.kind and self.colour in ("", group.colour) and self.size in ("", group.size)
        )


@dataclass(frozen=True)
class Claim:
    """A sentence with slots {0} {1} {2} for its phrases, and what it says of them.

    Attributes:
        relation: of the first phrase to the second, or empty.
        zones: the band in which each phrase is said to be, empty where nothing is said.
    """

    template: str
    phrases: tuple[Phrase, ...]
    relation: str = ""
    zones: tuple[str, ...] = ("", "", "")

    def text(self) -> str:
        """The sentence."""
        return self.template.format(*[phrase.text() for phrase in self.phrases])

    def is_true(self, groups: Sequence[Group], related: Callable[[str, Box, Box], bool] = holds) -> bool:
        """Whether every count, colour, size, band and the relation are as in the picture.

        ``related`` judges the relation: strictly for captions, loosely for negatives, which must be false.
        """
        found = [phrase.matching(groups) for phrase in self.phrases]
        for phrase, matches, zone in zip(self.phrases, found, self.zones, strict=False):
            if sum(group.count for group in matches) != phrase.count:
                return False
            if zone and any(group.zone != zone for group in matches):
                return False
        if any(set(a) & set(b) for a, b in combinations(found, 2)):
            return False
        return not self.relation or related(self.relation, _bounds(found[0]), _bounds(found[1]))


def _bounds(groups: Sequence[Group]) -> Box:
    return union(group.bounds for group in groups)


def write(spec: SceneSpec) -> SceneSpec:
    """The scene with its captions and near-misses."""
    dice = Dice.of("captions", spec.look, spec.seed, spec.split)
    claims = _claims(spec, dice)
    captions = tuple(dict.fromkeys(claim.text() for claim in claims))
    misses = (miss for claim in claims for miss in near_misses(claim, spec.groups))
    return replace(spec, captions=captions, near_misses=tuple(dict.fromkeys(misses))[:8])


def _claims(spec: SceneSpec, dice: Dice) -> list[Claim]:
    """One true claim for each style: full, short, listing, relation, there is, what they do."""
    writers = (_full, _short, _listing, _relation, _there_is, _doing)
    claims = [writer(spec, dice) for writer in writers]
    for claim in claims:
        if not claim.is_true(spec.groups):
            raise AssertionError(f"scene {spec.split} {spec.seed}: untrue caption {claim.text()!r}")
    return claims


def near_misses(claim: Claim, groups: Sequence[Group]) -> list[str]:
    """False sentences made of the words of a true one: colours, sizes, counts or whole phrases swapped."""
    words = words_of(claim.text())
    # "In the park" is loosely true of a kite above it too: only these bands can make a sentence false.
    zones = tuple(zone if zone in ("sky", "water", "wall") else "" for zone in claim.zones)
    misses: list[str] = []
    for i, j in combinations(range(len(claim.phrases)), 2):
        a, b = claim.phrases[i], claim.phrases[j]
        swaps = (
            (replace(a, colour=b.colour), replace(b, colour=a.colour)),
            (b, a),
            (replace(a, count=b.count), replace(b, count=a.count)),
            (replace(a, size=b.size), replace(b, size=a.size)),
        )
        for new_a, new_b in swaps:
            phrases = list(claim.phrases)
            phrases[i], phrases[j] = new_a, new_b
            swapped = replace(claim, phrases=tuple(phrases), zones=zones)
            same_words = words_of(swapped.text()) == words
            if same_words and swapped.text() != claim.text() and not swapped.is_true(groups, could_hold):
                misses.append(swapped.text())
    return misses


def words_of(text: str) -> list[str]:
    """The words of a text whatever their order: a near-miss has those of the caption it was made from."""
    return sorted(text.replace(",", "").split())


def _phrase(group: Group, dice: Dice, *, size: bool = True) -> Phrase:
    names = KINDS[group.kind].names
    name = dice.whole(1, len(names) - 1) if len(names) > 1 and dice.chance(0.35) else 0
    return Phrase(group.kind, group.count, group.colour, group.size if size else "", name)


def _light(spec: SceneSpec, dice: Dice, probability: float = 1.0) -> str:
    phrase = dice.pick(LIGHT_PHRASES[spec.light])
    return f" {phrase}" if phrase and dice.chance(probability) else ""


def _where(spec: SceneSpec, group: Group, dice: Dice) -> str:
    return dice.pick(PLACES[spec.setting].zones[group.zone].where)


def _related(groups: Sequence[Group]) -> list[tuple[int, int, str]]:
    """Every (group, group, relation) that holds in the picture, in words people use."""
    pairs: list[tuple[int, int, str]] = []
    for i in range(len(groups)):
        for j in range(len(groups)):
            if i == j:
                continue
            a, b = groups[i], groups[j]
            for name in RELATION_PHRASES:
                upper = a if name == "above" else b
                # Over the ground is "behind" for standing things: only what floats can be above.
                if name in ("above", "below") and upper.zone not in ("sky", "wall", "sea"):
                    continue
                if name in ("front", "behind") and not (a.zone == b.zone == "ground"):
                    continue
                if holds(name, a.bounds, b.bounds):
                    pairs.append((i, j, name))
    return pairs


def _pick_relation(spec: SceneSpec, dice: Dice) -> tuple[int, int, str] | None:
    pairs = _related(spec.groups)
    # Depth and height say more than the side, and are rarer.
    strong = [pair for pair in pairs if pair[2] not in ("left", "right")]
    if strong and dice.chance(0.6):
        return dice.pick(strong)
    return dice.pick(pairs) if pairs else None


def _join(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def _side(group: Group) -> str:
    left, _, right, _ = group.bounds
    if right <= 520:
        return "on the left"
    if left >= 480:
        return "on the right"
    return "in the middle" if left > 300 and right < 700 else ""


def _full(spec: SceneSpec, dice: Dice) -> Claim:
    """Everything: counts, sizes, colours, a relation where one holds, place and light."""
    groups = spec.groups
    place = dice.pick(PLACES[spec.setting].phrases) + _light(spec, dice)
    relation = _pick_relation(spec, dice)
    if relation:
        i, j, name = relation
        rest = [k for k in range(len(groups)) if k not in (i, j)]
        order = [i, j, *rest]
        template = f"{{0}} {dice.pick(RELATION_PHRASES[name])} {{1}} {place}"
        zones = ["", ""]
        if rest:
            third = groups[rest[0]]
            said = third.zone != groups[j].zone
            template += f", with {{2}} {_where(spec, third, dice)}" if said else ", together with {2}"
            zones.append(third.zone if said else "")
        phrases = tuple(_phrase(groups[k], dice) for k in order)
        return Claim(template, phrases, name, tuple(zones))
    phrases = tuple(_phrase(group, dice) for group in groups)
    if len(groups) == 1:
        side = _side(groups[0])
        template = f"{{0}} {_where(spec, groups[0], dice)}{_light(spec, dice)}" + (
            f", {side}" if side else ""
        )
        return Claim(template, phrases, zones=(groups[0].zone,))
    template = " and ".join(f"{{{k}}} {_where(spec, g, dice)}" for k, g in enumerate(groups))
    return Claim(template + _light(spec, dice), phrases, zones=tuple(g.zone for g in groups))


def _short(spec: SceneSpec, dice: Dice) -> Claim:
    """One or two groups without sizes, and where they are."""
    twins = len({group.kind for group in spec.groups}) < len(spec.groups)
    if len(spec.groups) == 1 or (dice.chance(0.3) and not twins):
        group = dice.pick(spec.groups)
        template = f"{{0}} {_where(spec, group, dice)}{_light(spec, dice, 0.5)}"
        return Claim(template, (_phrase(group, dice, size=False),), zones=(group.zone,))
    first = dice.whole(0, len(spec.groups) - 1)
    second = (first + 1) % len(spec.groups)
    phrases = tuple(_phrase(spec.groups[k], dice, size=False) for k in (first, second))
    return Claim(f"{{0}} and {{1}} {dice.pick(PLACES[spec.setting].phrases)}", phrases)


def _listing(spec: SceneSpec, dice: Dice) -> Claim:
    """The place first, then everything that is there."""
    phrases = tuple(_phrase(group, dice) for group in spec.groups)
    slots = _join([f"{{{k}}}" for k in range(len(phrases))])
    title = dice.pick(PLACES[spec.setting].titles) + _light(spec, dice)
    opening = dice.pick((f"{title} with", f"{title}, with", f"a picture of {title} with"))
    return Claim(f"{opening} {slots}", phrases)


def _relation(spec: SceneSpec, dice: Dice) -> Claim:
    """Two groups and how they stand to each other, or one group and its side of the picture."""
    relation = _pick_relation(spec, dice)
    if relation:
        i, j, name = relation
        phrases = (_phrase(spec.groups[i], dice), _phrase(spec.groups[j], dice))
        verb = ("is ", "are ")[spec.groups[i].count > 1] if dice.chance(0.4) else ""
        light = _light(spec, dice, 0.6)
        return Claim(f"{{0}} {verb}{dice.pick(RELATION_PHRASES[name])} {{1}}{light}", phrases, name)
    phrases = tuple(_phrase(group, dice) for group in spec.groups)
    place = dice.pick(PLACES[spec.setting].phrases)
    return Claim(_join([f"{{{k}}}" for k in range(len(phrases))]) + f" {place}", phrases)


def _there_is(spec: SceneSpec, dice: Dice) -> Claim:
    """There is this, and that."""
    phrases = tuple(_phrase(group, dice, size=dice.chance(0.5)) for group in spec.groups)
    if not Claim("", phrases).is_true(spec.groups):
        phrases = tuple(_phrase(group, dice) for group in spec.groups)
    verb = "is" if phrases[0].count == 1 else "are"
    slots = _join([f"{{{k}}}" for k in range(len(phrases))])
    place = dice.pick(PLACES[spec.setting].phrases)
    return Claim(f"there {verb} {slots} {place}{_light(spec, dice, 0.7)}", phrases)


def _doing(spec: SceneSpec, dice: Dice) -> Claim:
    """What each of one or two groups does where it is."""
    count = min(len(spec.groups), 2)
    first = dice.whole(0, len(spec.groups) - 1)
    groups = [spec.groups[(first + k) % len(spec.groups)] for k in range(count)]
    parts = [f"{{{k}}} {_verb(g)} {_where(spec, g, dice)}" for k, g in enumerate(groups)]
    phrases = tuple(_phrase(group, dice) for group in groups)
    template = dice.pick((" while ", " and ")).join(parts) + _light(spec, dice, 0.5)
    return Claim(template, phrases, zones=tuple(group.zone for group in groups))


def _verb(group: Group) -> str:
    verb = KINDS[group.kind].verb
    # A robot that drifts through space does not stand, and a rocket in the sky flies.
    if group.zone in ("sea", "sky") and (verb == STAND or group.kind == "rocket"):
        verb = FLY if group.zone == "sky" else ("floats", "float")
    if group.zone == "ground" and verb[0] in ("swims", "floats", "flies"):
        verb = STAND
    if group.zone == "wall":
        verb = ("hangs", "hang")
    return verb[0] if group.count == 1 else verb[1]
