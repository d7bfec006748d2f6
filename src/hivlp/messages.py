"""How messages write numbers, and what a validator says in plain words; it knows no thing."""

from __future__ import annotations

_PLAIN = {
    "Input should be a valid integer, unable to parse string as an integer": "it must be a whole number",
    "Input should be a valid number, unable to parse string as a number": "it must be a number",
    "is not a valid integer": "is no whole number",
    "is not a valid float": "is no number",
    "Input should be greater than or equal to": "it must be at least",
    "Input should be less than or equal to": "it must be at most",
    "Input should be": "it must be",
}


def counted(number: int, one: str, many: str | None = None) -> str:
    """``1 item``, ``0 items``, ``1,200 items``; `many` where the plural is another word than ``one`` + s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def sized(number: int) -> str:
    """Bytes: ``0.0 KB``, ``12.3 KB``, ``1,200.0 MB``."""
    return f"{number / 1e6:,.1f} MB" if number >= 1_000_000 else f"{number / 1e3:.1f} KB"


def plain(message: str) -> str:
    """What a validator says, in words that name the rule."""
    for theirs, ours in _PLAIN.items():
        message = message.replace(theirs, ours)
    return message
