"""Finds the picture file that a table means, also where the table spells or places it a little differently.

Tables are made on other machines: with absolute paths of Windows, without the folder that the pictures were
unpacked into, without endings, with capital letters. What is found is never a guess between two files.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import unquote

from hivlp.data.images import EXTENSIONS, problem_with
from hivlp.messages import counted

_FOLDERS_LOOKED_INTO = 2_000
_DEPTH = 4
_FILES_LISTED = 200_000
_LISTINGS_KEPT = 32


class PicturePlace(Protocol):
    """Where the pictures of a table are."""

    def find(self, names: Sequence[str]) -> tuple[str, str | None]:
        """The uri of the first name that is a picture file; or that of the first one, with its problem."""
        ...

    def image(self, uri: str) -> Path | bytes:
        """The picture of a uri that was found. Raises DataError where it can't be read."""
        ...

    def settle(self, names: Sequence[str]) -> str | None:
        """Looks for the pictures elsewhere if none is where it should be; a note on what was found."""
        ...


class FolderPlace:
    """Pictures below a folder."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._elsewhere: tuple[int, Path] | None = None
        self._speller = _Speller()

    def find(self, names: Sequence[str]) -> tuple[str, str | None]:
        first: tuple[str, str | None] | None = None
        for name in names:
            path = self._base / name
            problem = problem_with(path)
            if problem is None:
                return str(path), None
            first = first or (str(path), problem)
        for name in names:
            found = self._otherwise(name)
            if found is not None:
                return str(found), None
        assert first is not None
        return first

    def image(self, uri: str) -> Path:
        return Path(uri)

    def _otherwise(self, name: str) -> Path | None:
        """The file in the folder that was settled on, or one spelt otherwise."""
        parts = PurePosixPath(name).parts
        if self._elsewhere is not None:
            dropped, folder = self._elsewhere
            found = self._speller.find(folder, parts[dropped:]) if len(parts) > dropped else None
            if found is not None:
                return found
        return None if PurePosixPath(name).is_absolute() else self._speller.find(self._base, parts)

    def settle(self, names: Sequence[str]) -> str | None:
        """Takes the folder, and the number of parts that are left out of all paths, that give all pictures.

        Parts are only left out where the rest of each path is different from all others, and the folder that
        the paths name is not there. Of several possibilities the one counts that keeps most of the paths.
        """
        paths = [PurePosixPath(name).parts for name in names]
        sample = paths[:: max(len(paths) // 20, 1)][:20]
        folders = _folders(self._base)
        shortest = min(map(len, paths), default=0)
        for dropped in range(shortest):
            tails = {parts[dropped:] for parts in paths}
            folder_is_there = (self._base / PurePosixPath(*sample[0][:-1])).is_dir()
            if len(tails) < len(set(paths)) or (dropped and folder_is_there):
                return None
            for folder in folders:
                found = [self._speller.find(folder, parts[dropped:]) for parts in sample]
                if sum(path is not None for path in found) * 2 > len(sample):
                    self._elsewhere = (dropped, folder)
                    left = f"; of each path the first {counted(dropped, 'part')} left out" if dropped else ""
                    return f"the pictures were found below {folder}{left}"
        return None


def _folders(base: Path) -> list[Path]:
    """A folder and those below it, nearest first, without hidden ones."""
    found, level = [base], [base]
    for _ in range(_DEPTH):
        level = [below for folder in level for below in _below(folder)]
        found += level
        if len(found) > _FOLDERS_LOOKED_INTO:
            break
    return found[:_FOLDERS_LOOKED_INTO]


def _below(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(
                Path(entry.path)
                for entry in entries
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            )
    except OSError:
        return []


class _Speller:
    """Finds files whose names are spelt otherwise; it lists a folder once."""

    def __init__(self) -> None:
        self._listed: dict[Path, dict[str, list[str]]] = {}

    def find(self, folder: Path, parts: Sequence[str]) -> Path | None:
        """The picture file below a folder by its path, or by one that differs in spelling.

        That is in capital letters, in the encoding of accents, in ``%20`` for a blank, or in a missing
        ending. None without such a file, or with several.
        """
        path = folder.joinpath(*parts)
        if problem_with(path) is None:
            return path
        for place, part in enumerate(parts):
            name = self._name(folder, part, is_last=place == len(parts) - 1)
            if name is None:
                return None
            folder = folder / name
        return folder if problem_with(folder) is None else None

    def _name(self, folder: Path, part: str, *, is_last: bool) -> str | None:
        names = self._names(folder)
        for wanted in dict.fromkeys((_key(part), _key(unquote(part)))):
            found = names.get(wanted) or (names.get(f"{wanted}\0") if is_last else None)
            if found is not None:
                return found[0] if len(found) == 1 else None
        return None

    def _names(self, folder: Path) -> dict[str, list[str]]:
        if folder not in self._listed:
            if len(self._listed) >= _LISTINGS_KEPT:
                self._listed.pop(next(iter(self._listed)))
            self._listed[folder] = _listing(folder)
        return self._listed[folder]


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _listing(folder: Path) -> dict[str, list[str]]:
    """The names in a folder by a simplified spelling; pictures also without their ending, marked by NUL."""
    names: dict[str, list[str]] = {}
    try:
        entries = os.listdir(folder)  # noqa: PTH208  names are all that is needed, of many files
    except OSError:
        return {}
    if len(entries) > _FILES_LISTED:
        return {}
    for name in entries:
        names.setdefault(_key(name), []).append(name)
        stem, ending = os.path.splitext(name)  # noqa: PTH122
        if ending.lower() in EXTENSIONS:
            names.setdefault(f"{_key(stem)}\0", []).append(name)
    return names
