"""Every objective with inputs of any size, in one form, so that one suite can ask all of them the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from hivlp.objectives.binary import binary
from hivlp.objectives.distill import from_embeddings, from_scores
from hivlp.objectives.dynamic import dynamic_distillation
from hivlp.objectives.masked import masked_regions, masked_words
from hivlp.objectives.matching import matching
from hivlp.objectives.retrieval import consistency, contrastive, hierarchical, pairwise

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Case:
    """One objective.

    Attributes:
        loss: of learned tensors and of led ones; the first dimension of each is the batch.
        learned: those that a gradient should reach, by name.
        led: those that none may reach: targets and teachers. Numbers of words and bools are led too.
        smooth: whether finite differences can be taken.
    """

    loss: Callable[[Tensors, Tensors], Tensor]
    learned: Callable[[int], dict[str, Tensor]]
    led: Callable[[int], dict[str, Tensor]] = lambda size: {}
    smooth: bool = True


def normal(size: int, *shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, *shape, generator=generator, dtype=torch.float64)


def levels(rows: Tensor) -> dict[int, Tensor]:
    return {width: F.normalize(rows[:, :width], dim=-1) for width in (3, 6)}


def both(size: int) -> dict[str, Tensor]:
    return {"image": normal(size, 6), "text": normal(size, 6, seed=1)}


def own(x: Tensors) -> Tensor:
    """Picture and text of one row belong together."""
    return torch.eye(len(x["image"]), dtype=torch.bool)


def total(terms: Mapping[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values())).sum()


def hrl(x: Tensors, biases: dict[int, Tensor] | None = None) -> Tensor:
    scales = {3: torch.tensor(4.0), 6: torch.tensor(7.0)}
    return total(hierarchical(levels(x["image"]), levels(x["text"]), own(x), scales, biases=biases))


def signs(x: Tensors, led: Tensors) -> Tensor:
    return total(binary(x["image"], x["text"], own(x), torch.tensor(5.0), balance=0.3))


def teach(x: Tensors, led: Tensors) -> Tensor:
    teachers = [(led["image"], led["text"]), (led["image"][:, :3], led["text"][:, :3])]
    return from_embeddings(x["image"], x["text"], torch.tensor(3.0), teachers, teacher_scale=5.0)


def words(x: Tensors, led: Tensors) -> Tensor:
    return masked_words(x["states"] + x["global"], led["words"])


CASES: dict[str, Case] = {
    "contrastive": Case(lambda x, led: contrastive(x["image"] @ x["text"].T, own(x)), both),
    "pairwise": Case(lambda x, led: pairwise(x["image"] @ x["text"].T, own(x)), both),
    "hierarchical, softmax": Case(lambda x, led: hrl(x), both),
    "hierarchical, sigmoid": Case(
        lambda x, led: hrl(x, {3: torch.tensor(-2.0), 6: torch.tensor(-1.0)}), both
    ),
    "consistency": Case(
        lambda x, led: consistency(x["image"] @ x["text"].T, led["image"] @ led["text"].T),
        both,
        lambda size: {"image": normal(size, 4, seed=2), "text": normal(size, 4, seed=3)},
    ),
    "binary": Case(signs, both, smooth=False),
    "from embeddings": Case(
        teach, both, lambda size: {"image": normal(size, 5, seed=2), "text": normal(size, 5, seed=3)}
    ),
    "from scores": Case(
        lambda x, led: from_scores(x["logits"], led["scores"], temperature=0.5, known_QK=led["known"]),
        lambda size: {"logits": normal(size, 4)},
        lambda size: {"scores": normal(size, 4, seed=1), "known": normal(size, 4, seed=2) > -0.5},
    ),
    "dynamic": Case(
        lambda x, led: total(dynamic_distillation(x["student"], led["teacher"])),
        lambda size: {"student": normal(size, 4)},
        lambda size: {"teacher": normal(size, 4, seed=1)},
    ),
    "masked words": Case(
        words,
        lambda size: {"states": normal(size, 7), "global": normal(size, 7, seed=1)},
        lambda size: {"words": torch.arange(size) % 7},
    ),
    "masked regions": Case(
        lambda x, led: masked_regions(x["states"] + x["global"], led["target"]),
        lambda size: {"states": normal(size, 7), "global": normal(size, 7, seed=1)},
        lambda size: {"target": normal(size, 7, seed=2)},
    ),
    "matching": Case(
        lambda x, led: matching(x["scores"], led["match"]),
        lambda size: {"scores": normal(size)},
        lambda size: {"match": torch.arange(size) % 3 == 0},
    ),
}
