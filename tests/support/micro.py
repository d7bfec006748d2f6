"""A model and a run so small that training them takes a second: the smallest that has every part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from hivlp.config import ModelConfig, TrainConfig, parse
from hivlp.data.tokenizer import Tokenizer
from hivlp.model.dual import DualEncoder
from hivlp.model.folder import save
from hivlp.train.presets import resnet, transformer

TEXTS = [
    "a red boat on the sea",
    "two dogs in the snow",
    "a yellow house near a lake",
    "one cat under a tree",
] * 2


def model_values(**changes: Any) -> dict[str, Any]:
    return {
        "name": "micro",
        "image": resnet(stem=8, sizes=[8, 16], depths=[1, 1]),
        "text": transformer(width=32, layers=1, dropout=0.1),
        "levels": {"kind": "nested", "widths": [8, 16, 32]},
        "preprocessing": {"size": 32},
        "vocabulary": 200,
        "max_tokens": 24,
        **changes,
    }


def micro_model(**changes: Any) -> tuple[DualEncoder, Tokenizer]:
    """A randomly initialised model with a tokenizer of its own."""
    tokenizer = Tokenizer.train(TEXTS, vocabulary=200, max_tokens=24)
    torch.manual_seed(0)
    config = parse(ModelConfig, model_values(vocabulary=tokenizer.vocabulary_size, **changes), where="test")
    return DualEncoder(config).eval(), tokenizer


def with_bag(**levels: Any) -> dict[str, Any]:
    """Changes that give the model a norm and a bag of words, and its levels what else is asked for."""
    values = model_values()
    return {
        "image": {**values["image"], "norm": True},
        "text": {**values["text"], "bag": 5},
        "levels": {"kind": "nested", "widths": [8, 32], **levels},
    }


def micro_folder(folder: Path, *, half: bool = False, **changes: Any) -> Path:
    """A model folder without graphs."""
    model, tokenizer = micro_model(**changes)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(folder / "tokenizer.json")
    save(model, folder, half=half)
    return folder


def micro_run(**changes: Any) -> TrainConfig:
    """A run of 8 steps over drawn scenes."""
    values = {
        "preset": "micro",
        "model": model_values(),
        "sources": [{"spec": "scenes:48?size=32", "crop": False}],
        "validation": [{"spec": "scenes:12?size=32", "split": "val"}],
        "steps": 8,
        "batch_size": 16,
        "log_every": 2,
        "checkpoint_every": 3,
        "threads": 1,
        **changes,
    }
    return parse(TrainConfig, values, where="test")
