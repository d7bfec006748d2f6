"""Where a run over a locked tower begins: at the directions in which pictures and words agree most.

A canonical correlation analysis of what the tower sees and of words by their rarity is found in seconds, in
closed form. From random weights hundreds of steps come to no more, and those that follow find less, because
captions are learned by heart on the way (`docs/experiments.md`). So words begin where it puts them, pictures
too, and training goes on from there.

N pairs of a picture and a caption, F features of a locked tower, V words, D directions, L tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from hivlp.data.tokenizer import SPECIAL
from hivlp.errors import DataError
from hivlp.model.dual import DualEncoder
from hivlp.model.levels import LevelHead, heads_of
from hivlp.model.words import Bag, WordVectors, shared, summed
from hivlp.train.batches.mixture import LARGEST_PACK, Mixture
from hivlp.train.saved_tensors import restore_tensors, save_tensors
from hivlp.train.starts import cca
from hivlp.types import IntArray, Progress

PAIRS = 60_000  # of a picture and a caption, from the first batches of the run
_BATCHES = 500  # that are looked at for them, at most
_NOISE = 0.1  # what else heads begin with, as a share of their random start: directions come first
RIDGES = 3.0, 1.0  # of pictures and of texts, where words have given vectors
WORD_RATE = 4.0
POWER = 0.7  # of a direction's correlation, by which it counts
WORDS = 0.5  # the weight of words by themselves, beside their given vectors
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
        save_tensors(_found(model, mixture, np.flatnonzero(looked_at)), path)
    restore_tensors(path, partial(_give, model), of="model")


def given(model: DualEncoder, rate: float) -> dict[nn.Parameter, float]:
    """The weights that this gives, heads and bag, and the share of the learning rate that each has.

    Vectors that stand beside given ones have `WORD_RATE` times it: a word is in few captions of a batch, and
    Adam's steps are as small for it as for all others.
    """
    bag, heads = _bag(model), (*heads_of(model.image_levels), *heads_of(model.text_levels))
    shares = {weight: rate for part in (*heads, bag) for weight in part.parameters()}
    if isinstance(model.text_tower.backbone, WordVectors):
        shares |= dict.fromkeys(bag.words.parameters(), WORD_RATE * rate)
    return shares


def _found(model: DualEncoder, mixture: Mixture, parts_P: IntArray) -> dict[str, Tensor]:
    """The directions, as tensors by name, scaled so that either side's root mean square is 1."""
    image_NF, tokens_NL, words_NL = _pairs(mixture, parts_P)
    mean_F, std_F = image_NF.mean(dim=0), image_NF.std(dim=0).clamp(min=1e-4)
    image_NF = (image_NF - mean_F) / std_F
    vocabulary = _bag(model).log_weight.num_embeddings
    rarity_V = cca.rarity(torch.where(words_NL, tokens_NL, 0), vocabulary)
    given = model.text_tower.backbone
    if isinstance(given, WordVectors):
        words_V = rarity_V[len(SPECIAL) :]
        words_V[words_V == 0] = 1  # what no caption holds is rare, and known all the same
        return _with_given(model, given, rarity_V, (mean_F, std_F), image_NF, tokens_NL, words_NL)
    rows_NV = cca.tf_idf(tokens_NL, words_NL, rarity_V)
    floor = cca.fit(image_NF, rows_NV, components=_directions(model))
    scale = 1 / (image_NF @ floor.image_FD).square().mean().sqrt()
    return {
        "image_FD": floor.image_FD * scale,
        "text_VD": floor.text_VD * scale,
        "start_D": -floor.text_mean_V @ floor.text_VD * scale,
        "rarity_V": rarity_V,
        "mean_F": mean_F,
        "std_F": std_F,
    }


def _with_given(
    model: DualEncoder,
    given: WordVectors,
    rarity_V: Tensor,
    moments: tuple[Tensor, Tensor],
    image_NF: Tensor,
    tokens_NL: Tensor,
    words_NL: Tensor,
) -> dict[str, Tensor]:
    """The same where words have given vectors too: directions of both, as the tower adds them."""
    bag = _bag(model)
    share_NL = shared(_weights(rarity_V)[tokens_NL] * words_NL)
    sums = [
        summed(share_BL, given(tokens_BL))
        for share_BL, tokens_BL in zip(share_NL.split(1024), tokens_NL.split(1024), strict=True)
    ]
    given_NG = torch.cat(sums)
    has_NL = words_NL & (tokens_NL < bag.learned)
    places_2P = torch.stack(
        [torch.arange(len(tokens_NL))[:, None].expand_as(tokens_NL)[has_NL], tokens_NL[has_NL]]
    )
    rows_NV = torch.sparse_coo_tensor(
        places_2P, share_NL[has_NL], (len(tokens_NL), bag.learned), check_invariants=True
    ).coalesce()
    # both kinds of columns have the same spread, but for the weight of words, and one ridge fits them
    scale_given = 1 / given_NG.std()
    scale_words = WORDS / (rows_NV.values().square().sum() / (len(tokens_NL) * bag.learned)).sqrt()
    floor = cca.fit(
        image_NF,
        rows_NV * scale_words,
        components=_directions(model),
        ridges=RIDGES,
        power=POWER,
        given_NG=given_NG * scale_given,
    )
    text_GD, text_VD = floor.text_VD.split([given.width, bag.learned])
    start_D = -floor.text_mean_V @ floor.text_VD
    text_GD, text_VD = text_GD * scale_given, text_VD * scale_words
    image_scale = 1 / (image_NF @ floor.image_FD).square().mean().sqrt()
    text_scale = 1 / (given_NG @ text_GD + rows_NV @ text_VD + start_D).square().mean().sqrt()
    return {
        "image_FD": floor.image_FD * image_scale,
        "given_GD": text_GD * text_scale,
        "text_VD": text_VD * text_scale,
        "start_D": start_D * text_scale,
        "rarity_V": rarity_V,
        "mean_F": moments[0],
        "std_F": moments[1],
    }


def _directions(model: DualEncoder) -> int:
    """How many directions a model can take: each has a number of the bag's, and one of the widest level's."""
    return min(_bag(model).width, model.config.levels.widths[-1])


def _weights(rarity_V: Tensor) -> Tensor:
    return rarity_V.clamp(min=_LEAST)


def _pairs(mixture: Mixture, parts_P: IntArray) -> tuple[Tensor, Tensor, Tensor]:
    """What the tower saw of the picture of each caption (N, F), its tokens, and which of these are words."""
    pictures, texts, count = list[np.ndarray](), list[np.ndarray](), 0
    for step in range(_BATCHES):
        batch = mixture.batch(step, whole=True)
        part_T = batch.picture_B[batch.picture_of_text_T] // LARGEST_PACK
        right_T = (batch.picture_of_text_T >= 0) & np.isin(part_T, parts_P)
        tokens_NL = np.where(batch.mask_TT, batch.tokens_TT, 0)[right_T]
        pictures.append(batch.features_BD[batch.picture_of_text_T[right_T]])
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
        norm.running_mean.copy_(mean_F)
        norm.running_var.copy_(std_F.square())
        start_D = torch.zeros(image_FD.shape[1])
    bag = _bag(model)
    for head in heads_of(model.image_levels):
        _begin_head(head, 0, image_FD.T, start_D)
    maps_DF, column = torch.eye(text_VD.shape[1]), model.text_tower.state_width
    if "given_GD" in found:  # given vectors stand first in a text's features, the bag last
        maps_DF, column = torch.cat([found["given_GD"].T, maps_DF], dim=1), 0
    for head in heads_of(model.text_levels):
        _begin_head(head, column, maps_DF, found["start_D"])
    bag.words.weight.copy_(F.pad(text_VD, (0, bag.width - text_VD.shape[1])))
    bag.log_weight.weight.copy_(_weights(rarity_V).log()[:, None])


def _begin_head(head: LevelHead, column: int, directions_DF: Tensor, start_D: Tensor) -> None:
    """Makes a head's first numbers directions of its features from a column on, and the rest small."""
    head.weight.mul_(_NOISE)
    head.bias.zero_()
    rows = min(len(head.weight), len(directions_DF))
    head.weight[:rows, column : column + directions_DF.shape[1]] = directions_DF[:rows].to(head.weight)
    head.bias[:rows] = start_D[:rows].to(head.bias)


def _bag(model: DualEncoder) -> Bag:
    bag = model.text_tower.bag
    assert bag is not None
    return bag
