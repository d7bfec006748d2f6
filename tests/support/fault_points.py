"""Instants at which a writer may die: before and after each call that makes something durable or remove it.

For the tests only; the package knows nothing of it. ``watch(function)`` calls the function at each of them.
"""

from __future__ import annotations

import functools
import os
import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any
from unittest import mock

_CALLS = ("fsync", "replace", "rename", "unlink", "truncate")
_STATEMENTS = (
    "BEGIN IMMEDIATE",
    "COMMIT",
    "VACUUM",
    "PRAGMA wal_checkpoint(TRUNCATE)",
    "DROP TABLE items_before",
)


@contextmanager
def watch(at: Callable[[str], None]) -> Generator[None, None, None]:
    """While it lasts, ``at("before fsync")``, ``at("after COMMIT")`` and so on are called."""

    def surrounded(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def wrapper(*arguments: Any, **options: Any) -> Any:
            at(f"before {name}")
            result = call(*arguments, **options)
            at(f"after {name}")
            return result

        return wrapper

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            if sql not in _STATEMENTS:
                return super().execute(sql, *parameters)
            return surrounded(sql, super().execute)(sql, *parameters)

    with (
        mock.patch.multiple(os, **{name: surrounded(name, getattr(os, name)) for name in _CALLS}),
        mock.patch.object(sqlite3, "connect", functools.partial(sqlite3.connect, factory=Connection)),
    ):
        yield
