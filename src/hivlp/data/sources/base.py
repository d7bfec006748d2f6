"""What every source of pictures and captions promises, and the cleaning that all of them share."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from datetime import date, time
from typing import Any, TypeAlias

from hivlp.data.sources.cells import is_missing, listed
from hivlp.data.sources.skipped import Skipped
from hivlp.errors import DataError
from hivlp.types import Failure, Sample

# Called with the place (a path, `table.tsv row 7`, `a.tar#member`) and the problem there.
Report: TypeAlias = Callable[[str, str], None]

_SURROGATE = re.compile("[\ud800-\udfff]")


class Source(ABC):
    """Pictures with captions, one :class:`Sample` at a time; it can be iterated again and again.

    Attributes:
        name: short name for tables and progress lines.
        failures: what the iteration begun last could not use so far, in order; complete once it ended.
        notes: things worth telling a person before reading, such as an option without effect.
        skipped: files that the latest iteration skipped, such as videos between the pictures of a folder.
    """

    # Where a source can't hold one id twice, the memory of ids is saved.
    _ids_are_unique = False
    # Whether a sample without captions has none; else the source says nothing about them.
    describes = True

    def __init__(self, name: str) -> None:
        self.name = name
        self.failures: list[Failure] = []
        self.notes: list[str] = []
        self.skipped = Skipped()

    def __iter__(self) -> Iterator[Sample]:
        """The samples in a fixed order, the first of each id; the list of failures starts again."""
        failures: list[Failure] = []
        self.failures = failures

        def report(uri: str, error: str) -> None:
            failures.append(Failure(uri=printable(uri), error=error))

        samples = self._samples(report)
        return samples if self._ids_are_unique else _without_duplicates(samples, report)

    @abstractmethod
    def _samples(self, report: Report) -> Iterator[Sample]:
        """All samples of the chosen split; problems go to ``report`` and are not fatal."""

    def count(self) -> int | None:
        """Samples of an iteration, those that may fail included; None where only reading all would tell."""
        return None

    def splits(self) -> dict[str, int]:
        """Samples of each split of the whole source; empty where it has no splits."""
        return {}

    def _choose_split(self, split: str | None) -> str | None:
        """The split to filter by. Raises DataError where the source has only other splits."""
        if split is None:
            return None
        wanted = clean_split(split)
        found = self.splits()
        if not found:
            self.notes.append(no_splits_note(self.name, split))
            return None
        if wanted not in found:
            raise DataError(unknown_split(self.name, split, found))
        return wanted


def no_splits_note(name: str, split: str) -> str:
    """The note of a source without splits when a split was chosen."""
    return f"{name} has no splits; all of it is used as split {split!r}"


def unknown_split(name: str, split: str, found: Mapping[str, int]) -> str:
    """The message for a split that is not there, with those that are."""
    listed = ", ".join(f"{key} ({number:,})" for key, number in found.items())
    return f"{name} has no split {split!r}; take one of: {listed}"


def _without_duplicates(samples: Iterator[Sample], report: Report) -> Iterator[Sample]:
    first_uris: dict[str, str] = {}
    for sample in samples:
        first = first_uris.setdefault(sample.id, sample.uri)
        if first is sample.uri:
            yield sample
        else:
            report(sample.uri, f"duplicate id {sample.id!r}, first at {first}; give it another id")


def clean_text(text: str) -> str:
    """One line: every run of white space (tabs, newlines) becomes one space, NUL and lone surrogates go."""
    text = " ".join(text.replace("\0", " ").split())
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def clean_captions(value: Any) -> tuple[str, ...]:
    """The captions of a cell: a text, an object with a text, or a list of these, without missing ones."""
    if is_missing(value) or isinstance(value, (bytes, bytearray)):
        return ()
    if isinstance(value, Mapping):
        return clean_captions(_text_of(value))
    if isinstance(value, (list, tuple)):
        return tuple(caption for part in value for caption in _cleaned(part))
    text = value if isinstance(value, str) else str(value)
    parts = listed(text)
    if parts is not None:
        return clean_captions(parts)
    text = clean_text(text)
    return (text,) if text else ()


def _cleaned(part: Any) -> tuple[str, ...]:
    """A member of a list; what looks like a list inside of one is a text."""
    if not isinstance(part, str):
        return clean_captions(part)
    return () if is_missing(part) else (clean_text(part),)


# the fields of an object that hold its text, best first: of Karpathy, FiftyOne, LLaVA, OpenAI and others
_TEXT_FIELDS = ("raw", "caption", "text", "sentence", "value", "content", "label", "name", "description")
_ANSWERING = frozenset({"gpt", "assistant", "model", "bot", "chatgpt"})


def _text_of(record: Mapping[str, Any]) -> Any:
    """The text of an object, else all of its texts; of a conversation only what the model answers."""
    speaker = record.get("from", record.get("role"))
    if speaker is not None and speaker not in _ANSWERING:
        return None
    for name in _TEXT_FIELDS:
        if name in record:
            return record[name]
    return [value for name, value in record.items() if isinstance(value, str) and name != "type"]


_SPLITS = {"restval": "train", "validation": "val", "valid": "val", "dev": "val"}


def clean_split(value: Any) -> str | None:
    """The name of a split; ``restval``, the rest of COCO's validation pictures, counts as ``train``.

    ``validation``, ``valid`` and ``dev`` are ``val``.
    """
    if is_missing(value):
        return None
    name = clean_text(str(value))
    return _SPLITS.get(name, name) or None


def plain(value: Any) -> Any:
    """A value of metadata as JSON can hold it: times become ISO texts, NaN and bytes become None."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, (date, time)):
        return value.isoformat()
    return None if isinstance(value, (bytes, bytearray)) else str(value)


def printable(text: str) -> str:
    """A text that any terminal, JSON document and database takes, whatever bytes a file name holds."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def is_utf8(text: str) -> bool:
    """Whether a file name could be written as UTF-8."""
    return text.isascii() or _SURROGATE.search(text) is None


def decode_text(data: bytes, where: str) -> str:
    """Bytes as UTF-8 text. Raises DataError naming the place and the first wrong byte."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        guess = "UTF-16" if data[:2] in UTF16_MARKS else "another encoding, such as Latin-1"
        raise DataError(
            f"{where} is not UTF-8 text (byte {error.start}: 0x{data[error.start]:02x}); "
            f"it looks like {guess}: save it as UTF-8"
        ) from None


UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
