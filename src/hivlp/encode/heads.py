"""Levels on top of a frozen encoder: each a map of its vectors, in numpy; no torch.

A map is linear, or a small MLP around a linear one; that of pictures and that of texts may differ. A folder
of heads holds `config.json`, `heads.npz` and the encoder's own folder as `base/`, so it can be moved like any
other model folder.

S width of the base's level that a head reads, D of the level that it makes, H hidden units.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hivlp.config import CONFIG_FILE, Settings
from hivlp.data.images import MAX_PIXELS, LoadedPicture
from hivlp.encode import hub
from hivlp.encode.base import Encoder, ImageInput, device_of, load, unread_by
from hivlp.errors import ModelError
from hivlp.types import Embeddings, FloatArray

VERSION, LINEAR_VERSION = 2, 1  # heads that are all linear are written so that older releases read them
HEADS_FILE, BASE = "heads.npz", "base"


@dataclass(frozen=True, slots=True)
class Mlp:
    """What is added to a linear map: ``relu(rows @ first) @ second``.

    It has no biases, so that longer rows give longer ones in the same direction: as the linear map beside it
    it may be taken into the layer behind the rows, where these have no unit length yet (`train.fold`).
    """

    first_SH: FloatArray
    second_HD: FloatArray

    def __call__(self, rows_NS: FloatArray) -> FloatArray:
        return np.maximum(rows_NS @ self.first_SH, 0) @ self.second_HD


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """How one level comes from a level of the base: ``unit(base[source] @ map)``, and with an MLP its sum.

    Attributes:
        source: width of the base's level that is read.
        image_SD: float32, the map of pictures, source × width of the new level.
        text_SD: float32, the map of texts.
        image_mlp: added to the output of the map of pictures; None adds nothing.
        text_mlp: added to the output of the map of texts.
        method: what made it, for people: ``kept``, ``truncated``, ``pca``, ``rotated`` or ``learned``.
    """

    source: int
    image_SD: FloatArray
    text_SD: FloatArray
    image_mlp: Mlp | None = None
    text_mlp: Mlp | None = None
    method: str = "learned"

    @staticmethod
    def shared(map_SD: FloatArray, method: str) -> Head:
        """One map for pictures and texts."""
        map_SD = np.ascontiguousarray(map_SD, np.float32)
        return Head(source=len(map_SD), image_SD=map_SD, text_SD=map_SD, method=method)

    @staticmethod
    def prefix(source: int, width: int, method: str) -> Head:
        """The first numbers of a level; all of them leave it as it is."""
        return Head.shared(np.eye(source, width, dtype=np.float32), method)

    def images(self, base: Embeddings) -> FloatArray:
        """This level of pictures, unit rows."""
        return _mapped(base[self.source], self.image_SD, self.image_mlp)

    def texts(self, base: Embeddings) -> FloatArray:
        """This level of texts, unit rows."""
        return _mapped(base[self.source], self.text_SD, self.text_mlp)

    def arrays(self) -> dict[str, FloatArray]:
        """All its numbers by name, the maps first."""
        named = {"image": self.image_SD, "text": self.text_SD}
        for side, mlp in (("image", self.image_mlp), ("text", self.text_mlp)):
            if mlp is not None:
                named |= {f"{side}.first": mlp.first_SH, f"{side}.second": mlp.second_HD}
        return named


Heads = Mapping[int, Head]


def _mapped(rows_NS: FloatArray, map_SD: FloatArray, mlp: Mlp | None) -> FloatArray:
    rows_ND = rows_NS @ map_SD
    return unit(rows_ND if mlp is None else rows_ND + mlp(rows_NS))


def unit(rows_ND: FloatArray) -> FloatArray:
    """Rows brought to length 1, as `model.levels.unit` does it."""
    return rows_ND / np.maximum(np.linalg.norm(rows_ND, axis=1, keepdims=True), 1e-6)


class HeadsEncoder:
    """See `encode.base.Encoder`. A base encoder whose vectors go through heads."""

    def __init__(self, folder: Path, *, name: str | None = None, threads: int = 0) -> None:
        heads = read_heads(folder)
        base = load(folder / BASE, threads=threads)
        self._set(base, heads, name=name or str(folder), mark=_fingerprint(base, heads))

    @classmethod
    def of(cls, base: Encoder, heads: Heads, *, name: str | None = None) -> HeadsEncoder:
        """An encoder over a base in memory."""
        encoder = cls.__new__(cls)
        encoder._set(base, heads, name=name or base.name, mark=_fingerprint(base, heads))
        return encoder

    def _set(self, base: Encoder, heads: Heads, *, name: str, mark: str) -> None:
        self.base, self._heads = base, dict(sorted(heads.items()))
        self.name, self.fingerprint = name, mark
        self.widths = tuple(self._heads)
        self.device = device_of(base)

    @property
    def heads(self) -> Heads:
        """By width, narrowest first."""
        return self._heads

    @property
    def preprocessing(self) -> Settings:
        return self.base.preprocessing

    def encode_texts(self, texts: Sequence[str]) -> Embeddings:
        base = self.base.encode_texts(texts)
        return Embeddings({width: head.texts(base) for width, head in self.heads.items()})

    def encode_pixels(self, pixels_B: NDArray[Any], /) -> Embeddings:
        return self._images(self.base.encode_pixels(pixels_B))

    def encode_images(self, images: Sequence[ImageInput]) -> Embeddings:
        return self._images(self.base.encode_images(images))

    def load_picture(self, picture: ImageInput, *, max_pixels: int = MAX_PIXELS) -> LoadedPicture:
        return self.base.load_picture(picture, max_pixels=max_pixels)

    def cuts(self, text: str) -> bool:
        return self.base.cuts(text)

    def unread(self, text: str) -> list[str]:
        """The parts of a text that mean nothing to the model underneath."""
        return unread_by(self.base, text)

    def _images(self, base: Embeddings) -> Embeddings:
        return Embeddings({width: head.images(base) for width, head in self.heads.items()})


def write_heads(folder: Path, base: Path, heads: Heads, *, name: str) -> None:
    """Makes a folder of heads with a copy of the base's own; its configuration is written last.

    Args:
        folder: the folder to make; an existing one is replaced.
        base: the model folder, HiVLP's or transformers'.
        name: for people.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if hub.model_kind(base) == "transformers":
        (folder / BASE).mkdir()
        for path in hub.needed_files(base):
            shutil.copyfile(path, folder / BASE / path.name)
    else:
        shutil.copytree(base, folder / BASE)
    (folder / HEADS_FILE).write_bytes(_to_bytes(heads))
    bent = any(head.image_mlp or head.text_mlp for head in heads.values())
    record = {
        "format": hub.HEADS_FORMAT,
        "version": VERSION if bent else LINEAR_VERSION,
        "name": name,
        "levels": {str(width): _recorded(head) for width, head in sorted(heads.items())},
    }
    (folder / CONFIG_FILE).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def read_heads(folder: Path) -> dict[int, Head]:
    """The heads of a folder. Raises ModelError where a file is missing, damaged or of a later version."""
    try:
        record = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        if record["version"] > VERSION:
            raise ModelError(
                f"{folder} has version {record['version']} of the format {hub.HEADS_FORMAT}, this HiVLP "
                f"reads up to {VERSION}; upgrade HiVLP"
            )
        with np.load(BytesIO((folder / HEADS_FILE).read_bytes()), allow_pickle=False) as maps:
            return {
                int(width): Head(
                    source=level["source"],
                    image_SD=maps[f"{width}.image"],
                    text_SD=maps[f"{width}.text"],
                    image_mlp=_mlp(maps, f"{width}.image") if "image" in level.get("mlp", ()) else None,
                    text_mlp=_mlp(maps, f"{width}.text") if "text" in level.get("mlp", ()) else None,
                    method=level["method"],
                )
                for width, level in record["levels"].items()
            }
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise ModelError(f"the heads of {folder} are damaged ({error}): copy the model again") from None


def _recorded(head: Head) -> dict[str, Any]:
    bent = [side for side, mlp in (("image", head.image_mlp), ("text", head.text_mlp)) if mlp is not None]
    return {"source": head.source, "method": head.method, **({"mlp": bent} if bent else {})}


def _mlp(maps: Mapping[str, FloatArray], side: str) -> Mlp:
    return Mlp(maps[f"{side}.first"], maps[f"{side}.second"])


def _to_bytes(heads: Heads) -> bytes:
    maps = {
        f"{width}.{name}": array for width, head in heads.items() for name, array in head.arrays().items()
    }
    buffer = BytesIO()
    np.savez(buffer, **maps)  # pyright: ignore[reportArgumentType]
    return buffer.getvalue()


def _fingerprint(base: Encoder, heads: Heads) -> str:
    hasher = hashlib.sha256(base.fingerprint.encode())
    for width, head in sorted(heads.items()):
        hasher.update(f"{width}<{head.source}".encode())
        for array in head.arrays().values():
            hasher.update(np.ascontiguousarray(array, "<f4").tobytes())
    return hasher.hexdigest()[:16]
