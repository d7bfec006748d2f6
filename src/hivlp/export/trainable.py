"""A trained model as torch modules, whatever its folder is: for training on, folding and exporting."""

from __future__ import annotations

from hivlp.config import TOKENIZER_FILE
from hivlp.data.tokenizer import Tokenizer
from hivlp.encode.base import model_source
from hivlp.encode.hub import model_kind
from hivlp.errors import ModelError
from hivlp.export.convert import converted
from hivlp.model.dual import DualEncoder
from hivlp.model.folder import open_model


def open_trainable(start: str) -> tuple[DualEncoder, Tokenizer]:
    """A trained model and its tokenizer, by what `hivlp.load` takes.

    Raises:
        ModelError: the model does not exist or is not trainable.
    """
    folder = model_source(start)
    kind = model_kind(folder)
    if kind == "transformers":
        return converted(folder, name=start)
    if kind == "heads":
        raise ModelError(
            f"{start} is levels on top of another model, which stays frozen; start from that model itself"
        )
    model = open_model(folder)
    return model, Tokenizer.open(folder / TOKENIZER_FILE, max_tokens=model.config.max_tokens)
