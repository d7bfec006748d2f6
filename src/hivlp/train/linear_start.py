"""Where a run over a locked tower begins: at the directions in which pictures and words agree most.

A canonical correlation analysis of what the tower sees and of words by their rarity is found in seconds, in
closed form. From random weights hundreds of steps come to no more, and those that follow find less, because
captions are learned by heart on the way (`docs/experiments.md`). So words begin where it puts them, pictures
too, and training goes on from there.

N pairs of a picture and a caption, F features of a locked tower, V words, D directions, L tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from hivlp.data.batches import LARGEST_PACK, Mixture
from hivlp.data.tokenizer import SPECIAL
from hivlp.errors import DataError
from hivlp.model.dual import DualEncoder
from hivlp.model.levels import LevelHead, heads_of
from hivlp.model.towers import Bag
from hivlp.train import cca
from hivlp.train.kept import keep, put
from hivlp.types import IntArray

Progress = Callable[[str], None]
PAIRS = 60_000  # of a picture and a caption, from the first batches of the run
_BATCHES = 500  # that are looked at for them, at most
_NOISE = 0.1  # what else heads begin with, as a share of their random start: directions come first
_LEAST = 0.05  # weight of a word that is everywhere, or nowhere


def begin(
    model: DualEncoder, mixture: Mixture, looked_at: Sequence[bool], path: Path, progress: Progress
) -> None:
    """Puts the directions into a model: those of the run's first batches, or those that a file keeps.

    Args:
        looked_at: which parts of the mixture count.

    Raises:
        DataError: the parts that count have no captions.
        HivlpError: the file can't be read.
    """
    if not path.is_file():
        progress("words begin where they agree with pictures most")
        keep(_found(model, mixture, np.flatnonzero(looked_at)), path)
    put(path, partial(_give, model), of="model")


def given(model: DualEncoder) -> list[nn.Parameter]:
    """The weights that this gives, which have a rate of their own: heads and bag, without what has places."""
    bag, heads = _bag(model), (*heads_of(model.image_levels), *heads_of(model.text_levels))
    of_heads = [
        weight
        for head in heads
        for name, weight in head.named_parameters()
        if not name.startswith("bound.")  # which learns what stands where from nothing
    ]
    return [*of_heads, *bag.words.parameters(), *bag.log_weight.parameters()]


def _found(model: DualEncoder, mixture: Mixture, parts_P: IntArray) -> dict[str, Tensor]:
    """The directions, as tensors by name, scaled so that pictures' numbers have a root mean square of 1."""
    image_NF, tokens_NL, words_NL = _pairs(mixture, parts_P, model.image_tower.state_width)
    mean_F, std_F = image_NF.mean(dim=0), image_NF.std(dim=0).clamp(min=1e-4)
    image_NF = (image_NF - mean_F) / std_F
    bag = _bag(model)
    vocabulary, width = bag.words.weight.shape
    rarity_V = cca.rarity(torch.where(words_NL, tokens_NL, 0), vocabulary)
    rows_NV = cca.tf_idf(tokens_NL, words_NL, rarity_V)
    floor = cca.fit(image_NF, rows_NV, components=min(width, model.config.levels.widths[-1]))
    scale = 1 / (image_NF @ floor.image_FD).square().mean().sqrt()
    return {
        "image_FD": floor.image_FD * scale,
        "text_VD": floor.text_VD * scale,
        "text_mean_V": floor.text_mean_V,
        "rarity_V": rarity_V,
        "mean_F": mean_F,
        "std_F": std_F,
    }


def _pairs(mixture: Mixture, parts_P: IntArray, features: int) -> tuple[Tensor, Tensor, Tensor]:
    """What the tower saw of the picture of each caption (N, F), its tokens, and which of these are words."""
    pictures, texts, count = list[np.ndarray](), list[np.ndarray](), 0
    for step in range(_BATCHES):
        batch = mixture.batch(step, whole=True)
        part_T = batch.picture_B[batch.picture_of_text_T] // LARGEST_PACK
        right_T = (batch.picture_of_text_T >= 0) & np.isin(part_T, parts_P)
        tokens_NL = np.where(batch.mask_TT, batch.tokens_TT, 0)[right_T]
        pictures.append(batch.features_BD[batch.picture_of_text_T[right_T], :features])
        texts.append(tokens_NL)
        count += len(tokens_NL)
        if count >= PAIRS:
            break
    if count < 2:
        raise DataError(
            "linear_start found no captions in the sources that it looks at; set linear_start=true for one "
            "that has some, or do without it"
        )
    longest = max(tokens_NL.shape[1] for tokens_NL in texts)
    padded = [np.pad(rows_NL, ((0, 0), (0, longest - rows_NL.shape[1]))) for rows_NL in texts]
    tokens_NL = torch.from_numpy(np.concatenate(padded))
    return torch.from_numpy(np.concatenate(pictures)), tokens_NL, tokens_NL >= len(SPECIAL)


@torch.no_grad()
def _give(model: DualEncoder, found: dict[str, Tensor]) -> None:
    image_FD, text_VD, rarity_V = found["image_FD"], found["text_VD"], found["rarity_V"]
    mean_F, std_F = found["mean_F"], found["std_F"]
    norm = next((part for part in model.image_tower.behind if isinstance(part, _BatchNorm)), None)
    if norm is None:  # the maps standardise what no norm does
        image_FD = image_FD / std_F[:, None]
        start_D = -mean_F @ image_FD
    else:
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean[: len(mean_F)] = mean_F
        norm.running_var[: len(std_F)] = std_F.square()
        start_D = torch.zeros(image_FD.shape[1])
    bag = _bag(model)
    for head in heads_of(model.image_levels):
        _begin_head(head, 0, image_FD.T, start_D)
    for head in heads_of(model.text_levels):  # the bag stands last in a text's features
        column = model.text_tower.width - bag.width
        _begin_head(head, column, torch.eye(text_VD.shape[1]), -found["text_mean_V"] @ text_VD)
    width = bag.words.weight.shape[1]
    bag.words.weight.copy_(F.pad(text_VD, (0, width - text_VD.shape[1])))
    bag.log_weight.weight.copy_(rarity_V.clamp(min=_LEAST).log()[:, None])


def _begin_head(head: LevelHead, column: int, directions_DF: Tensor, start_D: Tensor) -> None:
    """Makes a head's first numbers directions of its features from a column on, and the rest small."""
    for linear in filter(None, (head, head.bound)):
        linear.weight.mul_(_NOISE)
    head.bias.zero_()
    rows = min(len(head.weight), len(directions_DF))
    head.weight[:rows, column : column + directions_DF.shape[1]] = directions_DF[:rows].to(head.weight)
    head.bias[:rows] = start_D[:rows].to(head.bias)


def _bag(model: DualEncoder) -> Bag:
    bag = model.text_tower.bag
    assert bag is not None
    return bag
