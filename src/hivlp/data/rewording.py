"""Other wordings of a caption that are as true as it is: words of the same meaning, two captions in one.

English only, and few words: each group holds what may stand for one another in nearly any caption, takes the
same article, and is of one number and form.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

SAME_MEANING: tuple[tuple[str, ...], ...] = (
    ("man", "guy"),
    ("men", "guys"),
    ("woman", "lady"),
    ("women", "ladies"),
    ("child", "kid"),
    ("children", "kids", "youngsters"),
    ("puppy", "pup"),
    ("puppies", "pups"),
    ("bike", "bicycle"),
    ("bikes", "bicycles"),
    ("motorbike", "motorcycle"),
    ("motorbikes", "motorcycles"),
    ("boat", "vessel"),
    ("boats", "vessels"),
    ("rocks", "stones"),
    ("street", "road"),
    ("path", "trail"),
    ("sidewalk", "pavement"),
    ("couch", "sofa"),
    ("shop", "store"),
    ("backpack", "rucksack"),
    ("photo", "photograph", "picture"),
    ("crowd", "throng"),
    ("big", "large"),
    ("small", "little"),
    ("grey", "gray"),
    ("snowy", "snow-covered"),
    ("grassy", "grass-covered"),
    ("wet", "soaked"),
    ("jumping", "leaping"),
    ("jumps", "leaps"),
    ("smiling", "grinning"),
    ("smiles", "grins"),
    ("talking", "speaking"),
    ("talks", "speaks"),
    ("beside", "next to"),
    ("near", "close to"),
    ("toward", "towards"),
    ("beneath", "below"),
)
_GROUP = {word: group for group in SAME_MEANING for word in group}
_LONGEST_FIRST = "|".join(map(re.escape, sorted(_GROUP, key=len, reverse=True)))
_KNOWN = re.compile(rf"(?<![\w-])(?:{_LONGEST_FIRST})(?![\w-])", re.IGNORECASE)


class Said(NamedTuple):
    """A caption as it is said in a batch, and as the source has it."""

    text: str
    original: str


def reworded(text: str, share: float, random: np.random.Generator) -> str:
    """The text, where each word that has others of its meaning becomes one of them at a chance of `share`."""

    def other(found: re.Match[str]) -> str:
        word = found.group()
        if random.random() >= share:
            return word
        others = [one for one in _GROUP[word.lower()] if one != word.lower()]
        chosen = others[int(random.integers(len(others)))]
        return chosen.capitalize() if word[0].isupper() else chosen

    return _KNOWN.sub(other, text)


def said(
    text: str, captions: Sequence[str], *, synonyms: float, mixing: float, random: np.random.Generator
) -> Said:
    """How a caption or a hard negative is said this time.

    Args:
        captions: of the same picture, one of which, another than the text, may follow it.
        synonyms: chance of each word that has others of its meaning to become one of them.
        mixing: chance that another caption follows. What is wrong stays in front, where no limit cuts it off.
    """
    whole = text
    others = [one for one in captions if one != text] if mixing else []
    if others and random.random() < mixing:
        whole = f"{text.rstrip(' .')}. {others[int(random.integers(len(others)))]}"
    return Said(reworded(whole, synonyms, random) if synonyms else whole, text)
