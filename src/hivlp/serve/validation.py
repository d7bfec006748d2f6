"""Messages for invalid bodies and parameters, in plain English instead of pydantic's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MESSAGES = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "extra_forbidden": "is unknown",
    "finite_number": "must be a finite number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "json_invalid": "is not valid JSON: {error}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "list_type": "must be a list",
    "literal_error": "must be {expected}",
    "missing": "is missing",
    "model_type": "must be an object",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must have at least {min_length} characters",
    "string_type": "must be text",
    "too_long": "has too many values: at most {max_length}",
    "too_short": "has too few values: at least {min_length}",
}


def validation_message(problem: Mapping[str, Any]) -> str:
    """The message for one error of pydantic; its own message where the table has none."""
    template = _MESSAGES.get(problem["type"])
    if template is None:
        return problem["msg"].removeprefix("Value error, ")
    return template.format_map(problem.get("ctx", {}))
