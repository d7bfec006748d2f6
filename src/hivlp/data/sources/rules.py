"""Decides by names which files and folders are not the owner's pictures; it lists no folder.

Folders of systems, programs and recycle bins are left out by default. Patterns in gitignore's syntax leave
out more, or take back in: those of the caller first, then those of ``.hivlpignore`` files, nearest first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from pathspec import GitIgnoreSpec

from hivlp.errors import DataError

IGNORE_FILE = ".hivlpignore"
NO_MEDIA = ".nomedia"  # how Android marks folders whose pictures are not for galleries
_INDEX_FILES = frozenset({"manifest.json", "items.db"})

_NAS = "a folder of the NAS, with thumbnails or snapshots"
_BIN = "a recycle bin"
_SYSTEM = "a folder of the operating system"
_LIBRARY = "the library of a photo program; name a folder inside it, such as originals, to read that one"
# names in lower case
_FOLDERS: Mapping[str, str] = {
    **dict.fromkeys(("@eadir", "@tmp", "@sharebin", "@sharesnap", "@__thumb"), _NAS),
    **dict.fromkeys(("#snapshot", "@snapshot", "@recently-snapshot", "~snapshot"), _NAS),
    **dict.fromkeys(("#recycle", "@recycle", "$recycle.bin", "recycler", "network trash folder"), _BIN),
    **dict.fromkeys(("system volume information", "lost+found", "found.000", "temporary items"), _SYSTEM),
    "__macosx": "what macOS adds to archives",
    "ipod photo cache": "thumbnails of iTunes",
    "captureone": "previews of Capture One",
}
_ENDINGS: Mapping[str, str] = {
    **dict.fromkeys((".photoslibrary", ".photolibrary", ".migratedphotolibrary", ".aplibrary"), _LIBRARY),
    **dict.fromkeys((".lrdata", ".lrcat-data"), "previews of Lightroom"),
    **dict.fromkeys((".cocatalog", ".cosessiondb"), "previews of Capture One"),
    **dict.fromkeys((".fcpbundle", ".imovielibrary", ".app"), "a bundle of a program"),
}
_HIDDEN = "hidden: the name begins with a dot"
_INDEX = "an index of hivlp"


class Reason(NamedTuple):
    """Why something is left out.

    Attributes:
        kind: a word or two to count it under.
        text: a phrase for people.
    """

    kind: str
    text: str


@dataclass(frozen=True)
class Rules:
    """The rules that hold in one folder.

    Attributes:
        chosen: the caller's patterns, relative to the folder of the source.
        files: the folder of each ignore file, below that of the source, with its patterns; outermost first.
    """

    chosen: GitIgnoreSpec
    files: tuple[tuple[str, GitIgnoreSpec], ...] = ()

    @staticmethod
    def of(exclude: Sequence[str]) -> Rules:
        """The rules of a source. Raises DataError for a pattern that can't be read."""
        return Rules(_patterns(exclude, "--exclude"))

    def inside(self, folder: Path, below: str) -> Rules:
        """The rules of a folder that has an ignore file. Raises DataError where that can't be read."""
        path = folder / IGNORE_FILE
        try:
            lines = path.read_text("utf-8-sig").splitlines()
        except (OSError, ValueError) as error:
            raise DataError(f"the ignore file can't be read ({error}); save it as UTF-8") from error
        spec = _patterns(lines, str(path))
        return replace(self, files=(*self.files, (below, spec))) if len(spec) else self

    def reason(self, below: str, name: str, *, is_folder: bool) -> Reason | None:
        """Why an entry is left out; None where it is read.

        Args:
            below: its path below the folder of the source, with ``/`` between the parts.
            name: the last part of it.
        """
        excluded = self._excluded(below + "/" if is_folder else below)
        if excluded is None:
            return by_name(name, is_folder=is_folder)
        return Reason("excluded", "excluded by a pattern") if excluded else None

    def _excluded(self, below: str) -> bool | None:
        """What the patterns say, the nearest first; None where none of them fits."""
        if len(self.chosen):
            found = self.chosen.check_file(below).include
            if found is not None:
                return found
        for folder, spec in reversed(self.files):
            found = spec.check_file(below[len(folder) + 1 :] if folder else below).include
            if found is not None:
                return found
        return None


def by_name(name: str, *, is_folder: bool) -> Reason | None:
    """Why an entry of this name is left out where no pattern says anything; None where it is read."""
    if not is_folder:
        return Reason("hidden", _HIDDEN) if name.startswith(".") else None
    low = name.lower()
    if low in _FOLDERS:
        return Reason(name, _FOLDERS[low])
    ending = "." + low.rpartition(".")[2]
    if ending in _ENDINGS:
        return Reason(ending, _ENDINGS[ending])
    if low.endswith(".hivlp"):
        return Reason(".hivlp", _INDEX)
    return Reason(name if low == ".thumbnails" else "hidden", _HIDDEN) if name.startswith(".") else None


def by_content(names: Iterable[str]) -> Reason | None:
    """Why a folder with entries of these names is left out, whatever it is called; None where it is read."""
    names = set(names)
    if NO_MEDIA in names:
        return Reason("with .nomedia", "holds a file .nomedia, which keeps its pictures out of galleries")
    return Reason(".hivlp", _INDEX) if names >= _INDEX_FILES else None


def _patterns(lines: Sequence[str], where: str) -> GitIgnoreSpec:
    try:
        return GitIgnoreSpec.from_lines(lines)
    except ValueError as error:
        raise DataError(
            f"{where}: a pattern is invalid ({error}); write it as in a .gitignore, such as *.gif or /Scans/"
        ) from error
