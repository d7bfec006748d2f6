"""The words that messages share: numbers with their nouns, the nearest known name, and a validator's rule."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

_RULES = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "extra_forbidden": "is not known here",
    "finite_number": "must be a finite number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "json_invalid": "this is not JSON: {error}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "list_type": "must be a list",
    "literal_error": "must be {expected}",
    "missing": "is missing",
    "model_type": "must be an object",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must have at least {min_length} characters",
    "string_type": "must be text",
    "too_long": "must have at most {max_length} entries",
    "too_short": "must have {min_length} or more entries",
}


def counted(number: int, one: str, many: str | None = None) -> str:
    """``1 item``, ``0 items``, ``1,200 items``; `many` is the plural where it is not `one` + s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def sized(number: int) -> str:
    """Bytes: ``0.0 KB``, ``12.3 KB``, ``1,200.0 MB``."""
    return f"{number / 1e6:,.1f} MB" if number >= 1_000_000 else f"{number / 1e3:.1f} KB"


def suggestion(name: str, known: Iterable[str]) -> str:
    """The nearest known name as a question, or all of them as a list."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(names)}"


def rule(problem: Mapping[str, Any]) -> str:
    """The rule that a value breaks, in plain English: ``must be at least 1``.

    Args:
        problem: one of pydantic's errors. Where this module has no words for its type, pydantic's message is
            returned.
    """
    words = _RULES.get(problem["type"])
    if words is None:
        return str(problem["msg"]).removeprefix("Value error, ")
    return words.format_map(problem.get("ctx", {}))
