"""A filter cut into words, and the message that shows a place in it; it knows no grammar."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hivlp.errors import FilterError

KEYWORDS = frozenset({"and", "or", "not", "in", "like", "between", "is", "null", "contains", "true", "false"})
OPERATORS = "= != < <= > >=, like, in (…), between … and …, contains, or is null"
_TOKEN = re.compile(
    r"""(?P<space>\s+)
    | '(?P<text>(?:[^']|'')*)'
    | "(?P<quoted>[^"]+)"
    | (?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?![\w.])
    | (?P<word>[^\W\d]\w*)
    | (?P<mark><>|!=|<=|>=|[=<>(),.])""",
    re.VERBOSE,
)
_SHOWN_BEFORE, _SHOWN_AFTER = 50, 30


@dataclass(frozen=True)
class Token:
    """``kind`` is ``keyword``, ``mark``, ``word``, ``quoted``, ``text``, ``number`` or ``end``."""

    kind: str
    text: str
    place: int


def tokens(expression: str) -> list[Token]:
    """The words of a filter with their places, and an ``end`` behind them. Raises FilterError for others."""
    found: list[Token] = []
    place = 0
    while place < len(expression):
        match = _TOKEN.match(expression, place)
        if match is None or match.lastgroup is None:
            raise _unreadable(expression, place)
        kind, text = match.lastgroup, match[match.lastgroup]
        if kind in ("text", "quoted"):
            _check_letters(expression, place, text)
        if kind == "text":
            text = text.replace("''", "'")
        if kind == "word" and text.lower() in KEYWORDS:
            kind, text = "keyword", text.lower()
        if kind != "space":
            found.append(Token(kind, text, place))
        place = match.end()
    return [*found, Token("end", "", len(expression))]


def _check_letters(expression: str, place: int, text: str) -> None:
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise error(
            expression,
            place,
            "a NUL or a broken character is in these quotes",
            "Take it out, or use like '%'.",
        )


def _unreadable(expression: str, place: int) -> FilterError:
    letter = expression[place]
    if letter in "'\"":
        rule, remedy = f"the {letter} that stands here is never closed", f"Close it with another {letter}."
        if letter == "'":
            remedy += " A quote inside of a text is written twice: ''."
        elif expression[place : place + 2] == '""':
            rule, remedy = "a metadata key has to have a name", "Write it between the double quotes."
    elif letter.isdigit() or letter in "+-":
        rule, remedy = "this is not a number", "Write it like 20, -1.5 or 2e6, and texts in single quotes."
    else:
        rule, remedy = f"{letter!r} has no meaning in a filter", f"Operators are {OPERATORS}."
    return error(expression, place, rule, remedy)


def error(expression: str, place: int, rule: str, remedy: str) -> FilterError:
    """A message with the part of the expression around the place, and a caret under it."""
    start = max(0, place - _SHOWN_BEFORE)
    end = place + _SHOWN_AFTER
    before, after = ("…" if start else ""), ("…" if end < len(expression) else "")
    shown = "".join(letter if letter.isprintable() else " " for letter in expression[start:end])
    caret = " " * (len(before) + place - start) + "^"
    return FilterError(
        f"the filter is wrong at character {place + 1}: {rule}. {remedy}\n  {before}{shown}{after}\n  {caret}"
    )
