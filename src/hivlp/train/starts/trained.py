"""The trained model that a run starts from, with the levels in the settings of the run.

It is written as a model folder, `RUN/start`, before the first step: every process and every resumed run
opens the same one, and `hivlp eval` measures it before training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hivlp.config import CONFIG_FILE, TOKENIZER_FILE, TrainConfig
from hivlp.data.tokenizer import Tokenizer
from hivlp.errors import ConfigError
from hivlp.export.fold import layer_behind
from hivlp.export.trainable import open_trainable
from hivlp.index.rotation import joint_rotation
from hivlp.model.dual import DualEncoder
from hivlp.model.folder import save
from hivlp.model.levels import heads_of
from hivlp.train.batches.pack import Pack
from hivlp.train.batches.views import crop
from hivlp.types import FloatArray, Progress

# the directions of some hundred pairs are near those of all, and take seconds
FITTED_ON = 1_000
_CHUNK = 32


def starting_model(config: TrainConfig, packs: Sequence[Pack], folder: Path, progress: Progress) -> Path:
    """The folder of the model that a run starts from, which is written by the first call.

    Raises:
        ConfigError: the settings of the run do not fit the model.
        ModelError: the model cannot be trained.
    """
    if (folder / CONFIG_FILE).is_file():
        return folder
    assert config.start is not None
    old, tokenizer = open_trainable(config.start)
    if not tokenizer.can_mask and (config.objective.vlm.weight or config.augmentation.word_dropout):
        raise ConfigError(
            f"the tokenizer of {config.start} has no mask token; set "
            "objective.vlm.weight=0 and augmentation.word_dropout=0"
        )
    new = DualEncoder(config.model.model_copy(update={"vocabulary": old.config.vocabulary})).eval()
    kept = ("_tower.", "fusion.") if new.config.fusion == old.config.fusion else ("_tower.",)
    towers = {name: value for name, value in old.state_dict().items() if any(part in name for part in kept)}
    try:
        left = new.load_state_dict(towers, strict=False)
    except RuntimeError as error:
        raise _other_towers(config.start, str(error)) from None
    lacking = [name for name in left.missing_keys if "_tower." in name]
    lacking += left.unexpected_keys
    if lacking:
        raise _other_towers(config.start, lacking[0])
    _set_levels(new, old, lambda: _principal(old, tokenizer, packs, progress))
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(folder / TOKENIZER_FILE)
    save(new, folder)
    return folder


def _other_towers(start: str, what: str) -> ConfigError:
    return ConfigError(
        f"the towers of {start} do not fit the settings model.image, model.text, model.preprocessing.size "
        f"and model.max_tokens of this run ({' '.join(what.split())[:200]}); leave these settings out"
    )


@torch.no_grad()
def _set_levels(new: DualEncoder, old: DualEncoder, fitted: Callable[[], FloatArray]) -> None:
    """Sets the levels of `new` to those of `old`, or to directions of its widest level.

    `fitted` returns orthonormal columns, the most important first; the first dimensions of nested
    levels are the most important already.
    """
    theirs, ours = old.config.levels, new.config.levels
    fine = theirs.widths[-1]
    if ours.widths[-1] > fine:
        raise ConfigError(
            f"model.levels.widths has {ours.widths[-1]}, and the embeddings of the start are {fine} wide; "
            f"give {fine} at most"
        )
    if ours == theirs:
        for part in ("image_levels", "text_levels"):
            getattr(new, part).load_state_dict(getattr(old, part).state_dict())
        new.log_scale_L.copy_(old.log_scale_L)
        return
    trained_so = theirs.kind == "nested" and len(theirs.widths) > 1
    if theirs.hidden:
        raise ConfigError("the levels of the start are MLPs, which cannot be changed; leave model.levels out")
    rotation_SS = torch.eye(fine) if trained_so or len(ours.widths) == 1 else torch.from_numpy(fitted())
    for source, target in ((old.image_levels, new.image_levels), (old.text_levels, new.text_levels)):
        weight_SF, bias_S = layer_behind(source, fine)
        for head in heads_of(target):
            map_DS = rotation_SS[:, : head.out_features].T
            head.weight.copy_(map_DS @ weight_SF)
            head.bias.copy_(map_DS @ bias_S)
    new.log_scale_L.fill_(old.log_scale_L[-1].item())


@torch.no_grad()
def _principal(
    model: DualEncoder, tokenizer: Tokenizer, packs: Sequence[Pack], progress: Progress
) -> FloatArray:
    """The principal directions of some of the images and captions of the run (S, S)."""
    every = max(1, sum(len(pack) for pack in packs) // FITTED_ON)
    chosen = [(pack, row) for pack in packs for row in range(0, len(pack), every) if pack.captions[row]]
    progress(f"narrow levels start as principal directions of {len(chosen):,} images and their captions")
    image, text = list[Tensor](), list[Tensor]()
    for start in range(0, len(chosen), _CHUNK):
        pixels_BCHW, captions = _read(chosen[start : start + _CHUNK], model.config.preprocessing.size)
        tokens_BT, mask_BT = map(torch.from_numpy, tokenizer.encode(captions))
        image += model.encode_pixels(pixels_BCHW).values()
        text += model.encode_tokens(tokens_BT, mask_BT).values()
    return joint_rotation(torch.cat(image).numpy(), torch.cat(text).numpy())


def _read(chosen: Sequence[tuple[Pack, int]], size: int) -> tuple[Tensor, list[str]]:
    """Whole images as input of the model, and the first caption of each."""
    pixels_BCHW = torch.from_numpy(np.stack([pack.pixels_NCHW[row] for pack, row in chosen]))
    boxes_B4 = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(len(chosen), 4)
    whole_BCHW = crop(pixels_BCHW, boxes_B4, torch.zeros(len(chosen), dtype=torch.bool), size=size)
    return whole_BCHW, [pack.captions[row][0] for pack, row in chosen]
