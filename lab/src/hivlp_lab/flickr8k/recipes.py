"""How every compared system is built and trained: the one place for shapes, rates and budgets.

Which numbers are the papers' and which are ours is said in `docs/results.md`; nothing here is measured.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from hivlp_lab.baselines.sizes import MeterSize, PairSize, Stack

Kind = Literal["regions", "compact", "uniter", "meter"]


@dataclass(frozen=True, kw_only=True)
class SystemRecipe:
    """One system.

    Attributes:
        kind: ``regions`` are LightningDOT's two towers, ``compact`` pooled features and a bag of words,
            ``uniter`` and ``meter`` fusion models.
        widths: of the levels, narrowest first; fusion models have none.
        levels: how they are made.
        cosine: unit vectors and a learned temperature a level; False compares raw dot products, as
            LightningDOT does.
        consistency: weight of KL(fine || level).
        vlm: weight of masked words; 0 does without them.
        lrm: weight of masked regions.
        binary: weight of a level of signs of the finest vector.
        distil: weight of what the ensemble ``teachers`` says, of the similarities in a batch.
        listen: weight of what the fusion model ``fusion_teacher`` says of a caption's candidates.
        fusion_teacher: name of a system.
        teachers: pairs of a system and a seed.
        batch: images a step.
        captions: of each image in a step.
        epochs: passes over the training images; 0 spends the budget of multiply-adds instead.
        dropout: of the compact tower's features.
        word_dropout: share of the words of a caption that are masked.
        scale: inverse temperature at the start.
        given_rate: share of the learning rate for weights that begin as the linear floor.
    """

    kind: Kind
    widths: tuple[int, ...] = ()
    levels: str = "nested"
    cosine: bool = True
    consistency: float = 0.0
    vlm: float = 0.0
    lrm: float = 0.0
    binary: float = 0.0
    distil: float = 0.0
    listen: float = 0.0
    teachers: tuple[tuple[str, int], ...] = ()
    fusion_teacher: str = ""
    batch: int = 128
    captions: int = 1
    epochs: float = 0.0
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: int = 50
    dropout: float = 0.5
    word_dropout: float = 0.1
    scale: float = 15.0
    given_rate: float = 1.0

    @property
    def is_fusion(self) -> bool:
        return self.kind in ("uniter", "meter")

    def as_dict(self) -> dict[str, Any]:
        return plain(self)


_OF_MEASURING = ("evaluations", "every", "deep", "pools")
_STACK = Stack(layers=2, width=192, heads=4, inner=768)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What all systems share.

    Attributes:
        grid: regions along a side; the backbone's grid is averaged to so many.
        vocabulary: word pieces, learned from the training captions.
        max_tokens: of a caption.
        stack: of every transformer: one stream, or each tower; METER's fusion has one such stack a side and
            its text tower one more layer-for-layer.
        projection: widest vector of LightningDOT's towers.
        hidden: hidden units of the compact image tower.
        budget: multiply-adds of a training, forward and backward, of systems without ``epochs``.
        evaluations: how often a run of a dual encoder is measured on val, for its curve.
        every: one image of so many is in the small pool that fusion models score in full.
        deep: candidates that a fusion model re-ranks at most.
        components: directions of the linear floor as a system.
        directions: those that are worked out, for what begins at them.
        pools: images that captions are searched in.
    """

    grid: int = 4
    vocabulary: int = 6_000
    max_tokens: int = 24
    stack: Stack = _STACK
    projection: int = 256
    hidden: int = 1024
    budget: float = 6.5e12
    evaluations: int = 6
    every: int = 8
    deep: int = 50
    components: int = 256
    directions: int = 512
    pools: tuple[int, ...] = (1_000, 5_000, 31_014, 123_287)

    @property
    def of_training(self) -> dict[str, Any]:
        """Those that a training depends on; the others are of measuring."""
        return {name: value for name, value in plain(self).items() if name not in _OF_MEASURING}

    def pair(self, features: int, vocabulary: int) -> PairSize:
        """The shape of UNITER and of LightningDOT's towers."""
        return PairSize(
            stack=self.stack,
            vocabulary=vocabulary,
            max_tokens=self.max_tokens,
            region_features=features,
            projection=self.projection,
        )

    def meter(self, features: int, vocabulary: int) -> MeterSize:
        """The shape of METER over regions."""
        return MeterSize(
            text=self.stack,
            fusion=self.stack,
            image=None,
            vocabulary=vocabulary,
            max_tokens=self.max_tokens,
            region_features=features,
        )


_DOT = SystemRecipe(
    kind="regions",
    widths=(256,),
    cosine=False,
    vlm=0.5,
    lrm=0.5,
    captions=2,
    batch=64,
    learning_rate=4e-4,
)
_COMPACT = SystemRecipe(
    kind="compact",
    widths=(32, 64, 128, 512),
    batch=384,
    captions=5,
    epochs=15,
    given_rate=0.3,
)

SYSTEMS: dict[str, SystemRecipe] = {
    "lightningdot": _DOT,
    "uniter": SystemRecipe(kind="uniter", batch=64, learning_rate=4e-4),
    "meter": SystemRecipe(kind="meter", batch=64, learning_rate=4e-4),
    "hivlp": replace(_DOT, widths=(32, 64, 128, 256), cosine=True),
    "hivlp-compact": _COMPACT,
    "hivlp-listening": replace(_COMPACT, listen=1.0, fusion_teacher="uniter"),
    "hivlp-distilled": replace(
        _COMPACT, distil=2.0, teachers=(("hivlp-compact", 0), ("hivlp-compact", 1), ("hivlp-compact", 2))
    ),
}
"""By name. What a system's teachers are must stand before it."""

FULL = Sizes()
SMALL = Sizes(
    vocabulary=200,
    max_tokens=12,
    stack=Stack(layers=1, width=16, heads=2, inner=16),
    projection=32,
    hidden=16,
    budget=2e7,
    evaluations=2,
    every=2,
    deep=4,
    components=8,
    directions=32,
    pools=(10, 20, 60),
)
"""Small enough to try a run out in seconds; a result says that it was made with them."""


def plain(record: Any) -> dict[str, Any]:
    """A dataclass as JSON holds it: with lists for tuples."""
    return json.loads(json.dumps(asdict(record)))


def small(recipe: SystemRecipe) -> SystemRecipe:
    """The same with widths, batches and epochs for a few drawn scenes."""
    widths = {1: (32,), 4: (4, 8, 16, 32)}.get(len(recipe.widths), tuple(sorted({4, 32})))
    return replace(
        recipe,
        widths=() if recipe.is_fusion else widths,
        batch=8,
        captions=min(recipe.captions, 2),
        epochs=2 if recipe.epochs else 0,
        warmup=2,
    )


def ablated(**changes: Any) -> SystemRecipe:
    """The compact system with some things changed."""
    return replace(_COMPACT, **changes)
