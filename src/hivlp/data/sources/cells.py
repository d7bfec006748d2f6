"""What a cell of a table means: nothing, one value, or a list as JSON, Python or numpy writes it."""

from __future__ import annotations

import ast
import json
import math
import re
import warnings
from collections.abc import Mapping
from typing import Any

# What pandas, R, SQL and spreadsheets write where a value is missing.
_MISSING = frozenset(
    {
        "",
        "nan",
        "NaN",
        "NAN",
        "-nan",
        "-NaN",
        "None",
        "null",
        "NULL",
        "Null",
        "NA",
        "N/A",
        "n/a",
        "<NA>",
        "NaT",
    }
    | {"#N/A", "#NA", "#N/A N/A"}
)
_OUTER = re.compile(r"(?:array\(\s*)?\[(.*)\](?:,\s*dtype=[\w<>|']+)?\s*\)?|\((.*)\)", re.DOTALL)
_ESCAPED = r"(?:[^{0}\\]|\\.)*"
_TOKEN = re.compile(
    rf"""[ubUB]?(?:'({_ESCAPED.format("'")})'|"({_ESCAPED.format('"')})")|(None|nan|NaN|null|<NA>)""",
    re.DOTALL,
)
_BETWEEN = re.compile(r"[\s,]*")
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_LETTERS = {"n": "\n", "t": "\t", "r": "\r"}
_LONGEST = 1_000_000  # characters of a cell that is tried as a list


def is_missing(value: Any) -> bool:
    """Whether a cell holds no value: None, NaN, or a text that says so (``nan``, ``None``, ``NA``)."""
    if isinstance(value, str):
        return value.strip() in _MISSING
    return value is None or (isinstance(value, float) and math.isnan(value))


def listed(text: str) -> list[Any] | Mapping[str, Any] | None:
    """The list or object that a text spells, or None for any other text.

    Read are lists of texts in JSON (``["a", "b"]``), Python (``['a', "b"]``, tuples too) and numpy
    (``['a' 'b']``), and lists of objects. A list of numbers, such as ``[1]``, stays a text.
    """
    text = text.strip()
    if not text or text[0] not in "[({a" or len(text) > _LONGEST:
        return None
    for read in (_json, _tokens, _python):
        value = read(text)
        if value is not None:
            return value
    return None


def _json(text: str) -> list[Any] | Mapping[str, Any] | None:
    try:
        return _of_texts(json.loads(text))
    except (ValueError, RecursionError):
        return None


def _python(text: str) -> list[Any] | Mapping[str, Any] | None:
    """A Python literal with objects or lists inside; flat lists are read by `_tokens`."""
    if "{" not in text and "[" not in text[1:]:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes such as \d
            return _of_texts(ast.literal_eval(text))
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None


def _of_texts(value: Any) -> list[Any] | Mapping[str, Any] | None:
    """A list of texts, objects or such lists; an object. None for anything else."""
    if isinstance(value, Mapping):
        return value if value and all(isinstance(key, str) for key in value) else None
    if not isinstance(value, (list, tuple)):
        return None
    parts = [part for part in value if not is_missing(part)]
    good = all(isinstance(part, str) or _of_texts(part) is not None for part in parts)
    return list(parts) if good else None


def _tokens(text: str) -> list[Any] | None:
    """A flat list of quoted texts, with commas or blanks between them."""
    outer = _OUTER.fullmatch(text)
    if outer is None:
        return None
    inside, is_tuple = (outer[1], False) if outer[1] is not None else (outer[2], True)
    parts: list[Any] = []
    found = 0
    position = _end(inside, 0)
    while position < len(inside):
        token = _TOKEN.match(inside, position)
        if token is None:
            return None
        found += 1
        if token[3] is None:
            parts.append(_unescaped(token[1] if token[1] is not None else token[2]))
        position = _end(inside, token.end())
        if position == token.end() < len(inside):
            return None
    # one quoted text in parentheses is a caption
    return None if is_tuple and found < 2 else parts


def _end(text: str, position: int) -> int:
    match = _BETWEEN.match(text, position)
    assert match is not None
    return match.end()


def _unescaped(text: str) -> str:
    def letter(match: re.Match[str]) -> str:
        code = match[1] or match[2]
        return chr(int(code, 16)) if code else _LETTERS.get(match[3], match[3])

    return _ESCAPE.sub(letter, text) if "\\" in text else text
