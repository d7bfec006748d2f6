"""The shipped model is the one that was measured: golden vectors, and proofs that damage would be seen."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hivlp import load
from hivlp.data.photographs import FOLDER
from hivlp.encode.base import Encoder, assets

# Rewritten after new weights only: `python tests/encode/test_shipped_model.py`
GOLDEN = Path(__file__).parent / "shipped_model.json"
TEXTS = ("a dog in the snow", "goldfish", "two men harvesting a field with a tractor")
IMAGES = ("2017877343.jpg", "2017877358.jpg", "LC-USW3-033480.jpg")
NEAR = 0.9995  # cosine; other processors and thread counts sum in another order


def vectors(encoder: Encoder) -> dict[str, np.ndarray]:
    """The widest vector of each golden text and image."""
    texts, images = (
        encoder.encode_texts(list(TEXTS)),
        encoder.encode_images([FOLDER / name for name in IMAGES]),
    )
    return dict(zip((*TEXTS, *IMAGES), [*texts.fine, *images.fine], strict=True))


def strays(encoder: Encoder) -> list[str]:
    """What an encoder encodes unlike the model that was measured."""
    stored: dict[str, Any] = json.loads(GOLDEN.read_text("utf-8"))["vectors"]
    return [
        name
        for name, vector in vectors(encoder).items()
        if float(vector @ (golden := np.asarray(stored[name], np.float32)) / np.linalg.norm(golden)) < NEAR
    ]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(assets() / "mini", tmp_path / "mini"))


def test_it_encodes_as_when_it_was_measured() -> None:
    assert strays(load("mini")) == []
    assert json.loads(GOLDEN.read_text("utf-8"))["model"] == load("mini").fingerprint, (
        "the weights are new: measure the model anew, then rewrite the golden vectors"
    )


def test_an_untouched_copy_encodes_alike(copy: Path) -> None:
    assert strays(load(str(copy))) == []


def test_shuffled_words_of_the_tokenizer_are_seen(copy: Path) -> None:
    path = copy / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf-8"))
    words: dict[str, int] = tokenizer["model"]["vocab"]
    names = [word for word in words if word.isalpha()]
    shuffled = dict(
        zip(names, np.random.default_rng(0).permutation([words[name] for name in names]), strict=True)
    )
    words |= {word: int(number) for word, number in shuffled.items()}
    path.write_text(json.dumps(tokenizer), "utf-8")
    assert set(strays(load(str(copy)))) == set(TEXTS)


@pytest.mark.parametrize(("tower", "lost"), [("image", IMAGES), ("text", TEXTS)])
def test_changed_weights_are_seen(copy: Path, tower: str, lost: tuple[str, ...]) -> None:
    path = copy / "model.safetensors"
    data = bytearray(path.read_bytes())
    length = int.from_bytes(data[:8], "little")
    rng = np.random.default_rng(0)
    for name, of in json.loads(data[8 : 8 + length]).items():  # in place: the graphs read at these offsets
        if name == f"{tower}_levels.head.weight":
            first, last = (8 + length + offset for offset in of["data_offsets"])
            weight = np.frombuffer(data[first:last], np.float16)
            noise = 0.2 * rng.standard_normal(weight.shape) * np.abs(weight.astype(np.float32)).mean()
            data[first:last] = (weight + noise).astype(np.float16).tobytes()
    path.write_bytes(data)
    assert set(strays(load(str(copy)))) == set(lost)


if __name__ == "__main__":
    shipped = load("mini")
    rounded = {name: [round(float(x), 4) for x in vector] for name, vector in vectors(shipped).items()}
    GOLDEN.write_text(
        json.dumps({"model": shipped.fingerprint, "vectors": rounded}, ensure_ascii=False) + "\n", "utf-8"
    )
