"""Every system by name and seed: built, trained once, stored, and run for vectors or scores.

P images, T captions, K candidates, D width.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import torch

from hivlp.model.levels import unit
from hivlp.train.resumable_array import resumable_array
from hivlp.train.starts import cca
from hivlp.types import FloatArray, IntArray
from hivlp_lab.baselines.meter import Meter
from hivlp_lab.baselines.uniter import Uniter
from hivlp_lab.flickr8k import scoring, training
from hivlp_lab.flickr8k.batches import RegionBatches
from hivlp_lab.flickr8k.corpus import TRAIN, VAL
from hivlp_lab.flickr8k.features import blocks
from hivlp_lab.flickr8k.fusion import RegionFusion
from hivlp_lab.flickr8k.learners import DualLearner, FusionLearner, TeacherTargets
from hivlp_lab.flickr8k.materials import Materials
from hivlp_lab.flickr8k.recipes import SYSTEMS, SystemRecipe, small
from hivlp_lab.flickr8k.start import compact_from_floor, from_floor
from hivlp_lab.flickr8k.teachers import targets_of
from hivlp_lab.flickr8k.towers import CompactTowers, RegionTowers
from hivlp_lab.speed.ledger import Ledger

VERSION = 2
"""Part of every stored result's name; a change of the code that changes results needs another."""
Vectors: TypeAlias = "dict[int, FloatArray]"
SystemLearner: TypeAlias = "DualLearner | FusionLearner"


@dataclass(kw_only=True)
class Systems:
    """All systems of the comparison, trained when they are first needed."""

    materials: Materials
    tiny: bool
    work: Path
    ledger: Ledger
    say: Callable[[str], None] = lambda message: None
    _open: dict[str, SystemLearner] = field(default_factory=dict[str, SystemLearner], init=False, repr=False)

    def recipe(self, name: str) -> SystemRecipe:
        """How a system is trained."""
        return small(SYSTEMS[name]) if self.tiny else SYSTEMS[name]

    def folder(self, recipe: SystemRecipe, seed: int) -> Path:
        """The folder of a training: everything that it depends on is in the name."""
        sizes, data = self.materials.sizes.of_training, self.materials.fingerprint
        parts = [VERSION, recipe.as_dict(), sizes, data, list(cca.SETTINGS), seed]
        parts += [self.folder(self.recipe(name), number).name for name, number in self.teachers(recipe, seed)]
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
        return self.work / "trained" / f"{recipe.kind}-{digest}"

    def result(self, name: str, recipe: SystemRecipe, seed: int) -> dict[str, Any]:
        """What a training cost and reached; trained now if it was not before."""
        folder = self.folder(recipe, seed)
        entry = f"{name}, seed {seed} ({folder.name}, 1 of {self.materials.sizes.every})"
        return self.ledger.get(entry, lambda: self._trained(name, recipe, seed))

    def learner(self, recipe: SystemRecipe, seed: int) -> SystemLearner:
        """A trained system."""
        key = str(self.folder(recipe, seed))
        if key not in self._open:
            self._open[key] = self._built(recipe, seed, TeacherTargets())
            training.restore(self._open[key], Path(key))
        return self._open[key]

    def vectors(
        self, learner: DualLearner, images_P: IntArray, texts_T: IntArray, *, views: Sequence[int] = (0, 1)
    ) -> tuple[Vectors, Vectors]:
        """Vectors of images, the mean of those of some views, and of captions, by width."""
        seen = [self.images(learner, images_P, view=view) for view in views]
        images = {width: np.mean([view[width] for view in seen], axis=0) for width in seen[0]}
        if learner.cosine:
            images = {width: unit(torch.from_numpy(rows_PD)).numpy() for width, rows_PD in images.items()}
        return images, self.texts(learner, texts_T)

    @torch.inference_mode()
    def scores(
        self, learner: FusionLearner, texts_T: IntArray, candidates_TK: IntArray, stem: Path
    ) -> FloatArray:
        """A fusion model's scores (T, K) of captions' candidates, given by their rows; stored on the disk."""
        model, images = learner.model, self.materials.images
        rows_P, place_TK = np.unique(candidates_TK, return_inverse=True)
        place_TK = place_TK.reshape(candidates_TK.shape)
        kept_PRS = torch.cat(
            [
                model.image_states(images.regions_VIRF[0, rows].float(), self._boxes(len(rows)))
                for rows in map(torch.from_numpy, blocks(rows_P))
            ]
        )

        def rows_from(done: int) -> Iterator[tuple[int, FloatArray]]:
            step = max(1, 2_000 // candidates_TK.shape[1])
            for first in range(done, len(texts_T), step):
                tokens_TL, mask_TL = self.tokens(texts_T[first : first + step])
                places_P = torch.from_numpy(place_TK[first : first + step]).flatten()
                text_P = torch.arange(len(tokens_TL)).repeat_interleave(candidates_TK.shape[1])
                text = model.text_states(tokens_TL, mask_TL)
                scores_P = model.pairs(text, mask_TL, kept_PRS, text_P, places_P)
                yield first, scores_P.reshape(len(tokens_TL), -1).numpy()

        stem.parent.mkdir(parents=True, exist_ok=True)
        found = resumable_array(
            stem,
            candidates_TK.shape,
            rows_from,
            lambda done: self.say(f"{stem.parent.name} {stem.name}: {done:,} of {len(texts_T):,} queries"),
            dtype=np.float32,
        )
        return np.array(found)

    def small_pool_scores(self, recipe: SystemRecipe, seed: int) -> FloatArray:
        """A fusion model's scores of all pairs of the small pool."""
        images_P = self.materials.small_pool()
        texts_T, name = self.materials.corpus.texts(images_P), f"small-pool-{self.materials.sizes.every}"
        return self.all_scores(recipe, seed, images_P, texts_T, name)

    def all_scores(
        self, recipe: SystemRecipe, seed: int, images_P: IntArray, texts_T: IntArray, name: str
    ) -> FloatArray:
        """A fusion model's scores (T, P) of all pairs of some captions and images."""
        candidates_TK = np.tile(images_P, (len(texts_T), 1))
        learner = cast("FusionLearner", self.learner(recipe, seed))
        return self.scores(learner, texts_T, candidates_TK, self.folder(recipe, seed) / name)

    def _trained(self, name: str, recipe: SystemRecipe, seed: int) -> dict[str, Any]:
        for teacher, number in self.teachers(recipe, seed):
            self.result(teacher, self.recipe(teacher), number)
        materials, folder = self.materials, self.folder(recipe, seed)
        batches = RegionBatches(
            materials.corpus,
            materials.images,
            batch=recipe.batch,
            captions=recipe.captions,
            drop=recipe.word_dropout,
            seed=seed,
        )
        learner = self._built(recipe, seed, targets_of(self, recipe, seed))
        dual = learner if isinstance(learner, DualLearner) else None
        spent = training.train(
            learner,
            batches,
            recipe,
            folder,
            seed=seed,
            budget=materials.sizes.budget,
            rate_shares=dual and dual.rate_shares,
            evaluate=dual and partial(self._evaluate, dual),
            evaluations=materials.sizes.evaluations,
            progress=lambda line, *_: self.say(f"{name}, seed {seed}: {line}"),
        )
        self._open[str(folder)] = learner
        reached, curve = self._reached(learner, recipe, seed), training.curve(folder)
        if dual is not None:
            curve[-1]["AR"] = reached["AR"]
        return {**spent, "curve": curve, **reached}

    def _reached(self, learner: SystemLearner, recipe: SystemRecipe, seed: int) -> dict[str, Any]:
        small_P, val_P = self.materials.small_pool(), self.materials.corpus.images(VAL)
        if isinstance(learner, FusionLearner):
            _, owners_T = self.materials.captions_of(small_P)
            scores_TP = self.small_pool_scores(recipe, seed)
            return {"small_pool": scoring.of_scores(scores_TP, owners_T).as_dict()}
        found = {"small_pool": self._recalls(learner, small_P).as_dict()}
        if not recipe.cosine:
            return found | self._recalls(learner, val_P).as_dict()
        texts_T, owners_T = self.materials.captions_of(val_P)
        return found | scoring.of_vectors(*self.vectors(learner, val_P, texts_T), owners_T)

    def _recalls(self, learner: DualLearner, images_P: IntArray) -> scoring.BothWays:
        """Both directions at the finest level, over some images and all of their captions."""
        texts_T, owners_T = self.materials.captions_of(images_P)
        images, texts = self.vectors(learner, images_P, texts_T)
        return scoring.of_scores(texts[max(texts)] @ images[max(images)].T, owners_T)

    def _evaluate(self, learner: DualLearner) -> dict[str, Any]:
        learner.eval()
        return {"AR": round(self._recalls(learner, self.materials.corpus.images(VAL)).average, 2)}

    def _built(self, recipe: SystemRecipe, seed: int, targets: TeacherTargets) -> SystemLearner:
        materials, sizes = self.materials, self.materials.sizes
        torch.manual_seed(seed)
        features, vocabulary = materials.backbone.width, materials.corpus.tokenizer.vocabulary_size
        if recipe.is_fusion:
            model = (
                Uniter(sizes.pair(features, vocabulary))
                if recipe.kind == "uniter"
                else Meter(sizes.meter(features, vocabulary))
            )
            from_floor(model, materials.floor, materials.rarity_V)
            return FusionLearner(RegionFusion(model), *materials.floor_vectors)
        if recipe.kind == "compact":
            towers = CompactTowers(recipe, sizes, features=features, vocabulary=vocabulary)
            pooled_NF = materials.images.pooled_VIF[0, materials.corpus.images(TRAIN)]
            compact_from_floor(towers, materials.floor, materials.rarity_V, pooled_NF)
        else:
            towers = RegionTowers(recipe, sizes, features=features, vocabulary=vocabulary)
            from_floor(towers, materials.floor, materials.rarity_V)
        return DualLearner(towers, recipe, targets, vocabulary=vocabulary)

    def teachers(self, recipe: SystemRecipe, seed: int) -> list[tuple[str, int]]:
        """Which are trained before: the ensemble, and the fusion model of the student's seed."""
        return [*recipe.teachers, *([(recipe.fusion_teacher, seed)] if recipe.fusion_teacher else [])]

    @torch.inference_mode()
    def images(self, learner: DualLearner, rows_P: IntArray, *, view: int) -> Vectors:
        """Vectors of one view of some images, by width."""
        return joined([self._images(learner, rows_B, view) for rows_B in blocks(rows_P)])

    @torch.inference_mode()
    def texts(self, learner: DualLearner, rows_T: IntArray) -> Vectors:
        """Vectors of some captions, by width."""
        return joined([_numpy(learner.towers.text(*self.tokens(rows_B))) for rows_B in blocks(rows_T)])

    def _images(self, learner: DualLearner, rows_B: IntArray, view: int) -> Vectors:
        images, rows = self.materials.images, torch.from_numpy(rows_B)
        regions_BRF, pooled_BF = images.regions_VIRF[view, rows].float(), images.pooled_VIF[view, rows]
        return _numpy(learner.towers.image(regions_BRF, pooled_BF, self._boxes(len(rows))))

    def tokens(self, rows_B: IntArray) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens and mask of captions by their rows, padded to the longest of them."""
        corpus = self.materials.corpus
        longest = int(corpus.mask_TL[rows_B].sum(axis=1).max())
        return (
            torch.from_numpy(corpus.tokens_TL[rows_B, :longest]),
            torch.from_numpy(corpus.mask_TL[rows_B, :longest]),
        )

    def _boxes(self, count: int) -> torch.Tensor:
        return self.materials.images.boxes_R7.expand(count, -1, -1)


def _numpy(found: dict[int, torch.Tensor]) -> Vectors:
    return {width: rows_BD.numpy() for width, rows_BD in found.items()}


def joined(parts: list[Vectors]) -> Vectors:
    """Parts one after the other, at every width."""
    return {width: np.concatenate([part[width] for part in parts]) for width in parts[0]}
