"""The cascade whose best candidates a fusion model scores anew, beside that model over all pairs.

Q queries, T captions, P images, K candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from hivlp.evaluate.metrics import average_recall
from hivlp.types import FloatArray, IntArray
from hivlp_lab.flickr8k import scoring
from hivlp_lab.flickr8k.corpus import TUNE, VAL
from hivlp_lab.flickr8k.learners import DualLearner, FusionLearner
from hivlp_lab.flickr8k.recipes import SystemRecipe
from hivlp_lab.flickr8k.systems import Systems

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
"""Of the fusion model in the mixture; one of them is chosen on pictures of neither train nor val."""
DEPTHS = (10, 20, 50)


@dataclass(frozen=True, kw_only=True)
class Duo:
    """A dual encoder and the fusion model that re-ranks what it finds."""

    systems: Systems
    dual: SystemRecipe
    fusion: SystemRecipe
    seed: int

    def measured(self) -> dict[str, Any]:
        """Both alone and together, over the small pool in full and over all of val for some queries."""
        share = self._share()
        return {"share": share, "small_pool": self._small(share), "val": self._val(share)}

    @property
    def depths(self) -> list[int]:
        """How many candidates are scored anew."""
        deep = self.systems.materials.sizes.deep
        return [depth for depth in DEPTHS if depth <= deep] or [deep]

    def _share(self) -> float:
        """The share that is best on the images that were put aside."""
        materials = self.systems.materials
        images_P = materials.corpus.images(TUNE)
        texts_T, owners_T = materials.captions_of(images_P)
        dual_TP = self._dual(images_P, texts_T)
        fusion_TP = self.systems.all_scores(self.fusion, self.seed, images_P, texts_T, "tune")
        depth = min(self.depths[-1], len(images_P))
        averages = [
            average_recall(*_both(dual_TP, fusion_TP, owners_T, depth=depth, share=share)) for share in SHARES
        ]
        return SHARES[int(np.argmax(averages))]

    def _small(self, share: float) -> dict[str, Any]:
        """Every pair of the small pool is scored, so re-ranking and full scoring can be compared."""
        materials = self.systems.materials
        images_P = materials.small_pool()
        texts_T, owners_T = materials.captions_of(images_P)
        dual_TP = self._dual(images_P, texts_T)
        fusion_TP = self.systems.small_pool_scores(self.fusion, self.seed)
        found: dict[str, Any] = {
            "dual": scoring.of_scores(dual_TP, owners_T).as_dict(),
            "fusion": scoring.of_scores(fusion_TP, owners_T).as_dict(),
        }
        for depth in self.depths:
            for name, part in (("alone", 1.0), ("mixed", share)):
                both = _both(dual_TP, fusion_TP, owners_T, depth=depth, share=part)
                found[f"{name}-{depth}"] = _as_dict(*both)
        return found

    def _val(self, share: float) -> dict[str, Any]:
        """All of val is searched: by one caption of each image, and by the images of the small pool."""
        materials, deep = self.systems.materials, self.systems.materials.sizes.deep
        images_P = materials.corpus.images(VAL)
        texts_T, owners_T = materials.captions_of(images_P)
        dual_TP = self._dual(images_P, texts_T)
        asked_Q = np.unique(owners_T, return_index=True)[1]  # the first caption of each image
        shown_Q = np.arange(0, len(images_P), materials.sizes.every)
        by_text_QK = scoring.best_columns(dual_TP[asked_Q], deep)
        by_image_QK = scoring.best_columns(np.ascontiguousarray(dual_TP.T[shown_Q]), deep)
        learner = cast("FusionLearner", self.systems.learner(self.fusion, self.seed))
        folder = self.systems.folder(self.fusion, self.seed)
        of = f"{self.systems.folder(self.dual, self.seed).name}-{deep}-{materials.sizes.every}"
        text_scores_QK = self.systems.scores(
            learner, texts_T[asked_Q], images_P[by_text_QK], folder / f"{of}-t"
        )
        flat_scores = self.systems.scores(
            learner,
            texts_T[by_image_QK].reshape(-1),
            np.repeat(images_P[shown_Q], by_image_QK.shape[1])[:, None],
            folder / f"{of}-i",
        )
        of_images = [np.flatnonzero(owners_T == shown).tolist() for shown in shown_Q]

        def recalls(depth: int, part: float) -> dict[str, Any]:
            to_image = scoring.reranked(dual_TP[asked_Q], by_text_QK, text_scores_QK, depth=depth, share=part)
            to_text = scoring.reranked(
                np.ascontiguousarray(dual_TP.T[shown_Q]),
                by_image_QK,
                flat_scores.reshape(by_image_QK.shape),
                depth=depth,
                share=part,
            )
            return _as_dict(
                scoring.recalls_of(to_image, owners_T[asked_Q][:, None].tolist()),
                scoring.recalls_of(to_text, of_images),
            )

        found = {"queries": [len(asked_Q), len(shown_Q)], "dual": recalls(1, 0.0)}
        for depth in self.depths:
            found |= {f"alone-{depth}": recalls(depth, 1.0), f"mixed-{depth}": recalls(depth, share)}
        return found

    def _dual(self, images_P: IntArray, texts_T: IntArray) -> FloatArray:
        learner = cast("DualLearner", self.systems.learner(self.dual, self.seed))
        images, texts = self.systems.vectors(learner, images_P, texts_T)
        return texts[max(texts)] @ images[max(images)].T


def _both(
    dual_TP: FloatArray, fusion_TP: FloatArray, owners_T: IntArray, *, depth: int, share: float
) -> Sequence[Any]:
    """Recalls of both directions where every pair has a fusion score."""
    of_images = [np.flatnonzero(owners_T == place).tolist() for place in range(dual_TP.shape[1])]
    found = []
    for dual_QN, fusion_QN, relevant in (
        (dual_TP, fusion_TP, owners_T[:, None].tolist()),
        (np.ascontiguousarray(dual_TP.T), np.ascontiguousarray(fusion_TP.T), of_images),
    ):
        candidates_QK = scoring.best_columns(dual_QN, depth)
        said_QK = np.take_along_axis(fusion_QN, candidates_QK, axis=1)
        scores_QN = scoring.reranked(dual_QN, candidates_QK, said_QK, depth=depth, share=share)
        found.append(scoring.recalls_of(scores_QN, relevant))
    return found


def _as_dict(text_to_image: Any, image_to_text: Any) -> dict[str, Any]:
    return scoring.BothWays(text_to_image=text_to_image, image_to_text=image_to_text).as_dict()
