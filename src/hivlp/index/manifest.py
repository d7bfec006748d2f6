"""What an index folder says about itself in ``manifest.json``; it knows nothing of items or vectors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, cast

from hivlp.errors import IndexFolderError
from hivlp.files import write_atomically
from hivlp.index.vectors import DTYPES

NAME = "manifest.json"
FORMAT = "hivlp-index"
VERSION = 2  # the latest that can be read; 2 has generations, which format 1 would take for damage


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The unchanging facts of an index.

    Attributes:
        model_name: for people; ``model_fingerprint`` decides whether a model is the same.
        model_fingerprint: changes with the weights and the preprocessing.
        preprocessing: how pictures were brought to pixels, as the model describes it.
        widths: of the levels, narrowest first.
        dtype: of the stored vectors.
        created_at: ISO 8601, UTC.
        hivlp_version: of the package that made the index.
        version: of the format: 1, or 2 from the first compaction on.
    """

    model_name: str
    model_fingerprint: str
    preprocessing: Mapping[str, Any]
    widths: tuple[int, ...]
    dtype: str
    created_at: str
    hivlp_version: str
    version: int = 1

    def __post_init__(self) -> None:
        if not self.widths or list(self.widths) != sorted(set(self.widths)) or self.widths[0] < 1:
            raise IndexFolderError(
                f"an index can't have the levels {list(self.widths)}: widths are positive and all different, "
                "narrowest first. Pass the widths of the model, for example (32, 64, 128, 512)."
            )
        if self.dtype not in DTYPES:
            raise IndexFolderError(f"dtype={self.dtype!r} is invalid: choose from {', '.join(DTYPES)}.")

    def write(self, folder: Path) -> None:
        """Replaces the manifest of a folder as a whole: a reader sees the old one or the new one."""
        record = {"format": FORMAT, "version": self.version, **asdict(self)}
        text = json.dumps(record, indent=2, ensure_ascii=False)
        write_atomically(folder / NAME, (text + "\n").encode())

    @staticmethod
    def read(folder: Path) -> Manifest:
        """The manifest of an index folder. Raises IndexFolderError where none can be understood."""
        path = folder / NAME
        try:
            text = path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            raise IndexFolderError(_not_an_index(folder)) from None
        except OSError as error:
            raise IndexFolderError(
                f"{path} can't be read: {error.strerror or error}. Reading an index needs permission for all "
                "its files."
            ) from error
        except UnicodeDecodeError as error:
            raise _damaged(path, str(error)) from error
        return _parse(text, path)


def _parse(text: str, path: Path) -> Manifest:
    try:
        record: Any = json.loads(text)
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    known = cast("dict[str, Any]", record) if isinstance(record, dict) else {}
    other = known.get("format")
    if isinstance(other, str) and other != FORMAT and other.startswith("hivlp-"):
        raise IndexFolderError(
            f"{path.parent} is not an index folder: its manifest.json says format {other!r}. Give the folder "
            "that `hivlp index --out` made; an exported index is read by `hivlp import`."
        )
    if other != FORMAT:
        raise _damaged(path, f'it does not say "format": "{FORMAT}"')
    version = known.get("version")
    if not isinstance(version, int) or version < 1:
        raise _damaged(path, f"its version is {version!r}")
    if version > VERSION:
        raise IndexFolderError(
            f"{path.parent} has index format {version}, made by hivlp "
            f"{known.get('hivlp_version', 'of a later day')}; this hivlp reads up to format {VERSION}. "
            "Upgrade hivlp, or index again into a new folder."
        )
    try:
        return Manifest(
            model_name=str(known["model_name"]),
            model_fingerprint=str(known["model_fingerprint"]),
            preprocessing=dict(known["preprocessing"]),
            widths=tuple(int(width) for width in known["widths"]),
            dtype=str(known["dtype"]),
            created_at=str(known["created_at"]),
            hivlp_version=str(known["hivlp_version"]),
            version=version,
        )
    except KeyError as error:
        raise _damaged(path, f"it lacks {error}") from error
    except (TypeError, ValueError, IndexFolderError) as error:
        raise _damaged(path, str(error)) from error


def package_version() -> str:
    """Version of hivlp, or ``unknown`` where it runs from a bare source tree."""
    try:
        return metadata.version("hivlp")
    except metadata.PackageNotFoundError:
        return "unknown"


def _not_an_index(folder: Path) -> str:
    if not folder.exists():
        return (
            f"{folder} is not an index. Check the path, or make an index with: "
            f"hivlp index SOURCE --out {folder}"
        )
    what = "has no manifest.json" if folder.is_dir() else "is a file"
    return (
        f"{folder} is not an index folder: it {what}. Give the folder that `hivlp index --out` made, or make "
        "one under a name that is free: hivlp index SOURCE --out photos.hivlp"
    )


def _damaged(path: Path, why: str) -> IndexFolderError:
    return IndexFolderError(
        f"{path} is damaged: {why}. Restore the file from a copy, or index again into a new folder."
    )
