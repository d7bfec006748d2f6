"""The errors that HiVLP raises on purpose, and nothing else.

Every message has three parts: the value that was met, the rule it breaks, and the remedy.
The command line prints the message and exits with code 2; a service maps the classes to HTTP codes.
"""

from __future__ import annotations


class HivlpError(Exception):
    """Parent of everything that HiVLP raises on purpose."""


class ConfigError(HivlpError):
    """A setting has an unknown name, a wrong type or an impossible value."""


class DataError(HivlpError):
    """A source of pictures and captions can't be read as what it claims to be."""


class ImageError(DataError):
    """One picture can't be decoded; the rest of the run goes on without it."""


class ModelError(HivlpError):
    """A model can't be found, opened or used as asked."""


class IndexFolderError(HivlpError):
    """An index folder is missing, damaged, locked, or made with another model."""


class QueryError(HivlpError):
    """A query or one of its parameters is outside of what can be answered."""


class FilterError(QueryError):
    """A filter over items can't be understood, or names what no item has."""


class MissingExtraError(HivlpError):
    """An optional dependency is needed and not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed. "
            f"Install it with: pip install 'hivlp[{extra}]'"
        )
        self.package = package
        self.extra = extra
