"""How messages write numbers of things; it knows no thing."""

from __future__ import annotations


def counted(number: int, one: str, many: str | None = None) -> str:
    """``1 item``, ``0 items``, ``1,200 items``; `many` where the plural is another word than ``one`` + s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
