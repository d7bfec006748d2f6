"""The names and places of the files of an index folder, which it makes and never reads."""

from __future__ import annotations

import re
from pathlib import Path

from hivlp.files import new_folder, sync_folder
from hivlp.index.items import ItemTable
from hivlp.index.manifest import NAME as MANIFEST
from hivlp.index.manifest import Manifest
from hivlp.index.vectors import DTYPES, LevelFile

ITEMS = "items.db"
LEVELS = "levels"
COARSE = "coarse"
PLAN = "plan.json"
ROTATION = "rotation.npz"
LOCK = "write.lock"
_LEVEL_NAME = re.compile(rf"(?P<width>\d+)(?:\.g(?P<generation>[1-9]\d*))?\.(?:{'|'.join(DTYPES)})")


def make_folder(path: Path, manifest: Manifest) -> None:
    """Makes an empty index folder; it is complete or absent."""
    with new_folder(path) as draft:
        (draft / LEVELS).mkdir(parents=True)
        for width in manifest.widths:
            LevelFile(draft / LEVELS, width, manifest.dtype).create()
        ItemTable.create(draft / ITEMS)
        manifest.write(draft)
        sync_folder(draft / LEVELS)


def looks_like_index(path: str | Path) -> bool:
    """Whether a path seems to be an index folder; any text may be passed."""
    try:
        return all((Path(path) / name).is_file() for name in (MANIFEST, ITEMS))
    except (OSError, ValueError):  # a text that no file can be named
        return False


def level_files(folder: Path, manifest: Manifest, generation: int) -> dict[int, LevelFile]:
    """The level files of one generation, by width; they may be there or not."""
    return {w: LevelFile(folder / LEVELS, w, manifest.dtype, generation) for w in manifest.widths}


def leftovers(folder: Path, generation: int) -> list[Path]:
    """Remains of an interrupted writer: files of other generations, and drafts.

    While a compaction runs its new files look the same, so only the writer may remove any.
    """
    others = [path for path, name in _named_as_levels(folder) if int(name["generation"] or 0) != generation]
    return [*others, *sorted(folder.glob("*.tmp")), *sorted(folder.glob("*/*.tmp"))]


def strange_levels(folder: Path, manifest: Manifest) -> list[Path]:
    """Level files of widths that the manifest does not have."""
    return [path for path, name in _named_as_levels(folder) if int(name["width"]) not in manifest.widths]


def sizes(folder: Path) -> dict[str, int]:
    """Bytes of every file of the index, by its name inside the folder."""
    found = [folder / name for name in (MANIFEST, ITEMS, f"{ITEMS}-wal", PLAN, ROTATION)]
    found += [*sorted((folder / LEVELS).iterdir()), *sorted(folder.glob(f"{COARSE}/*"))]
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in found if path.exists()}


def _named_as_levels(folder: Path) -> list[tuple[Path, re.Match[str]]]:
    try:
        paths = sorted((folder / LEVELS).iterdir())
    except FileNotFoundError:
        return []
    return [(path, name) for path in paths if (name := _LEVEL_NAME.fullmatch(path.name))]
