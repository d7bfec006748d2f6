"""What every encoder promises, whatever runtime is behind it, and how one is found by name.

It knows no index. Encoders give unit-length float32 embeddings at every level they were trained for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hivlp.config import CONFIG_FILE, TOKENIZER_FILE, WEIGHTS_FILE, Preprocessing, read_model_config
from hivlp.data.images import load_pixels
from hivlp.errors import MissingExtraError, ModelError
from hivlp.registry import resolve, suggestion
from hivlp.types import Embeddings

Picture = Path | str | bytes | Image.Image


@runtime_checkable
class Encoder(Protocol):
    """Texts and pictures to embeddings at every level.

    Attributes:
        name: for people; also how `load` finds the model again.
        fingerprint: equal for two encoders whose embeddings may be compared.
        widths: the levels, narrowest first.
    """

    name: str
    fingerprint: str
    widths: tuple[int, ...]
    preprocessing: Preprocessing

    def encode_texts(self, texts: Sequence[str]) -> Embeddings:
        """Embeddings of N texts; texts longer than the model reads are cut."""
        ...

    def encode_pixels(self, pixels_BCHW: NDArray[np.uint8]) -> Embeddings:
        """Embeddings of decoded pictures, uint8 (B, 3, S, S), sized by `preprocessing`."""
        ...

    def encode_images(self, images: Sequence[Picture]) -> Embeddings:
        """Embeddings of N pictures given as paths, encoded bytes or PIL images. Raises ImageError."""
        ...

    def cuts(self, text: str) -> bool:
        """Whether this text is longer than the model reads, so that its end does not count."""
        ...


def stack_pictures(images: Sequence[Picture], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Decoded pictures as one batch (B, 3, S, S)."""
    loaded = [
        load_pixels(Path(image) if isinstance(image, str) else image, preprocessing) for image in images
    ]
    side = preprocessing.size
    return np.stack(loaded) if loaded else np.zeros((0, 3, side, side), dtype=np.uint8)


def joined(parts: list[Embeddings], widths: tuple[int, ...]) -> Embeddings:
    """The embeddings of several batches, one after the other; no rows at every width where there is none."""
    empty = Embeddings({width: np.zeros((0, width), np.float32) for width in widths})
    return Embeddings.concatenate(parts) if parts else empty


def shipped_models() -> list[str]:
    """The names of the models that come with the package."""
    assets = Path(str(files("hivlp"))) / "assets"
    return sorted(path.parent.name for path in assets.glob(f"*/{CONFIG_FILE}"))


def model_folder(model: str | Path) -> Path:
    """The folder of a model given by a shipped name or a path.

    Raises:
        ModelError: there is neither; the message lists the names and says what a folder must hold.
    """
    path = Path(model)
    if str(model) in shipped_models():
        return Path(str(files("hivlp"))) / "assets" / str(model)
    if (path / CONFIG_FILE).is_file():
        return path
    if path.exists():
        raise ModelError(
            f"{path} is not a model folder: it has no {CONFIG_FILE}; give a folder that `hivlp train` made"
        )
    known = shipped_models()
    raise ModelError(
        f"unknown model {str(model)!r}: it is no folder, and among the shipped models, "
        f"{suggestion(str(model), known)}"
    )


def fingerprint(folder: Path) -> str:
    """A short hash of everything that an embedding depends on: weights, tokenizer, levels, preprocessing."""
    config = read_model_config(folder)
    parts = config.model_dump(include={"image", "text", "levels", "preprocessing", "max_tokens"})
    hasher = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    for name in (WEIGHTS_FILE, TOKENIZER_FILE):
        path = folder / name
        if not path.is_file():
            raise ModelError(f"{folder} has no {name}; copy the model folder again, with all of its files")
        hasher.update(path.read_bytes())
    return hasher.hexdigest()[:16]


def load(model: str | Path = "mini", *, runtime: str | None = None, threads: int = 0) -> Encoder:
    """An encoder by the name of a shipped model or the path of a model folder.

    Args:
        model: such a name or path.
        runtime: ``onnx``, ``onnx-int8`` or ``torch``; None takes ONNX if the folder has graphs, else torch.
        threads: compute threads; 0 leaves the choice to the runtime.

    Raises:
        ModelError: the model can't be found or read.
        MissingExtraError: the folder has no ONNX graphs and torch is not installed.
    """
    if str(model).startswith("hf:"):
        raise ModelError(
            f"{model!r}: encoders of the hub can't be used directly yet; give a shipped model "
            f"({', '.join(shipped_models())}) or the path of a HiVLP model folder"
        )
    folder = model_folder(model)
    kind = runtime or ("onnx" if (folder / "onnx" / "text.onnx").is_file() else "torch")
    try:
        encoder = resolve("encoders", kind)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            error.name or "torch", "train", f"{folder} without ONNX graphs (see `hivlp export`)"
        ) from None
    return encoder(folder, name=str(model), threads=threads)
