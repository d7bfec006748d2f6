"""Walks a folder: each real folder once, links followed, files judged by ending and first bytes.

It decodes nothing and reads no captions. Paths are texts here, since a walk may meet a million of them.
"""

# ruff: noqa: PTH110, PTH112, PTH113, PTH118, PTH120, PTH122, PTH123, PTH206

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from hivlp.data.images import EXTENSIONS, format_of
from hivlp.data.sources.base import Report
from hivlp.data.sources.rules import IGNORE_FILE, Rules, by_content, by_name
from hivlp.data.sources.skipped import Skipped
from hivlp.errors import DataError

HEAD_BYTES = 64  # enough to tell a picture of any kind
_CAPTIONS, _METADATA = ".txt", ".xmp"
_READ_ANYWAY = "a link to what is read at its own place"


class WalkedFile(NamedTuple):
    """A picture that a walk found.

    Attributes:
        path: as the walk went, which may lead through links.
        below: its path below the folder of the source, with ``/`` between the parts.
        place: its path without links.
        captions: the text file beside it, if there is one.
        metadata: the XMP file beside it, if there is one.
    """

    path: Path
    below: str
    place: str
    captions: Path | None
    metadata: Path | None


class _Folder(NamedTuple):
    """A folder to read: as the walk goes, below the source, and without links; and the rules around it."""

    path: str
    below: str
    place: str
    rules: Rules


class _Listing(NamedTuple):
    """The entries of a folder by kind; ``names`` has all of them in order."""

    names: list[str]
    folders: set[str]
    links: set[str]
    others: set[str]


class Walk:
    """One walk over a folder; iterate over it once."""

    def __init__(self, root: Path, *, exclude: Sequence[str], report: Report, skipped: Skipped) -> None:
        """A walk below `root`, which is read whatever its own name is.

        Args:
            exclude: patterns in gitignore's syntax.
            report: told of folders and ignore files that can't be read.
            skipped: counts what is passed over.

        Raises:
            DataError: a pattern can't be read.
        """
        self._root = _Folder(str(root), "", os.path.realpath(root), Rules.of(exclude))
        self._report = report
        self._skipped = skipped
        self._visited = set[str]()  # folders, without links
        self._linked = set[str]()  # files that links led to
        self._later = deque[_Folder]()  # links that may lead to what is yet to be read at its own place

    def __iter__(self) -> Iterator[WalkedFile]:
        yield from self._tree(self._root)
        while self._later:
            link = self._later.popleft()
            if os.path.isdir(link.path):
                yield from self._linked_folder(link)
            elif os.path.dirname(link.place) in self._visited:
                self._skipped.link(link.path, _READ_ANYWAY)
            else:
                yield from self._linked_file(link)

    def _linked_folder(self, link: _Folder) -> Iterator[WalkedFile]:
        if _holds(link.place, self._root.place) and link.place != self._root.place:
            self._skipped.link(link.path, "a link to a folder that holds the whole source; name it instead")
        elif link.place in self._visited:
            self._skipped.link(link.path, _READ_ANYWAY)
        else:
            self._skipped.links_followed += 1
            yield from self._tree(link)

    def _linked_file(self, link: _Folder) -> Iterator[WalkedFile]:
        if link.place in self._linked:
            self._skipped.link(link.path, _READ_ANYWAY)
        elif self._is_picture(link.path):
            self._linked.add(link.place)
            self._skipped.links_followed += os.path.exists(link.path)
            beside = [next(filter(os.path.exists, names), None) for names in _sidecars(link.path)]
            yield WalkedFile(Path(link.path), link.below, link.place, *map(_path, beside))
        else:
            self._other(link.path)

    def _tree(self, top: _Folder) -> Iterator[WalkedFile]:
        """The pictures of a folder and of all real folders below it, in the order of their names."""
        open_folders = [self._entries(top)]
        while open_folders:
            entry = next(open_folders[-1], None)
            if entry is None:
                open_folders.pop()
            elif isinstance(entry, WalkedFile):
                yield entry
            elif entry.place not in self._visited:
                open_folders.append(self._entries(entry))

    def _entries(self, folder: _Folder) -> Iterator[WalkedFile | _Folder]:
        """The pictures and folders of one folder."""
        self._visited.add(folder.place)
        listing = self._listing(folder.path)
        reason = by_content(listing.names) if folder.below else None
        if reason is not None:
            self._skipped.folder(folder.path, *reason)
            return
        rules = self._rules(folder, listing)
        sidecars = dict[str, str]()  # files that may belong to a picture
        claimed = set[str]()
        present = set(listing.names)
        for name in listing.names:
            below = f"{folder.below}/{name}" if folder.below else name
            path = os.path.join(folder.path, name)
            entry = _Folder(path, below, os.path.join(folder.place, name), rules)
            if name in listing.links:
                yield from self._link(entry, name)
            elif self._is_left_out(entry, name, is_folder=name in listing.folders):
                continue
            elif name in listing.folders:
                yield entry
            elif name.lower().endswith((_CAPTIONS, _METADATA)) and not self._is_picture(path):
                sidecars[name] = path
            elif self._is_picture(path, is_plain=name not in listing.others):
                beside = [next((one for one in names if one in present), None) for names in _sidecars(name)]
                claimed.update(one for one in beside if one)
                yield WalkedFile(Path(path), below, entry.place, *(_path(one, folder.path) for one in beside))
            else:
                self._other(path)
        for name, path in sidecars.items():
            if name not in claimed:
                self._other(path)

    def _link(self, entry: _Folder, name: str) -> Iterator[WalkedFile]:
        """A link waits until all real folders are read, unless it surely leads elsewhere."""
        is_folder = os.path.isdir(entry.path)
        if self._is_left_out(entry, name, is_folder=is_folder):
            return
        link = entry._replace(place=os.path.realpath(entry.path))
        if is_folder or (os.path.exists(link.path) and self._may_be_read(link.place)):
            self._later.append(link)
        else:
            yield from self._linked_file(link)

    def _may_be_read(self, place: str) -> bool:
        """Whether a file without links lies where the walk will come by, as far as names tell."""
        root = self._root.place
        if not _holds(root, place):
            return False
        *folders, _ = os.path.relpath(place, root).split(os.sep)
        return all(by_name(name, is_folder=True) is None for name in folders)

    def _is_left_out(self, entry: _Folder, name: str, *, is_folder: bool) -> bool:
        reason = entry.rules.reason(entry.below, name, is_folder=is_folder)
        if reason is None:
            return False
        count = self._skipped.folder if is_folder else self._skipped.file
        count(entry.path, *reason)
        return True

    def _rules(self, folder: _Folder, listing: _Listing) -> Rules:
        if IGNORE_FILE not in listing.names:
            return folder.rules
        try:
            return folder.rules.inside(Path(folder.path), folder.below)
        except DataError as error:
            self._report(os.path.join(folder.path, IGNORE_FILE), str(error))
            return folder.rules

    def _listing(self, folder: str) -> _Listing:
        listing = _Listing([], set(), set(), set())
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    listing.names.append(entry.name)
                    if _is_link(entry):
                        listing.links.add(entry.name)
                    elif entry.is_dir(follow_symlinks=False):
                        listing.folders.add(entry.name)
                    elif not entry.is_file(follow_symlinks=False):
                        listing.others.add(entry.name)
        except OSError as error:
            reason = error.strerror or error
            self._report(folder, f"the folder can't be read ({reason}); check its permissions")
        listing.names.sort()
        return listing

    def _is_picture(self, path: str, *, is_plain: bool = True) -> bool:
        """Whether a file is a picture by its ending, else by its first bytes."""
        if os.path.splitext(path)[1].lower() in EXTENSIONS:
            return True
        # a pipe would be waited for
        if not is_plain or not os.path.isfile(path):
            return False
        try:
            with open(path, "rb", buffering=0) as file:
                return format_of(file.read(HEAD_BYTES)) is not None
        except OSError:
            return False

    def _other(self, path: str) -> None:
        if not os.path.exists(path):
            self._skipped.file(path, "broken link", "a link to nothing")
            return
        kind = os.path.splitext(path)[1].lower()
        self._skipped.file(path, kind or "without an ending", "not a picture")


def _is_link(entry: os.DirEntry[str]) -> bool:
    """Whether it is a symbolic link, or a junction, which is what Windows has for folders."""
    if entry.is_symlink():
        return True
    junction = getattr(stat, "IO_REPARSE_TAG_MOUNT_POINT", None)
    if os.name != "nt" or junction is None:
        return False
    return getattr(entry.stat(follow_symlinks=False), "st_reparse_tag", 0) == junction


def _holds(folder: str, place: str) -> bool:
    """Whether a place is a folder or lies below it; both are texts without links."""
    return place == folder or place.startswith(os.path.join(folder, ""))


def _path(name: str | None, folder: str = "") -> Path | None:
    return Path(folder, name) if name else None


def _sidecars(path: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of a picture's captions (``dog.txt``) and metadata (``dog.jpg.xmp``, ``dog.xmp``)."""
    stem = os.path.splitext(path)[0]
    captions = (stem + _CAPTIONS, stem + _CAPTIONS.upper())
    metadata = tuple(name + ending for name in (path, stem) for ending in (_METADATA, _METADATA.upper()))
    return captions, metadata
