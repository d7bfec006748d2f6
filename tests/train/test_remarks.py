"""What a person is told about the data of a run before its first step."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hivlp.config import Preprocessing
from hivlp.data.tokenizer import Tokenizer
from hivlp.train.batches.pack import Pack
from hivlp.train.batches.remarks import remarks, shared_captions


def pack(*captions: tuple[str, ...]) -> Pack:
    return Pack(
        folder=Path("unused"),
        pixels_NCHW=np.zeros((len(captions), 3, 8, 8), np.uint8),
        captions=list(captions),
        ids=[str(row) for row in range(len(captions))],
        failures=[],
        preprocessing=Preprocessing(size=8),
    )


def test_small_sources_long_and_equal_captions_are_said() -> None:
    tokenizer = Tokenizer.train(["a dog runs far away"] * 4, vocabulary=100, max_tokens=6)
    labels = pack(("a dog",), ("A dog",), ("a dog runs far away a dog runs far away", "far"))
    large = pack(*[(f"dog {number}",) for number in range(8)])
    found = list(remarks(["labels.csv", "large.csv"], [labels, large], [128, 8], tokenizer))
    assert found == [
        "labels.csv has 3 images, and every batch takes 128 of it: images repeat within a batch and have few "
        "others to be told from; set batch_size to 3 or less, or add images",
        "labels.csv: 1 of 4 captions are longer than the model reads; the rest of each is ignored",
        "labels.csv: 2 of 4 captions are worded like one of another image; they are right answers for each "
        "other, and no negatives",
    ]


def test_a_caption_twice_of_one_image_is_not_shared() -> None:
    assert shared_captions([("a dog", "A dog"), ("a cat",)]) == 0
    assert shared_captions([("a dog", "one"), ("a dog", "two"), ("two",)]) == 4
