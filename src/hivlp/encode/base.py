"""The protocol of encoders, the same for every runtime, and the search for an encoder by its name.

It imports no index. Encoders give unit-length float32 embeddings at every level they were trained for.
"""

from __future__ import annotations

import hashlib
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hivlp.config import (
    CONFIG_FILE,
    MATCH_FILE,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    Preprocessing,
    Settings,
    read_model_config,
)
from hivlp.data.images import MAX_PIXELS, LoadedPicture
from hivlp.data.images import load as read_square
from hivlp.data.vocabulary import Spelling
from hivlp.encode import hub
from hivlp.errors import ImageError, MissingExtraError, ModelError
from hivlp.inputs import ImageLike, as_image, as_images, check_count
from hivlp.match import MatchModel
from hivlp.messages import suggestion
from hivlp.registry import resolve
from hivlp.types import Embeddings

# settings that are younger than some models and than the fingerprints in their indexes
LATER = (
    ("image", "pooling", "mean"),
    ("text", "pooling", "mean"),
    ("text", "bag", 0),
    ("image", "norm", False),
    ("preprocessing", "centre", 1.0),
    ("levels", "hidden", 0),
    ("levels", "dropout", 0.0),
)
INT8 = "-int8"  # end of the fingerprint of 8-bit graphs, whose vectors are like no others
IN_MEMORY = "in-memory"  # the fingerprint of a model that is in no folder

_log = logging.getLogger(__name__)


@runtime_checkable
class Encoder(Protocol):
    """Texts and pictures to embeddings at every level.

    Attributes:
        name: for people; also how `load` finds the model again.
        fingerprint: equal for two encoders whose embeddings may be compared.
        widths: the levels, narrowest first.
        preprocessing: how pictures are prepared, to be kept and shown; `load_picture` does it.
    """

    name: str
    fingerprint: str
    widths: tuple[int, ...]

    @property
    def preprocessing(self) -> Settings: ...

    def encode_texts(self, texts: str | Sequence[str]) -> Embeddings:
        """Embeddings of N texts, one row each; a single ``str`` is one text and gives one row.

        Texts longer than the model reads are cut. Raises QueryError for what is not text.
        """
        ...

    def load_picture(self, picture: ImageLike, *, max_pixels: int = MAX_PIXELS) -> LoadedPicture:
        """One picture, decoded and prepared; called from several threads at once. Raises ImageError."""
        ...

    def encode_pixels(self, pixels_B: NDArray[Any], /) -> Embeddings:
        """Embeddings of a batch of what `load_picture` prepares; HiVLP's models take uint8 (B, 3, S, S)."""
        ...

    def encode_images(self, images: ImageLike | Sequence[ImageLike]) -> Embeddings:
        """Embeddings of N images, one row each; a single image gives one row.

        An image is a path (also as ``str``), encoded bytes, a file opened in binary mode, a PIL image, or a
        uint8 array of shape (height, width) or (height, width, channels); see `hivlp.inputs.as_image`.

        Raises:
            ImageError: an image can't be read; the message names it.
        """
        ...

    def cuts(self, text: str) -> bool:
        """Whether this text is longer than the model reads, so that its end does not count."""
        ...


class SquareInput(ABC):
    """The reading of pictures that all models share whose input are the squares of `preprocessing`."""

    preprocessing: Preprocessing
    widths: tuple[int, ...]

    @abstractmethod
    def encode_pixels(self, pixels_BCHW: NDArray[np.uint8], /) -> Embeddings:
        """Embeddings of decoded pictures, uint8 (B, 3, S, S)."""

    def load_picture(self, picture: ImageLike, *, max_pixels: int = MAX_PIXELS) -> LoadedPicture:
        """One picture as uint8 (3, S, S). See `Encoder.load_picture`."""
        return read_square(as_image(picture), self.preprocessing, max_pixels=max_pixels)

    def encode_images(self, images: ImageLike | Sequence[ImageLike]) -> Embeddings:
        """Embeddings of N images. See `Encoder.encode_images`."""
        return stacked(self, loaded(self, images))

    def check_pixels(self, pixels_BCHW: Any) -> None:
        """Raises ImageError unless it is a batch of what `load_picture` gives."""
        side = self.preprocessing.size
        shape, kind = getattr(pixels_BCHW, "shape", ()), getattr(pixels_BCHW, "dtype", None)
        if shape[1:] != (3, side, side) or kind != np.uint8:
            raise ImageError(
                f"pixels of {kind} and shape {shape} are invalid: must be uint8 (images, 3, {side}, {side}), "
                "as load_picture gives them; encode_images takes images of any size"
            )


def device_of(encoder: Encoder) -> str:
    """Where an encoder computes, such as ``cpu`` or ``cuda``; the CPU where the runtime does not say."""
    return str(getattr(encoder, "device", "cpu"))


def unread_by(encoder: Encoder, text: str) -> list[str]:
    """The parts of a text that are unknown to an encoder; empty where the encoder does not say."""
    tell: Callable[[str], list[str]] | None = getattr(encoder, "unread", None)
    return tell(text) if tell is not None else []


def loaded(encoder: Encoder | SquareInput, images: ImageLike | Sequence[ImageLike]) -> list[NDArray[Any]]:
    """What `load_picture` gives of each image. Raises ImageError that names the image which can't be read."""
    found, given = list[NDArray[Any]](), as_images(images)
    for number, image in enumerate(given, start=1):
        try:
            found.append(encoder.load_picture(image).pixels)
        except ImageError as error:
            several = f"image {number}: " if len(given) > 1 else ""
            named = f"{image}: " if isinstance(image, Path) else several
            raise ImageError(f"{named}{error}") from error
    return found


def spelling_by(encoder: Encoder, text: str) -> Spelling:
    """The words of a text that are unknown to an encoder; none where the encoder does not say."""
    tell: Callable[[str], Spelling] | None = getattr(encoder, "spelling", None)
    return tell(text) if tell is not None else Spelling({})


def stacked(encoder: Any, pixels: list[NDArray[Any]]) -> Embeddings:
    """The embeddings of prepared pictures; no rows for no pictures."""
    return encoder.encode_pixels(np.stack(pixels)) if pixels else joined([], encoder.widths)


def joined(parts: list[Embeddings], widths: tuple[int, ...]) -> Embeddings:
    """The embeddings of several batches, one after the other; no rows at every width for no batches."""
    empty = Embeddings({width: np.zeros((0, width), np.float32) for width in widths})
    return Embeddings.concatenate(parts) if parts else empty


def assets() -> Path:
    """The folder of the package with the models that come with it."""
    return Path(str(files("hivlp"))) / "assets"


def shipped_models() -> list[str]:
    """The names of the models that come with the package."""
    return sorted(path.parent.name for path in assets().glob(f"*/{CONFIG_FILE}"))


def model_folder(model: str | Path) -> Path:
    """The folder of a HiVLP model by a shipped name or a path.

    Raises:
        ModelError: the model is unknown; the message lists the names and what a folder must hold.
    """
    if not str(model).startswith(hub.PREFIX):
        folder = _folder(model)
        if hub.model_kind(folder) == "hivlp":
            return folder
    raise ModelError(
        f"{str(model)!r} is a transformers model, or levels on top of one; this needs a model with "
        f"HiVLP's own towers"
    )


def model_source(model: str | Path) -> Path:
    """The folder of a model of any kind, by what `load` takes. Raises ModelError as `load` does."""
    return _located(model)[0]


def _folder(model: str | Path) -> Path:
    path = Path(model)
    if str(model) in shipped_models():
        return assets() / str(model)
    if (path / CONFIG_FILE).is_file():
        return path
    if path.exists():
        raise ModelError(
            f"{path} is not a model folder: it has no {CONFIG_FILE}; give a folder that `hivlp train` made"
        )
    known = shipped_models()
    raise ModelError(
        f"unknown model {str(model)!r}: it is neither a folder nor a shipped model; "
        f"{suggestion(str(model), known)}"
    )


def fingerprint(folder: Path) -> str:
    """A short hash of everything that an embedding depends on: weights, tokenizer, levels, preprocessing."""
    config = read_model_config(folder)
    parts = config.model_dump(include={"image", "text", "levels", "preprocessing", "max_tokens"})
    for part, setting, default in LATER:
        if parts[part][setting] == default:
            del parts[part][setting]
    hasher = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    for name in (WEIGHTS_FILE, TOKENIZER_FILE):
        path = folder / name
        if not path.is_file():
            raise ModelError(f"{folder} has no {name}; copy the model folder again, with all of its files")
        hasher.update(path.read_bytes())
    return hasher.hexdigest()[:16]


def load(model: str | Path = "mini", *, runtime: str | None = None, threads: int = 0) -> Encoder:
    """An encoder by the name of a shipped model, the path of a model folder, or a name on the hub.

    Args:
        model: such a name or path; or ``hf:owner/name`` or a folder in transformers' layout, for CLIP and
            the other families of `encode.hub.FAMILIES`.
        runtime: ``onnx``, ``onnx-int8``, ``openvino`` or ``torch``; ``fastest`` measures ``onnx`` and
            ``openvino`` and takes the faster; None takes ONNX if the folder has graphs, else torch. Models of
            transformers have a runtime of their own.
        threads: compute threads; 0 leaves the choice to the runtime.

    Raises:
        ModelError: the model can't be found or read.
        MissingExtraError: torch is needed and not installed.
    """
    if not isinstance(model, (str, Path)):
        raise ModelError(
            f"{model!r:.40} is not a model: give a name, such as 'mini', or the folder of a model"
        )
    check_count("threads", threads, least=0)
    if str(model).startswith(hub.PREFIX):
        _check_installed(str(model))
    folder, kind, name = _located(model)
    if runtime not in (None, kind) and kind in ("transformers", "heads"):
        what = "a model of transformers" if kind == "transformers" else "levels on top of another model"
        raise ModelError(
            f"{name} is {what}, which the runtime {runtime!r} does not run; leave the runtime out"
        )
    kind = runtime or kind
    try:
        encoder = resolve("encoders", kind)
    except ModuleNotFoundError as error:
        why = "" if kind in ("transformers", "heads") else " without ONNX graphs (see `hivlp export`)"
        raise MissingExtraError(error.name or "torch", "train", f"{name}{why}") from None
    return encoder(folder, name=name, threads=threads)


def lacks_graphs(encoder: Encoder) -> bool:
    """Whether an encoder is a model folder without graphs, which torch runs on a CPU."""
    if encoder.name.startswith(hub.PREFIX) or encoder.fingerprint == IN_MEMORY or device_of(encoder) != "cpu":
        return False
    try:
        return _located(encoder.name)[1] == "torch"
    except ModelError:  # an encoder that was made elsewhere
        return False


def runtime_of(fingerprint: str) -> str | None:
    """The runtime that gives the vectors of a fingerprint, for `load`; None where any of them does."""
    return "onnx-int8" if fingerprint.endswith(INT8) else None


def stored_match(encoder: Encoder) -> MatchModel | None:
    """The calibrated match probability of the model; None where it has none."""
    if encoder.name.startswith(hub.PREFIX) or encoder.fingerprint == IN_MEMORY:
        return None
    try:
        folder = _located(encoder.name)[0]
        found = MatchModel.read(folder / MATCH_FILE)
        # variants of a model, such as its 8-bit graphs, say so behind its own fingerprint
        same = found is not None and encoder.fingerprint.split("-")[0] == fingerprint(folder)
        return found if same else None
    except ModelError as error:  # the folder has moved, or the file is damaged: searches work without it
        _log.warning("no match probabilities: %s", error)
        return None


def _check_installed(model: str) -> None:
    """Refuses a transformers model before gigabytes are fetched in vain."""
    for package in ("torch", "transformers"):
        if find_spec(package) is None:
            raise MissingExtraError(package, "train", model)


def _located(model: str | Path) -> tuple[Path, str, str]:
    """The folder of a model, its runtime, and the name that finds it again."""
    if str(model).startswith(hub.PREFIX):
        folder = hub.find(str(model))
        local = Path(str(model).removeprefix(hub.PREFIX)).expanduser()
        return folder, "transformers", f"{hub.PREFIX}{local.resolve()}" if local.is_dir() else str(model)
    folder = _folder(model)
    kind = hub.model_kind(folder)
    if kind != "hivlp":
        return hub.checked(folder) if kind == "transformers" else folder, kind, str(model)
    return folder, "onnx" if (folder / "text.onnx").is_file() else "torch", str(model)
