"""A model of any kind as one model folder that needs no torch and no other file.

A model folder is copied. The towers of a model of transformers are converted, and heads are folded into their
last layers. Then the graphs are written: what comes out is a model folder like any that was trained here.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hivlp.config import CONFIG_FILE, MATCH_FILE, TOKENIZER_FILE, WEIGHTS_FILE
from hivlp.encode import Encoder, load
from hivlp.encode.base import model_source
from hivlp.encode.heads import BASE, read_heads
from hivlp.encode.hub import model_kind
from hivlp.encode.onnx import OnnxEncoder
from hivlp.errors import ConfigError
from hivlp.export.fold import folded
from hivlp.export.graphs import PROBES, export, probes
from hivlp.export.trainable import open_trainable
from hivlp.model.folder import save

CARD = "README.md"


def standalone(model: str, out: Path, *, int8: bool = False) -> dict[str, Any]:
    """Writes a model as a model folder with graphs, tokenizer and preprocessing.

    Args:
        model: what `encode.load` takes.
        out: the folder to make.
        int8: also write the 8-bit graphs, as `encode.export` does.

    Returns:
        What `encode.export.export` returns, and ``model`` (the folder). For a model that was converted also
        ``source_cosine``: the lowest cosine between a vector of the given model and one of the graphs, over
        some texts and over some pictures that each prepared in its own way; below 1 where a scaled pixel is
        rounded otherwise.

    Raises:
        ConfigError: `out` holds something.
        ModelError: the model can't be converted, or its graphs differ from torch.
    """
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out} is not empty; name a new folder with --out")
    folder = model_source(model)
    if model_kind(folder) == "hivlp":
        _copy(folder, out)
        return {"model": str(out), **export(out, int8=int8)}
    on_top = model_kind(folder) == "heads"
    made, tokenizer = open_trainable(str(folder / BASE) if on_top else model)
    if on_top:
        made = folded(made, read_heads(folder))
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(out / TOKENIZER_FILE)
    save(made, out)
    if on_top and (folder / CARD).is_file():
        shutil.copyfile(folder / CARD, out / CARD)
    document = export(out, int8=int8)
    return {"model": str(out), **document, "source_cosine": _agreement(load(model), OnnxEncoder(out))}


def _copy(folder: Path, out: Path) -> None:
    """Copies a model folder without its graphs: weights, tokenizer, match probabilities and card."""
    out.mkdir(parents=True, exist_ok=True)
    card = folder / CARD
    words = card.read_text(encoding="utf-8") if card.is_file() else ""
    shown = [path.name for path in folder.glob("*.[jp][pn]g") if path.name in words]
    # the configuration is last: a folder that has one is complete
    for name in (WEIGHTS_FILE, TOKENIZER_FILE, MATCH_FILE, CARD, *shown, CONFIG_FILE):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, out / name)


def _agreement(source: Encoder, made: OnnxEncoder) -> dict[str, float]:
    arrays = probes(made.preprocessing.size)[:2]
    pictures = [
        Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).resize((300, 200))
        for pixels in arrays
    ]
    pairs = {
        "text": (source.encode_texts(PROBES), made.encode_texts(PROBES)),
        "image": (source.encode_images(pictures), made.encode_images(pictures)),
    }
    return {
        kind: round(min(float((one[w] * other[w]).sum(axis=1).min()) for w in one.widths), 5)
        for kind, (one, other) in pairs.items()
    }
