"""Counts the files and folders that a source skipped, by kind; it decides nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeAlias

from hivlp.messages import counted

# Called with a path and the reason that it was passed over.
Listener: TypeAlias = Callable[[str, str], None]

_SHOWN = 8  # kinds in the line for people; the others are summed up


class Skipped:
    """Files and folders that the iteration begun last passed over, and what else it met on its way.

    Attributes:
        files: how many of each kind, such as ``.mov``, ``hidden`` or ``excluded``.
        folders: the same of folders, such as ``@eaDir``; what is inside of them was not looked at.
        links_followed: links to folders and files elsewhere.
        links_left: links to what is read at its own place, or to a folder that holds the source itself.
        sidecars: pictures that took their captions from a text file beside them.
        listener: is given each of them with the reason, where one is set.
    """

    def __init__(self) -> None:
        self.files = Counter[str]()
        self.folders = Counter[str]()
        self.links_followed = 0
        self.links_left = 0
        self.sidecars = 0
        self.listener: Listener | None = None

    def clear(self) -> None:
        """Starts to count anew."""
        self.files.clear()
        self.folders.clear()
        self.links_followed = self.links_left = self.sidecars = 0

    def file(self, path: str, kind: str, reason: str) -> None:
        """Counts a file."""
        self.files[kind] += 1
        self._tell(path, reason)

    def folder(self, path: str, kind: str, reason: str) -> None:
        """Counts a folder with all that is in it."""
        self.folders[kind] += 1
        self._tell(path, reason)

    def link(self, path: str, reason: str) -> None:
        """Counts a link that was not followed."""
        self.links_left += 1
        self._tell(path, reason)

    def _tell(self, path: str, reason: str) -> None:
        if self.listener is not None:
            self.listener(path, reason)

    @property
    def count(self) -> int:
        """Everything that a listener was given."""
        return self.files.total() + self.folders.total() + self.links_left

    def line(self) -> str:
        """One line for people; empty where nothing was passed over and no link followed."""
        parts = [
            f"{counted(found.total(), noun)} skipped: {_kinds(found)}"
            for found, noun in ((self.files, "file"), (self.folders, "folder"))
            if found
        ]
        if self.links_left:
            parts.append(f"{counted(self.links_left, 'link')} skipped")
        if self.links_followed:
            parts.append(f"{counted(self.links_followed, 'link')} followed")
        return "; ".join(parts)

    def as_dict(self) -> dict[str, Any]:
        return {
            "files": dict(self.files.most_common()),
            "folders": dict(self.folders.most_common()),
            "links_followed": self.links_followed,
            "links_skipped": self.links_left,
        }


def _kinds(found: Counter[str]) -> str:
    ordered = sorted(found.items(), key=lambda entry: (-entry[1], entry[0]))
    shown = [f"{number:,} {kind}" for kind, number in ordered[:_SHOWN]]
    others = sum(number for _, number in ordered[_SHOWN:])
    return ", ".join([*shown, f"{others:,} of other kinds"] if others else shown)
