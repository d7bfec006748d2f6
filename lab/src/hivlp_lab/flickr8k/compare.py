"""``hivlp reproduce flickr8k``: every system trained and measured, what is kept is not done again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

import hivlp
from hivlp.errors import QueryError
from hivlp.messages import suggestion
from hivlp.train.starts import cca
from hivlp_lab.bench import machine
from hivlp_lab.flickr8k import scoring
from hivlp_lab.flickr8k.ablations import Ablations
from hivlp_lab.flickr8k.claims import PAPER, targets
from hivlp_lab.flickr8k.corpus import VAL
from hivlp_lab.flickr8k.materials import Materials
from hivlp_lab.flickr8k.pools import Pools
from hivlp_lab.flickr8k.recipes import FULL, SMALL, SYSTEMS, Sizes, plain
from hivlp_lab.flickr8k.reranking import Duo
from hivlp_lab.flickr8k.systems import VERSION, Systems
from hivlp_lab.speed.ledger import RETRIES, Ledger

RERANKED = ("hivlp-compact", "hivlp-distilled")
RERANKERS = ("uniter", "meter")
COSTLY = (*RERANKERS, "hivlp-listening")
"""What needs the scores of a fusion model, which take ten times what all other systems take together."""
_PACKAGES = ("torch", "transformers", "ai-edge-litert")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A run.

    Attributes:
        data: images with captions and the splits train and val.
        backbone: the quantised MobileNetV2; not needed where small.
        work: where features, weights and results are kept, so that a stopped run goes on.
        fusion_seeds: so many of the seeds, the first, train fusion models and re-rank; None: all.
        systems: which are trained, by name; their teachers come of themselves.
        distractors: sources of other images that the pools are grown with; none leaves pools out.
        ablate: whether the ablations are run.
        small: tiny systems on a few images, to try a run out.
    """

    data: str
    backbone: Path | None
    work: Path
    seeds: Sequence[int] = (0, 1, 2)
    fusion_seeds: int | None = None
    systems: Sequence[str] = tuple(SYSTEMS)
    distractors: Sequence[str] = ()
    ablate: bool = False
    small: bool = False
    say: Callable[[str], None] = lambda message: None

    def __post_init__(self) -> None:
        for name in self.systems:
            if name not in SYSTEMS:
                raise QueryError(f"there is no system {name!r}: {suggestion(name, list(SYSTEMS))}")
        if self.backbone is None and not self.small:
            raise QueryError(
                "the comparison needs features of a frozen backbone; name the file of the quantised "
                "MobileNetV2 with --backbone, or try a run out with --small"
            )
        if not self.seeds:
            raise QueryError("no seed is given, so nothing would be trained; try --seeds 0")
        if self.fusion_seeds is not None and self.fusion_seeds < 1:
            raise QueryError(
                f"--fusion-seeds {self.fusion_seeds} would train no fusion model; give 1 or more, or leave "
                "fusion models out by --systems"
            )

    def run(self) -> dict[str, Any]:
        """Trains and measures what is not kept yet, and returns the document, JSON-compatible."""
        floor = self.ledger.get(self._named(f"floor {cca.SETTINGS} {self._sizes.components}"), self._floor)
        found = {name: dict[str, Any]() for name in SYSTEMS if name in self.systems}
        for seed in self.seeds:
            for name in found:
                if name in COSTLY and seed not in self._costly_seeds:
                    continue
                found[name][str(seed)] = self.all.result(name, self.all.recipe(name), seed)
        reranked = self._reranked(found)
        pools = self._pools() if self.distractors else None
        ablations = Ablations(systems=self.all, seeds=self.seeds).run() if self.ablate else None
        corpus = self.materials.corpus
        document = {
            "table": "flickr8k",
            "small": self.small,
            "measured_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "environment": environment(),
            "hivlp_version": hivlp.__version__,
            "data": {
                "pictures": {
                    split: int((corpus.split_I == split).sum()) for split in np.unique(corpus.split_I)
                },
                "captions": len(corpus.captions),
                "backbone": self.materials.backbone.name,
                "vocabulary": corpus.tokenizer.vocabulary_size,
            },
            "seeds": list(self.seeds),
            "fusion_seeds": list(self._costly_seeds),
            "sizes": plain(self._sizes),
            "recipes": {name: self.all.recipe(name).as_dict() for name in found},
            "floor": floor,
            "systems": found,
            "reranked": reranked,
            "pools": pools,
            "ablations": ablations,
            "paper": PAPER,
        }
        return {**document, "targets": targets(document)}

    def _reranked(self, found: dict[str, Any]) -> dict[str, Any]:
        """By ``dual+fusion``, then by seed."""
        pairs = [
            (dual, fusion) for dual in RERANKED for fusion in RERANKERS if {dual, fusion} <= found.keys()
        ]
        measured: dict[str, Any] = {}
        for dual, fusion in pairs:
            for seed in self._costly_seeds:
                duo = Duo(
                    systems=self.all, dual=self.all.recipe(dual), fusion=self.all.recipe(fusion), seed=seed
                )
                folders = [self.all.folder(recipe, seed).name for recipe in (duo.dual, duo.fusion)]
                measured_at = f"{self._sizes.deep}, 1 of {self._sizes.every}"
                name = f"{dual}+{fusion}, seed {seed} ({', '.join(folders)}, {measured_at})"
                measured.setdefault(f"{dual}+{fusion}", {})[str(seed)] = self.ledger.get(name, duo.measured)
        return measured

    def _pools(self) -> dict[str, Any]:
        pools = Pools(systems=self.all, sources=self.distractors, seed=self.seeds[0])
        return self.ledger.get(self._named(pools.name), pools.measured, retries=RETRIES)

    def _floor(self) -> dict[str, Any]:
        corpus = self.materials.corpus
        images_ID, captions_TD = (rows_ND.numpy() for rows_ND in self.materials.floor_vectors)
        found: dict[str, Any] = {}
        for name, images_P in (("", corpus.images(VAL)), ("small_pool", self.materials.small_pool())):
            texts_T, owners_T = self.materials.captions_of(images_P)
            reached = scoring.of_scores(captions_TD[texts_T] @ images_ID[images_P].T, owners_T).as_dict()
            found |= {name: reached} if name else reached
        return found

    @property
    def _costly_seeds(self) -> Sequence[int]:
        return self.seeds[: self.fusion_seeds]

    def _named(self, what: str) -> str:
        return f"{what} (v{VERSION}, {self.materials.fingerprint})"

    @property
    def _sizes(self) -> Sizes:
        return SMALL if self.small else FULL

    @cached_property
    def materials(self) -> Materials:
        """What all systems are given."""
        return Materials(
            data=self.data,
            path=None if self.small else self.backbone,
            work=self.work / "flickr8k",
            sizes=self._sizes,
            say=self.say,
        )

    @cached_property
    def all(self) -> Systems:
        """Every system, kept in the work folder."""
        return Systems(
            materials=self.materials,
            tiny=self.small,
            work=self.work / "flickr8k",
            ledger=self.ledger,
            say=self.say,
        )

    @cached_property
    def ledger(self) -> Ledger:
        """What was measured before."""
        return Ledger(self.work / "flickr8k" / ("small.jsonl" if self.small else "kept.jsonl"), self.say)


def environment() -> dict[str, Any]:
    """The machine and the versions that the numbers come from."""
    found = machine.environment()
    found["packages"] = {
        **{name: found["packages"][name] for name in ("numpy", "faiss-cpu")},
        **{name: machine.installed(name) for name in _PACKAGES},
    }
    found["threads"] = torch.get_num_threads()
    return found
