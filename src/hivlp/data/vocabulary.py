"""The words that a tokenizer's vocabulary holds whole, and the nearest of them for a word that it lacks.

It knows no model and no queries. Words are in lower case and without accents, as the tokenizer reads them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

# Common words of other languages that are no words of English captions.
_FOREIGN = frozenset(
    re.findall(
        r"\w+",
        # German, Dutch
        "der das dem ein eine einen einem einer eines und oder mit auf im ist sind nicht kein keine ohne fur "
        "von zum zur uber unter vor beim zwei drei het een op met voor niet van twee "
        # French, Spanish, Italian, Portuguese
        "le les un une du des et avec dans sur est sont pas sans pour aux deux trois el los las una unos "
        "unas y con sin por del dos tres lo gli uno di che nel nella due della il e sul os um uma com em "
        "da na nas "
        # Swedish, Danish, Norwegian, Polish, Czech, Turkish, Indonesian
        "och ett med utan og av i w z nie jest ve bir ile yang di dan",
    )
) - {"i", "e", "y", "w", "z"}
# These are parts of names in English too: they count beside one of the others.
_ALSO_FOREIGN = frozenset(["de", "la", "el", "en", "die", "du", "da", "e", "y", "o", "na"])
# what English adds to the end of a word, as pieces of a word
_ENDING = re.compile(r"(?:s|es|ed|d|ing|ly)")
_MIN_ROOT = 3
_MIN_NEAR = 5  # letters from which a word may be more than one slip away
_LONG = 7
_NEAR, _NEAR_LONG = 0.8, 0.7  # likeness by difflib
_COMMON = 6_000  # what is further than a slip from a word is looked for among so many of the commonest
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_ENGLISH = ("the", "and", "with")


@dataclass(frozen=True, slots=True)
class Spelling:
    """The words of a text that a model does not know.

    Attributes:
        unknown: as they are written, each with the nearest known word or None.
        foreign: the text seems to be in a language that the model does not know.
        english: the model knows English.
    """

    unknown: dict[str, str | None]
    foreign: bool = False
    english: bool = False

    def corrected(self, text: str) -> str:
        """The text with the nearest known word in the place of each unknown one that has one."""
        if self.foreign:
            return text
        for word, nearest in self.unknown.items():
            if nearest is not None:
                text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", nearest, text)
        return text


class Vocabulary:
    """The whole words of a WordPiece vocabulary.

    Args:
        rank: the number of a piece, lower for commoner ones; None for what is no piece.
        pieces: gives all pieces; called for the first word that is not known.
    """

    def __init__(self, rank: Callable[[str], int | None], pieces: Callable[[], Sequence[str]]) -> None:
        self._rank = rank
        self._pieces = pieces

    @property
    def is_english(self) -> bool:
        """Whether the words are those of English captions."""
        return all(self._has(word) for word in _ENGLISH)

    def _has(self, word: str) -> bool:
        return len(word) > 1 and word.isalpha() and self._rank(word) is not None

    def knows(self, pieces: Sequence[str]) -> bool:
        """Whether a word is known: as one piece, or as a known word with an ending.

        What is no word (numbers, marks, single letters) counts as known.
        """
        first, *rest = pieces
        if rest:
            ending = "".join(piece.removeprefix("##") for piece in rest)
            return len(first) >= _MIN_ROOT and self._has(first) and _ENDING.fullmatch(ending) is not None
        return len(first) < 2 or not first.isalpha() or self._has(first)

    def nearest(self, word: str) -> str | None:
        """The known word that `word` was probably meant to be; None where none is near."""
        if (found := self._commonest(_one_slip_away(word))) is not None:
            return found
        if len(word) < _MIN_NEAR:
            return None
        cutoff = _NEAR if len(word) < _LONG else _NEAR_LONG
        alike = [other for other in self._by_first.get(word[0], ()) if abs(len(other) - len(word)) < 2]
        near = difflib.get_close_matches(word, alike, n=1, cutoff=cutoff)
        return near[0] if near else None

    def _commonest(self, words: Iterable[str]) -> str | None:
        known = [word for word in words if self._has(word)]
        return min(known, key=lambda word: self._rank(word) or 0) if known else None

    @cached_property
    def _by_first(self) -> dict[str, list[str]]:
        words: dict[str, list[str]] = {}
        for word in self._pieces()[:_COMMON]:
            if len(word) > 1 and word.isalpha():
                words.setdefault(word[0], []).append(word)
        return words


def is_foreign(words: Sequence[str], unknown: Sequence[str]) -> bool:
    """Whether a text seems to be in a language other than English.

    Args:
        words: all words of the text, as a tokenizer reads them.
        unknown: those of them that an English vocabulary lacks.
    """
    if any(not word.isascii() for word in unknown):
        strange = sum(not word.isascii() and word in unknown for word in words)
        if 2 * strange >= len(words):
            return True
    if _FOREIGN.isdisjoint(words):
        return False
    odd = _FOREIGN | _ALSO_FOREIGN | set(unknown)
    return 2 * sum(word in odd for word in words) >= len(words)


def _one_slip_away(word: str) -> set[str]:
    """All words that one slip makes of a word: a letter too many, too few, wrong or swapped."""
    cuts = [(word[:at], word[at:]) for at in range(len(word) + 1)]
    return {
        *(a + b[1] + b[0] + b[2:] for a, b in cuts if len(b) > 1),
        *(a + b[1:] for a, b in cuts if b),
        *(a + letter + b[1:] for a, b in cuts if b for letter in _LETTERS),
        *(a + letter + b for a, b in cuts for letter in _LETTERS),
    }
