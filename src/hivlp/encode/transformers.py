"""A dual encoder of transformers, such as CLIP or SigLIP, with its own preprocessing and tokenizer.

Its embeddings are those of transformers' own processor and `get_text_features` / `get_image_features`,
brought to unit length. It has one level, the model's projection width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

from hivlp.config import Settings
from hivlp.data.images import MAX_PIXELS, LoadedPicture, decode_with_size
from hivlp.encode import hub
from hivlp.encode.base import ImageInput, joined, stacked
from hivlp.errors import ImageError, ModelError
from hivlp.types import Embeddings

# texts are padded to a fixed length where the model was trained so, for padding counts there
_FIXED_LENGTH = {"siglip": None, "siglip2": None, "align": 64}
# a long strip that is scaled by its short side would fill the memory before its centre is cut out
MAX_SCALED_PIXELS = 20_000_000


class OwnPreprocessing(Settings):
    """How a model of transformers prepares pictures: by an image processor of its own."""

    processor: str
    settings: dict[str, Any]


class TransformersEncoder:
    """See `encode.base.Encoder`. Computes in float32, on a GPU where torch sees one.

    What `load_picture` gives and `encode_pixels` takes is what the model's image processor makes of a
    picture: a structured array with a field a tensor, such as ``pixel_values``.
    """

    batch_size = 64

    def __init__(self, folder: Path, *, name: str | None = None, threads: int = 0) -> None:
        if threads:
            torch.set_num_threads(threads)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        with quiet():
            self._model = open_pretrained(folder).to(self.device)
            self._tokenizer, self._processor = tokenizer_of(folder), image_processor_of(folder)
        self.name = name or f"{hub.PREFIX}{folder.resolve()}"
        self.fingerprint = hub.fingerprint(folder)
        self.preprocessing = OwnPreprocessing(
            processor=type(self._processor).__name__.removesuffix("Pil"),
            settings=_plain(self._processor.to_dict()),
        )
        self._fixed_length = self._model.config.model_type in _FIXED_LENGTH
        self._max_tokens = longest_text(self._model, self._tokenizer)
        self.widths = self._encode(["a"]).widths  # every family calls it otherwise in its configuration

    def encode_texts(self, texts: Sequence[str]) -> Embeddings:
        starts = range(0, len(texts), self.batch_size)
        return joined([self._encode(texts[start : start + self.batch_size]) for start in starts], self.widths)

    @torch.inference_mode()
    def _encode(self, texts: Sequence[str]) -> Embeddings:
        inputs = self._tokenizer(
            list(texts),
            padding="max_length" if self._fixed_length else True,
            truncation=True,
            max_length=self._max_tokens,
            return_tensors="pt",
        )
        return _unit(self._model.get_text_features(**inputs.to(self.device)))

    @torch.inference_mode()
    def encode_pixels(self, pixels_B: NDArray[Any]) -> Embeddings:
        """Embeddings of pictures that `load_picture` has prepared."""
        parts = []
        for start in range(0, len(pixels_B), self.batch_size):
            batch_B = pixels_B[start : start + self.batch_size]
            inputs = {
                field: torch.from_numpy(np.ascontiguousarray(batch_B[field])).to(self.device)
                for field in batch_B.dtype.names or ()
            }
            parts.append(_unit(self._model.get_image_features(**inputs)))
        return joined(parts, self.widths)

    def load_picture(self, picture: ImageInput, *, max_pixels: int = MAX_PIXELS) -> LoadedPicture:
        """One picture, decoded in full and prepared as the model's own image processor does it."""
        decoded = decode_with_size(picture, max_pixels=max_pixels)
        self._check_shape(decoded.image.size)
        arrays = self._processor(images=[decoded.image], return_tensors="np")
        rows = {field: np.asarray(array)[0] for field, array in arrays.items()}
        layout = np.dtype([(field, row.dtype, row.shape) for field, row in rows.items()])
        pixels = np.zeros((), dtype=layout)
        for field, row in rows.items():
            pixels[field] = row
        return LoadedPicture(pixels, decoded.width, decoded.height)

    def encode_images(self, images: Sequence[ImageInput]) -> Embeddings:
        return stacked(self, [self.load_picture(image).pixels for image in images])

    def cuts(self, text: str) -> bool:
        return len(self._tokenizer(text, verbose=False)["input_ids"]) > self._max_tokens

    def _check_shape(self, size: tuple[int, int]) -> None:
        settings = self.preprocessing.settings
        short, long = (settings.get("size") or {}).get("shortest_edge"), max(size) / min(size)
        if short and settings.get("do_resize", True) and short * short * long > MAX_SCALED_PIXELS:
            raise ImageError(
                f"it is {size[0]}×{size[1]} pixels, too long a strip for this model: with a short side of "
                f"{short} pixels it would have {int(short * short * long):,}, above the limit of "
                f"{MAX_SCALED_PIXELS:,}; cut it"
            )


def open_pretrained(folder: Path) -> Any:
    """The model in float32. Raises ModelError where its weights are damaged or are not all there."""
    try:
        model, report = AutoModel.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, trust_remote_code=False,
            output_loading_info=True,
        )  # fmt: skip
    except Exception as error:  # safetensors, JSON and shape errors have no common kind
        reason = " ".join(str(error).split())[:300]
        raise ModelError(
            f"{folder} is not a loadable model ({reason}): copy or download the model again"
        ) from None
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelError(
            f"{folder} lacks {len(missing)} of the model's tensors (such as {missing[0]}), which would be "
            "random; config.json and the weights belong to different models. Copy or download the model again"
        )
    return model.float().eval()


def tokenizer_of(folder: Path) -> Any:
    """The model's own tokenizer. Raises ModelError if it is missing or damaged."""
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # tokenizers raises a bare Exception for every kind of damage
        reason = " ".join(str(error).split())[:300]
        raise ModelError(
            f"the tokenizer of {folder} is missing or damaged ({reason}): copy the model again"
        ) from None


def image_processor_of(folder: Path) -> Any:
    """The image processor for Pillow images, with or without torchvision."""
    pillow = {"backend": "pil"} if int(transformers.__version__.split(".")[0]) >= 5 else {"use_fast": False}
    try:
        return AutoImageProcessor.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, **pillow
        )
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(
            f"the preprocessing of {folder} is missing or damaged ({reason}): copy the model again, with its "
            "preprocessor_config.json"
        ) from None


def longest_text(model: Any, tokenizer: Any) -> int:
    """How many tokens of a text a model reads."""
    kind, text = model.config.model_type, model.config.text_config
    known = (_FIXED_LENGTH.get(kind), tokenizer.model_max_length, _positions(text))
    return min(length for length in known if length)


def _positions(text: Any) -> int | None:
    """Tokens that a text tower has positions for; RoBERTa and its kin number them from behind the padding."""
    count = getattr(text, "max_position_embeddings", None)
    return count - text.pad_token_id - 1 if count and "roberta" in text.model_type else count


def _unit(features: Any) -> Embeddings:
    """What transformers 4 gives are the features; 5 gives an output that holds them."""
    features_BD = getattr(features, "pooler_output", features).float()
    rows_BD = torch.nn.functional.normalize(features_BD, dim=-1).cpu().numpy()
    return Embeddings({rows_BD.shape[1]: rows_BD})


def _plain(settings: Any) -> dict[str, Any]:
    return {
        key: value
        for key, value in settings.items()
        if isinstance(value, (bool, int, float, str, list, dict))
    }


@contextmanager
def quiet() -> Iterator[None]:
    """Hides the bars and warnings of loading; the checks raise errors for those that matter."""
    settings = transformers.utils.logging
    level, bars = settings.get_verbosity(), settings.is_progress_bar_enabled()
    settings.set_verbosity_error()
    settings.disable_progress_bar()
    try:
        yield
    finally:
        settings.set_verbosity(level)
        if bars:
            settings.enable_progress_bar()
