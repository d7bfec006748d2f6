"""What each part of HiVLP is worth, on the compact towers: one thing changed at a time, the same seeds.

Q queries, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from hivlp.encode.heads import unit
from hivlp.index.coarse.faiss_index import principal_directions
from hivlp.objectives.binary import sign_codes
from hivlp.types import FloatArray, IntArray
from hivlp_lab.flickr8k import scoring
from hivlp_lab.flickr8k.corpus import TRAIN, VAL
from hivlp_lab.flickr8k.learners import DualLearner
from hivlp_lab.flickr8k.recipes import SystemRecipe, ablated, small
from hivlp_lab.flickr8k.systems import Systems, Vectors

_WIDTHS = (16, 32, 64, 128, 512)
VARIANTS: dict[str, SystemRecipe] = {
    "nested": ablated(widths=_WIDTHS),
    "separate": ablated(widths=_WIDTHS, levels="separate"),
    "one width": ablated(widths=(512,)),
    "consistency": ablated(widths=_WIDTHS, consistency=0.5),
    "binary": ablated(widths=_WIDTHS, binary=1.0),
    "VLM": ablated(widths=_WIDTHS, vlm=0.5),
    "LRM": ablated(widths=_WIDTHS, lrm=0.5),
    "VLM and LRM": ablated(widths=_WIDTHS, vlm=0.5, lrm=0.5),
}
"""All but ``one width`` differ from ``nested`` in one thing; that one is cut and rotated to narrower ones."""
CANDIDATES = (10, 20, 50, 100, 200, 400)


@dataclass(frozen=True, kw_only=True)
class Ablations:
    """All variants over some seeds."""

    systems: Systems
    seeds: Sequence[int]

    def run(self) -> dict[str, Any]:
        """By variant, then by seed."""
        found: dict[str, Any] = {name: {} for name in VARIANTS}
        more: dict[str, dict[str, Any]] = {"rotated": {}, "cut": {}, "signs": {}, "candidates": {}}
        for seed in self.seeds:
            for name in VARIANTS:
                recipe = self._recipe(name)
                found[name][str(seed)] = self.systems.result(f"ablation {name}", recipe, seed)
            more["signs"][str(seed)] = self._kept("nested", seed, "signs", self._signs)
            more["candidates"][str(seed)] = self._kept("nested", seed, "candidates", self._candidates)
            more["rotated"][str(seed)] = self._kept("one width", seed, "rotated", self._rotated)
            more["cut"][str(seed)] = self._kept("one width", seed, "cut", self._cut)
            found["binary"][str(seed)] |= self._kept("binary", seed, "signs", self._signs)
        return {"variants": found, **more}

    def _recipe(self, name: str) -> SystemRecipe:
        recipe = VARIANTS[name]
        return small(recipe) if self.systems.tiny else recipe

    def _kept(self, name: str, seed: int, what: str, measure: Any) -> dict[str, Any]:
        recipe = self._recipe(name)
        learner = cast("DualLearner", self.systems.learner(recipe, seed))
        entry = f"ablation {name}, seed {seed}: {what} ({self.systems.folder(recipe, seed).name})"
        return self.systems.ledger.get(entry, lambda: measure(learner))

    def _val(self, learner: DualLearner) -> tuple[Vectors, Vectors, IntArray]:
        images_P = self.systems.materials.corpus.images(VAL)
        texts_T, owners_T = self.systems.materials.captions_of(images_P)
        return *self.systems.vectors(learner, images_P, texts_T), owners_T

    def _signs(self, learner: DualLearner) -> dict[str, Any]:
        """The signs of the finest vector alone, a bit a number."""
        images, texts, owners_T = self._val(learner)
        codes = [sign_codes(torch.from_numpy(side[max(side)])).numpy() for side in (images, texts)]
        return {"signs": scoring.of_scores(codes[1] @ codes[0].T, owners_T).as_dict()}

    def _rotated(self, learner: DualLearner) -> dict[str, Any]:
        """The finest vectors in their principal directions, those of the training images, then cut."""
        corpus = self.systems.materials.corpus
        rows_P = corpus.images(TRAIN)
        seen, _ = self.systems.vectors(learner, rows_P, corpus.texts(rows_P[:1]))
        fine_ND = seen[max(seen)]
        return self._narrowed(learner, principal_directions(fine_ND, fine_ND.shape[1]).T)

    def _cut(self, learner: DualLearner) -> dict[str, Any]:
        """The first numbers of the finest vectors."""
        return self._narrowed(learner, None)

    def _narrowed(self, learner: DualLearner, turn_DD: FloatArray | None) -> dict[str, Any]:
        images, texts, owners_T = self._val(learner)
        image_ID, text_TD = (side[max(side)] for side in (images, texts))
        if turn_DD is not None:
            image_ID, text_TD = image_ID @ turn_DD, text_TD @ turn_DD
        levels = {}
        for width in (width for width in _WIDTHS if width <= image_ID.shape[1]):
            narrow = [unit(rows_ND[:, :width]) for rows_ND in (image_ID, text_TD)]
            levels[str(width)] = scoring.of_scores(narrow[1] @ narrow[0].T, owners_T).as_dict()
        return {"levels": levels}

    def _candidates(self, learner: DualLearner) -> dict[str, Any]:
        """AR of the cascade over AR of the finest level, by coarse width and candidates."""
        images, texts, owners_T = self._val(learner)
        fine_TI = texts[max(texts)] @ images[max(images)].T
        of_images = [np.flatnonzero(owners_T == place).tolist() for place in range(fine_TI.shape[1])]
        whole = scoring.of_scores(fine_TI, owners_T).average
        found: dict[str, Any] = {}
        for width in sorted(images)[:-1]:
            coarse_TI = texts[width] @ images[width].T
            found[str(width)] = {}
            for count in (count for count in CANDIDATES if count <= len(images[width])):
                both = scoring.BothWays(
                    text_to_image=scoring.recalls_of(
                        scoring.cascaded(coarse_TI, fine_TI, count), owners_T[:, None].tolist()
                    ),
                    image_to_text=scoring.recalls_of(
                        scoring.cascaded(
                            np.ascontiguousarray(coarse_TI.T), np.ascontiguousarray(fine_TI.T), count
                        ),
                        of_images,
                    ),
                )
                found[str(width)][str(count)] = round(both.average / max(whole, 1e-9), 5)
        return found
