"""Recall and time together while the pool grows: the images of val among many others.

Behind the images of val come those of other sources, and behind these collages: the left half of one of
them beside the right half of another, in features, so that every system meets the same images.

N images of a pool, T captions, R regions, F features, D width.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from hivlp.data.sources import open_source
from hivlp.evaluate import metrics
from hivlp.search import cascade as search
from hivlp.search.plan import Plan
from hivlp.stores.local import LocalStore
from hivlp.types import Embeddings, FloatArray, IntArray, Item
from hivlp_lab.flickr8k import features, scoring
from hivlp_lab.flickr8k.corpus import VAL
from hivlp_lab.flickr8k.features import ImageFeatures
from hivlp_lab.flickr8k.learners import DualLearner, FusionLearner
from hivlp_lab.flickr8k.systems import Systems, joined
from hivlp_lab.speed.clock import TimeLimit, medians

DUALS = ("lightningdot", "hivlp", "hivlp-compact")
FUSION = "uniter"
K = 10
_BLOCK, _APPEND = 1_024, 16_384
_EFFORT = TimeLimit(most=200, seconds=10)


@dataclass(frozen=True, kw_only=True)
class Pools:
    """The growing pools of one seed's systems, from texts to images.

    Attributes:
        sources: of the other images.
    """

    systems: Systems
    sources: Sequence[str]
    seed: int

    @property
    def name(self) -> str:
        """Changes with everything that the measurement depends on."""
        folders = [
            self.systems.folder(self.systems.recipe(system), self.seed).name for system in (*DUALS, FUSION)
        ]
        parts = [list(self.sources), folders, list(self.systems.materials.sizes.pools)]
        return f"pools {hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]}"

    def measured(self) -> dict[str, Any]:
        """Rows of a system and a pool, with recalls of all captions and the time of one."""
        sizes = self.systems.materials.sizes.pools
        others = self._others()
        rows: list[dict[str, Any]] = []
        for system in DUALS:
            self.systems.result(system, self.systems.recipe(system), self.seed)
            learner = cast("DualLearner", self.systems.learner(self.systems.recipe(system), self.seed))
            rows += self._rows(system, learner, others, sizes)
        return {
            "seed": self.seed,
            "real": len(others.pooled_VIF[0]),
            "sources": [Path(source).name for source in self.sources],
            "fusion_pair_ms": self._pair_ms(),
            "rows": rows,
        }

    def _rows(
        self, system: str, learner: DualLearner, others: ImageFeatures, sizes: Sequence[int]
    ) -> Iterator[dict[str, Any]]:
        images_P = self.systems.materials.corpus.images(VAL)
        texts_T, owners_T = self.systems.materials.captions_of(images_P)
        images, texts = self.systems.vectors(learner, images_P, texts_T, views=(0,))
        more = self._vectors(learner, others, max(sizes) - len(images_P))
        pool = {width: np.concatenate([images[width], more[width]]) for width in images}
        encode_ms = self._encode_ms(learner, texts_T)
        for size in (size for size in sizes if size >= len(images_P)):
            items = {width: rows_ND[:size] for width, rows_ND in pool.items()}
            found = _exact(items, texts, owners_T) if len(items) == 1 else _cascade(items, texts, owners_T)
            yield {"system": system, "candidates": size, "encode_ms": encode_ms, **found}

    def _others(self) -> ImageFeatures:
        """The features of all readable images of the other sources, in random order."""
        materials = self.systems.materials
        grids = []
        (materials.work / "features").mkdir(parents=True, exist_ok=True)
        for source in self.sources:
            samples = [sample for sample in open_source(source) if sample.image is not None]
            digest = hashlib.sha256(
                "\n".join([source, *(sample.id for sample in samples)]).encode()
            ).hexdigest()
            stem = materials.work / "features" / f"{materials.backbone.name}-{digest[:12]}"
            grid_ICF = features.stored_grids(
                samples, materials.backbone, stem, mirror=False, say=materials.say
            )
            grids.append(grid_ICF[features.readable(grid_ICF)])
        grid_ICF = np.concatenate(grids)
        order_I = np.random.default_rng(self.seed).permutation(len(grid_ICF))
        return features.as_tensors(
            [grid_ICF[order_I]], materials.backbone, materials.scaling, grid=materials.sizes.grid
        )

    @torch.inference_mode()
    def _vectors(self, learner: DualLearner, others: ImageFeatures, count: int) -> dict[int, FloatArray]:
        """Vectors of so many other images: real ones, then collages of two of them."""
        regions_NRF, pooled_NF = others.regions_VIRF[0], others.pooled_VIF[0]
        random = np.random.default_rng(self.seed)
        parts: list[dict[int, FloatArray]] = []
        for start in range(0, count, _BLOCK):
            rows_B = np.arange(start, min(start + _BLOCK, count))
            real_B = torch.from_numpy(rows_B[rows_B < len(pooled_NF)])
            pairs_B2 = torch.from_numpy(random.integers(0, len(pooled_NF), (len(rows_B) - len(real_B), 2)))
            made_BRF = collage(regions_NRF[pairs_B2[:, 0]], regions_NRF[pairs_B2[:, 1]]).float()
            regions_BRF = torch.cat([regions_NRF[real_B].float(), made_BRF])
            pooled_BF = torch.cat([pooled_NF[real_B], made_BRF.mean(dim=1)])
            boxes_BR7 = others.boxes_R7.expand(len(pooled_BF), -1, -1)
            found = learner.towers.image(regions_BRF, pooled_BF, boxes_BR7)
            parts.append({width: rows_BD.numpy() for width, rows_BD in found.items()})
        return joined(parts)

    @torch.inference_mode()
    def _encode_ms(self, learner: DualLearner, texts_T: IntArray) -> float:
        tokens = [self.systems.tokens(texts_T[row : row + 1]) for row in range(min(50, len(texts_T)))]
        return medians([lambda turn: learner.towers.text(*tokens[turn % len(tokens)])], _EFFORT)[1]

    @torch.inference_mode()
    def _pair_ms(self) -> float:
        """Of UNITER's shape, a caption beside kept regions, 400 at a time: what a full scan multiplies."""
        recipe = self.systems.recipe(FUSION)
        self.systems.result(FUSION, recipe, self.seed)
        model = cast("FusionLearner", self.systems.learner(recipe, self.seed)).model
        images, count = self.systems.materials.images, 400
        rows = torch.arange(min(count, images.regions_VIRF.shape[1]))
        boxes_BR7 = images.boxes_R7.expand(len(rows), -1, -1)
        image_BRS = model.image_states(images.regions_VIRF[0, rows].float(), boxes_BR7)
        tokens_BL, mask_BL = self.systems.tokens(np.zeros(1, np.int64))
        text_P = torch.zeros(len(rows), dtype=torch.int64)
        text = model.text_states(tokens_BL, mask_BL)
        took = medians([lambda turn: model.pairs(text, mask_BL, image_BRS, text_P, rows)], _EFFORT)[1]
        return took / len(rows)


def collage(left_BRF: Tensor, right_BRF: Tensor) -> Tensor:
    """Images (B, R, F) whose left half is that of one image and whose right half is that of another."""
    side = round(left_BRF.shape[1] ** 0.5)
    column_R = torch.arange(left_BRF.shape[1]) % side
    return torch.where((column_R < side // 2)[None, :, None], left_BRF, right_BRF)


def ranks_in(pool_ND: FloatArray, texts_TD: FloatArray, owners_T: IntArray) -> IntArray:
    """The rank (T,) of each caption's image in a pool by the dot product, ties against it."""
    own_T = np.einsum("td,td->t", texts_TD, pool_ND[owners_T])
    in_front_T = np.zeros(len(texts_TD), np.int64)
    for start in range(0, len(pool_ND), _APPEND):
        scores_TB = texts_TD @ pool_ND[start : start + _APPEND].T
        rows_T = np.flatnonzero((owners_T >= start) & (owners_T < start + scores_TB.shape[1]))
        scores_TB[rows_T, owners_T[rows_T] - start] = -np.inf
        in_front_T += (scores_TB >= own_T[:, None]).sum(axis=1)
    return in_front_T + 1


def _exact(items: dict[int, FloatArray], texts: dict[int, FloatArray], owners_T: IntArray) -> dict[str, Any]:
    """LightningDOT: faiss's flat inner product."""
    import faiss

    width = max(items)
    index: Any = faiss.IndexFlatIP(width)
    index.add(np.ascontiguousarray(items[width]))
    faiss.omp_set_num_threads(1)
    queries_TD = np.ascontiguousarray(texts[width])
    took = medians([lambda turn: index.search(queries_TD[turn % len(queries_TD)][None], K)], _EFFORT)[1]
    ranks_T = ranks_in(items[width], texts[width], owners_T)
    return {"recalls": metrics.recalls(ranks_T).as_dict(), "search_ms": took}


def _cascade(
    items: dict[int, FloatArray], texts: dict[int, FloatArray], owners_T: IntArray
) -> dict[str, Any]:
    """HiVLP: the search of the library over a stored index, and the exact scan of the finest level."""
    count = len(items[max(items)])
    plan, queries = Plan(candidates=min(scoring.CANDIDATES, count)), Embeddings(texts)
    single = [queries.take(slice(row, row + 1)) for row in range(len(queries))]
    with (
        tempfile.TemporaryDirectory(prefix="hivlp-pool-") as folder,
        LocalStore.create(
            Path(folder) / "items.hivlp",
            model_name="reproduce",
            model_fingerprint="reproduce",
            widths=tuple(sorted(items)),
            preprocessing={},
        ) as store,
    ):
        for start in range(0, count, _APPEND):
            rows = range(start, min(start + _APPEND, count))
            block = Embeddings({width: rows_ND[rows.start : rows.stop] for width, rows_ND in items.items()})
            store.append([Item(id=str(row), uri=str(row)) for row in rows], block)
        view = store.view()
        took = medians([lambda turn: search.run(plan, single[turn % len(single)], view, K)], _EFFORT)[1]
        results = search.run(plan, queries, view, K)
    found_T = [
        metrics.rank_in_list(result.rows.tolist(), result.scores.tolist(), [int(own)], count)
        for result, own in zip(results, owners_T, strict=True)
    ]
    exact_T = ranks_in(items[max(items)], texts[max(texts)], owners_T)
    return {
        "recalls": metrics.recalls(np.array(found_T)).as_dict(),
        "exact": metrics.recalls(exact_T).as_dict(),
        "search_ms": took,
    }
