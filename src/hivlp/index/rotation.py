"""How an index made narrow levels of a model that has one width: the principal directions of its first items.

The file is written once, before the first item, and never changes: levels made with two rotations can't be
compared. It knows no encoder.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from hivlp.errors import IndexFolderError
from hivlp.files import write_atomically
from hivlp.index.coarse.faiss_index import principal_directions
from hivlp.index.layout import ROTATION
from hivlp.types import FloatArray


@dataclass(frozen=True, slots=True)
class Rotation:
    """Directions of a level, and of how many items they are.

    Attributes:
        directions_DW: float32, orthonormal columns, those first in which the items are longest.
        items: how many they were fitted to.
    """

    directions_DW: FloatArray
    items: int

    @staticmethod
    def fitted(fine_ND: FloatArray, width: int) -> Rotation:
        """The `width` principal directions of some vectors."""
        directions_WD = principal_directions(fine_ND, width)
        return Rotation(np.ascontiguousarray(np.transpose(directions_WD), np.float32), len(fine_ND))

    def write(self, folder: Path) -> None:
        """Puts it into an index folder."""
        buffer = BytesIO()
        np.savez(buffer, directions=self.directions_DW, items=np.int64(self.items))
        write_atomically(folder / ROTATION, buffer.getvalue())

    @staticmethod
    def read(folder: Path) -> Rotation | None:
        """The rotation of an index folder, None if it has none. Raises IndexFolderError if it is damaged."""
        try:
            content = (folder / ROTATION).read_bytes()
        except FileNotFoundError:
            return None
        try:
            with np.load(BytesIO(content), allow_pickle=False) as arrays:
                directions_DW = np.asarray(arrays["directions"], np.float32)
                return Rotation(directions_DW, int(arrays["items"]))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise IndexFolderError(
                f"{folder / ROTATION} is damaged ({error}); restore the file from a copy, or index again "
                "into a new folder"
            ) from None

    def as_dict(self) -> dict[str, Any]:
        return {"kind": "pca", "width": self.directions_DW.shape[1], "fitted_on": self.items}


def joint_rotation(image_IS: FloatArray, text_TS: FloatArray) -> FloatArray:
    """The principal directions of pictures and texts, each counting half, as orthonormal columns (S, S)."""
    parts = [rows / np.sqrt(len(rows)) for rows in (image_IS, text_TS)]
    directions_SS = principal_directions(np.concatenate(parts), image_IS.shape[1])
    return np.ascontiguousarray(np.transpose(directions_SS), np.float32)
