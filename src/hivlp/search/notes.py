"""What a person should know of how a model reads the words of a query; and their correction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hivlp.data.vocabulary import Spelling
from hivlp.encode.base import Encoder, spelling_by, unread_by
from hivlp.search import wording
from hivlp.search.query import Part

_MOST = 3  # words that one note names
_LONGEST = 20


def notes_on(text: str, encoder: Encoder) -> tuple[str, ...]:
    """Notes for the user on how an encoder reads a text, one sentence each."""
    notes = list[str]()
    if encoder.cuts(text):
        notes.append("the query is longer than the model reads; its end was cut and ignored")
    spelling = spelling_by(encoder, text)
    if spelling.foreign:
        notes.append(
            "the query does not seem to be English, the only language of this model: write it in English"
        )
    elif spelling.unknown:
        notes.append(_unknown(spelling))
    if not spelling.foreign and (unread := unread_by(encoder, text)):
        named = ", ".join(repr(word[:_LONGEST]) for word in unread[:_MOST])
        notes.append(f"the model can't read {named}: its training captions did not have such letters")
    return (*notes, *wording.notes_on(text))


def spelled(parts: Sequence[Part], encoder: Encoder) -> tuple[list[Part], tuple[str, ...]]:
    """The parts of a query with misspelt words corrected, and a note on each change."""
    corrected, notes = list[Part](), list[str]()
    for part in parts:
        text = part.text and spelling_by(encoder, part.text).corrected(part.text)
        if text != part.text:
            notes.append(f"searched for {text!r} instead of {part.text!r}")
        corrected.append(replace(part, text=text))
    return corrected, tuple(notes)


def _unknown(spelling: Spelling) -> str:
    words = spelling.unknown
    named = ", ".join(repr(word[:_LONGEST]) for word in list(words)[:_MOST])
    near = [nearest for nearest in words.values() if nearest is not None][:_MOST]
    if not near:
        return f"the model does not know {named}: describe it with other {'English ' * spelling.english}words"
    meant = ", ".join(repr(word) for word in near)
    return f"the model does not know {named}; did you mean {meant}? The option spell (--spell) corrects it"
