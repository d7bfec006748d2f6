"""The linear start of a run over a locked tower: a canonical correlation analysis of images and words.

It finds, in closed form and in seconds, the directions in which the tower's features and words weighed by
their rarity agree most. From random weights, hundreds of steps reach no more, and later steps overfit to the
captions on the way (`docs/experiments.md`). So word vectors and levels are set to these directions, and
training goes on from there.

N pairs of an image and a caption, F features of a locked tower, V words, G dimensions of fixed word vectors,
D directions, L tokens.
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

PAIRS = 60_000  # pairs of an image and a caption, from the first batches of the run
_BATCHES = 500  # batches that are read for them, at most
_NOISE = 0.1  # random weights that heads keep, as a share
RIDGES = 3.0, 1.0  # of images and of texts, where words have fixed vectors
WORD_RATE = 4.0  # rate of learned word vectors beside fixed ones, relative to the other weights
POWER = 0.7  # a direction is scaled by this power of its correlation
WORDS = 0.5  # weight of the words themselves, beside their fixed vectors
_LEAST = 0.05  # weight of a word that every caption has, or none


def initialise(
    model: DualEncoder, mixture: Mixture, uses: Sequence[bool], path: Path, progress: Progress
) -> None:
    """Sets word vectors and levels to the directions of the run's first batches, or to those in a file.

    Args:
        uses: of each part of the mixture, whether the analysis uses it.

    Raises:
        DataError: these parts have no captions.
        HivlpError: the file cannot be read.
    """
    if not path.is_file():
        progress("linear start: analysing images and captions")
        save_tensors(_analysis(model, mixture, np.flatnonzero(uses)), path)
    restore_tensors(path, partial(_apply, model), of="model")


def initialised_rates(model: DualEncoder, rate: float) -> dict[nn.Parameter, float]:
    """The weights that a linear start sets, heads and bag, each with its share of the learning rate.

    Word vectors beside fixed ones have `WORD_RATE` times it: a word is in few captions of a batch, and Adam's
    steps are as small for it as for all others.
    """
    bag, heads = _bag(model), (*heads_of(model.image_levels), *heads_of(model.text_levels))
    shares = {weight: rate for part in (*heads, bag) for weight in part.parameters()}
    if isinstance(model.text_tower.backbone, WordVectors):
        shares |= dict.fromkeys(bag.words.parameters(), WORD_RATE * rate)
    return shares


def _analysis(model: DualEncoder, mixture: Mixture, parts_P: IntArray) -> dict[str, Tensor]:
    """The directions, as tensors by name, scaled so that either side's root mean square is 1."""
    image_NF, tokens_NL, words_NL = _pairs(mixture, parts_P)
    mean_F, std_F = image_NF.mean(dim=0), image_NF.std(dim=0).clamp(min=1e-4)
    image_NF = (image_NF - mean_F) / std_F
    vocabulary = _bag(model).log_weight.num_embeddings
    rarity_V = cca.rarity(torch.where(words_NL, tokens_NL, 0), vocabulary)
    fixed = model.text_tower.backbone
    if isinstance(fixed, WordVectors):
        words_V = rarity_V[len(SPECIAL) :]
        words_V[words_V == 0] = 1  # a word of no caption is rare, and has a fixed vector all the same
        return _analysis_with_vectors(model, fixed, rarity_V, (mean_F, std_F), image_NF, tokens_NL, words_NL)
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


def _analysis_with_vectors(
    model: DualEncoder,
    fixed: WordVectors,
    rarity_V: Tensor,
    moments: tuple[Tensor, Tensor],
    image_NF: Tensor,
    tokens_NL: Tensor,
    words_NL: Tensor,
) -> dict[str, Tensor]:
    """The same where words have fixed vectors too: directions of both, as the tower adds them."""
    bag = _bag(model)
    share_NL = shared(_weights(rarity_V)[tokens_NL] * words_NL)
    sums = [
        summed(share_BL, fixed(tokens_BL))
        for share_BL, tokens_BL in zip(share_NL.split(1024), tokens_NL.split(1024), strict=True)
    ]
    fixed_NG = torch.cat(sums)
    has_NL = words_NL & (tokens_NL < bag.learned)
    places_2P = torch.stack(
        [torch.arange(len(tokens_NL))[:, None].expand_as(tokens_NL)[has_NL], tokens_NL[has_NL]]
    )
    rows_NV = torch.sparse_coo_tensor(
        places_2P, share_NL[has_NL], (len(tokens_NL), bag.learned), check_invariants=True
    ).coalesce()
    # both kinds of columns have the same spread, but for the weight of words, and one ridge fits them
    scale_fixed = 1 / fixed_NG.std()
    scale_words = WORDS / (rows_NV.values().square().sum() / (len(tokens_NL) * bag.learned)).sqrt()
    floor = cca.fit(
        image_NF,
        rows_NV * scale_words,
        components=_directions(model),
        ridges=RIDGES,
        power=POWER,
        given_NG=fixed_NG * scale_fixed,
    )
    text_GD, text_VD = floor.text_VD.split([fixed.width, bag.learned])
    start_D = -floor.text_mean_V @ floor.text_VD
    text_GD, text_VD = text_GD * scale_fixed, text_VD * scale_words
    image_scale = 1 / (image_NF @ floor.image_FD).square().mean().sqrt()
    text_scale = 1 / (fixed_NG @ text_GD + rows_NV @ text_VD + start_D).square().mean().sqrt()
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
    """The number of directions: each takes a dimension of the bag and one of the widest level."""
    return min(_bag(model).width, model.config.levels.widths[-1])


def _weights(rarity_V: Tensor) -> Tensor:
    return rarity_V.clamp(min=_LEAST)


def _pairs(mixture: Mixture, parts_P: IntArray) -> tuple[Tensor, Tensor, Tensor]:
    """The features of each caption's image (N, F), its tokens, and which of these are words (N, L)."""
    pictures, texts, count = list[np.ndarray](), list[np.ndarray](), 0
    for step in range(_BATCHES):
        batch = mixture.batch(step, whole=True)
        part_T = batch.picture_B[batch.picture_of_text_T] // LARGEST_PACK
        right_T = (batch.picture_of_text_T >= 0) & np.isin(part_T, parts_P)
        tokens_NL = np.where(batch.mask_TL, batch.tokens_TL, 0)[right_T]
        pictures.append(batch.features_BD[batch.picture_of_text_T[right_T]])
        texts.append(tokens_NL)
        count += len(tokens_NL)
        if count >= PAIRS:
            break
    if count < 2:
        raise DataError(
            "linear_start found no captions in its sources; set linear_start=true for a source that has "
            "some, or linear_start=false for the run"
        )
    longest = max(tokens_NL.shape[1] for tokens_NL in texts)
    padded = [np.pad(rows_NL, ((0, 0), (0, longest - rows_NL.shape[1]))) for rows_NL in texts]
    tokens_NL = torch.from_numpy(np.concatenate(padded))
    return torch.from_numpy(np.concatenate(pictures)), tokens_NL, tokens_NL >= len(SPECIAL)


@torch.no_grad()
def _apply(model: DualEncoder, found: dict[str, Tensor]) -> None:
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
        _initialise_head(head, 0, image_FD.T, start_D)
    maps_DF, column = torch.eye(text_VD.shape[1]), model.text_tower.state_width
    if "given_GD" in found:  # fixed vectors come first in a text's features, the bag last
        maps_DF, column = torch.cat([found["given_GD"].T, maps_DF], dim=1), 0
    for head in heads_of(model.text_levels):
        _initialise_head(head, column, maps_DF, found["start_D"])
    bag.words.weight.copy_(F.pad(text_VD, (0, bag.width - text_VD.shape[1])))
    bag.log_weight.weight.copy_(_weights(rarity_V).log()[:, None])


def _initialise_head(head: LevelHead, column: int, directions_DF: Tensor, start_D: Tensor) -> None:
    """Sets the first rows of a head to directions of its features from a column on; the rest become small."""
    head.weight.mul_(_NOISE)
    head.bias.zero_()
    rows = min(len(head.weight), len(directions_DF))
    head.weight[:rows, column : column + directions_DF.shape[1]] = directions_DF[:rows].to(head.weight)
    head.bias[:rows] = start_D[:rows].to(head.bias)


def _bag(model: DualEncoder) -> Bag:
    bag = model.text_tower.bag
    assert bag is not None
    return bag
