"""Targets of teachers over the training data: an ensemble's vectors, and a fusion model's scores.

V views, I images, T captions, K candidates, D width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from hivlp.types import IntArray
from hivlp_lab.flickr8k import scoring
from hivlp_lab.flickr8k.corpus import TRAIN
from hivlp_lab.flickr8k.learners import DualLearner, FusionLearner, TeacherTargets
from hivlp_lab.flickr8k.recipes import SystemRecipe

if TYPE_CHECKING:
    from hivlp_lab.flickr8k.systems import Systems

_CAPTIONS, _CANDIDATES = 2, 8  # of an image, and of each of these, that a fusion model scores
_BLOCK = 256


def targets_of(systems: Systems, recipe: SystemRecipe, seed: int) -> TeacherTargets:
    """The targets of a recipe's teachers, which must be trained; empty where it has none."""
    all_images_VID, captions_TD = [], []
    for name, number in recipe.teachers:
        images_VID, texts_TD = _vectors(systems, systems.recipe(name), number)
        all_images_VID.append(images_VID)
        captions_TD.append(texts_TD)
    images = systems.materials.images
    return TeacherTargets(
        images_VID=all_images_VID,
        captions_TD=captions_TD,
        scored=_scored(systems, recipe, seed) if recipe.fusion_teacher else None,
        candidates=lambda rows: (images.regions_VIRF[0, rows].float(), images.pooled_VIF[0, rows]),
        tokens=lambda rows: systems.tokens(rows.numpy()),
    )


def _vectors(systems: Systems, recipe: SystemRecipe, seed: int) -> tuple[Tensor, Tensor]:
    """Vectors of all views of all images, times the inverse temperature, and of all captions."""
    learner, materials = cast("DualLearner", systems.learner(recipe, seed)), systems.materials
    rows_I, rows_T = np.arange(len(materials.corpus.samples)), np.arange(len(materials.corpus.captions))
    fine, views = recipe.widths[-1], range(len(materials.images.regions_VIRF))
    images_VID = np.stack([systems.images(learner, rows_I, view=view)[fine] for view in views])
    texts_TD = systems.texts(learner, rows_T)[fine]
    return float(learner.scales[fine].detach()) * torch.from_numpy(images_VID), torch.from_numpy(texts_TD)


def _scored(systems: Systems, recipe: SystemRecipe, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Captions, for each its own image and those that the floor likes best, and their scores."""
    corpus = systems.materials.corpus
    rows_P = corpus.images(TRAIN)
    own_captions = (corpus.texts_IM[row][corpus.texts_IM[row] >= 0][:_CAPTIONS] for row in rows_P)
    texts_T = np.concatenate(list(own_captions))
    images_ID, captions_TD = (rows_ND.numpy() for rows_ND in systems.materials.floor_vectors)
    candidates: list[IntArray] = []
    for start in range(0, len(texts_T), _BLOCK):
        some_T = texts_T[start : start + _BLOCK]
        similar_TP = captions_TD[some_T] @ images_ID[rows_P].T
        similar_TP[rows_P[None, :] == corpus.image_of_T[some_T][:, None]] = np.inf  # it stands first
        candidates.append(rows_P[scoring.best_columns(similar_TP, min(_CANDIDATES, len(rows_P)))])
    candidates_TK = np.concatenate(candidates)
    teacher = systems.recipe(recipe.fusion_teacher)
    learner = cast("FusionLearner", systems.learner(teacher, seed))
    scores_TK = systems.scores(learner, texts_T, candidates_TK, systems.folder(teacher, seed) / "listened")
    return torch.from_numpy(texts_T), torch.from_numpy(candidates_TK), torch.from_numpy(scores_TK)
