"""A small encoder without a trained model: it knows the names of some colours and sees them in pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from hivlp.config import Preprocessing
from hivlp.encode.base import SquareInput
from hivlp.types import Embeddings, FloatArray

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 170, 60),
    "blue": (30, 60, 220),
    "yellow": (240, 220, 40),
    "black": (10, 10, 10),
    "white": (250, 250, 250),
    "pink": (250, 150, 190),
    "orange": (245, 140, 20),
    "purple": (120, 40, 160),
    "brown": (110, 70, 30),
    "grey": (128, 128, 128),
    "cyan": (40, 210, 220),
}
WIDTHS: tuple[int, ...] = (8, 16, 32)


class ColourEncoder(SquareInput):
    """Pictures become the mean of the vectors of their colours, texts the mean of those of their words."""

    def __init__(self, name: str = "colours", *, fingerprint: str = "colours-1") -> None:
        self.name = name
        self.fingerprint = fingerprint
        self.widths = WIDTHS
        self.preprocessing = Preprocessing(size=16)
        self.max_tokens = 16
        self.texts_seen: list[str] = []
        self.pictures_seen = 0

    def encode_texts(self, texts: Sequence[str]) -> Embeddings:
        self.texts_seen += texts
        return _levels([_sum(_vector(word) for word in text.lower().split()) for text in texts])

    def encode_pixels(self, pixels_BCHW: np.ndarray, /) -> Embeddings:
        self.pictures_seen += len(pixels_BCHW)
        return _levels([_seen(pixels_CHW) for pixels_CHW in pixels_BCHW])

    def cuts(self, text: str) -> bool:
        return len(text.split()) > self.max_tokens


def _vector(word: str) -> FloatArray:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
    vector_D = np.random.default_rng(seed).standard_normal(WIDTHS[-1]).astype(np.float32)
    # Words that are no colours hardly count.
    return vector_D if word in COLOURS else 0.05 * vector_D


def _seen(pixels_CHW: np.ndarray) -> FloatArray:
    names = list(COLOURS)
    palette_KC = np.array([COLOURS[name] for name in names], np.float32)
    pixels_PC = pixels_CHW.reshape(3, -1).T.astype(np.float32)
    nearest_P = ((pixels_PC[:, None] - palette_KC) ** 2).sum(-1).argmin(1)
    return _sum(
        _vector(names[n]) * count for n, count in zip(*np.unique(nearest_P, return_counts=True), strict=True)
    )


def _sum(vectors: Iterable[FloatArray]) -> FloatArray:
    return sum(vectors, np.zeros(WIDTHS[-1], np.float32))


def _levels(vectors: list[FloatArray]) -> Embeddings:
    wide_ND = np.array(vectors, np.float32).reshape(len(vectors), WIDTHS[-1])
    prefixes = {width: wide_ND[:, :width] for width in WIDTHS}
    return Embeddings({w: part / np.linalg.norm(part, axis=1, keepdims=True) for w, part in prefixes.items()})


def painted(*colours: str, size: tuple[int, int] = (24, 24)) -> Image.Image:
    """A picture of upright stripes in these colours."""
    image = Image.new("RGB", size)
    for number, colour in enumerate(colours):
        left, right = (size[0] * edge // len(colours) for edge in (number, number + 1))
        image.paste(COLOURS[colour], (left, 0, right, size[1]))
    return image


def png(*colours: str) -> bytes:
    """The same as encoded bytes."""
    buffer = BytesIO()
    painted(*colours).save(buffer, "PNG")
    return buffer.getvalue()


def gallery(folder: Path, *names: str) -> Path:
    """A folder with a picture a name, such as ``red-blue``, and a caption beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or tuple(COLOURS):
        painted(*name.split("-")).save(folder / f"{name}.png")
        (folder / f"{name}.txt").write_text(f"something {name.replace('-', ' and ')}\n", encoding="utf-8")
    return folder
