"""The errors that HiVLP raises on purpose, and nothing else.

Every message has three parts: the value, the rule that it breaks, and the remedy.
The command line prints the message and exits with code 2, or 3 where nothing of a source could be used; a
service maps the classes to HTTP codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class HivlpError(Exception):
    """Parent of everything that HiVLP raises on purpose."""


class ConfigError(HivlpError):
    """A setting has an unknown name, a wrong type or an invalid value."""


class DataError(HivlpError):
    """A source of pictures and captions is missing, damaged or of another format."""


class NothingUsableError(DataError):
    """Of a source that could be opened, nothing at all could be used; the exit code is 3."""


class ImageError(DataError):
    """One picture can't be decoded; the rest of the run goes on without it."""


class ModelError(HivlpError):
    """A model is missing, damaged or not usable in the requested way."""


class IndexFolderError(HivlpError):
    """An index folder is missing, damaged, locked, or made with another model."""


class QueryError(HivlpError):
    """A query or one of its parameters is invalid."""


class FilterError(QueryError):
    """A filter over items is invalid, or names a key that no item has."""


def first_reasons(failures: Sequence[Any], most: int = 3) -> str:
    """The first failures in one line, for the message where nothing could be used; empty without failures.

    Args:
        failures: records with ``uri`` and ``error``.
    """
    shown = "; ".join(f"{failure.uri}: {failure.error}" for failure in failures[:most])
    more = f"; and {len(failures) - most:,} more" if len(failures) > most else ""
    return (
        f"the first of {len(failures):,} problems: {shown}{more}"
        if len(failures) > 1
        else (f"the first problem: {shown}" if shown else "")
    )


class MissingExtraError(HivlpError):
    """An optional package is required and not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed. "
            f"Install it with: pip install 'hivlp[{extra}]'"
        )
        self.package = package
        self.extra = extra
