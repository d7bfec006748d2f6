"""Retrieval of ImageNet's classes by their names, learned from the classifier of a pretrained tower.

A classifier scores a class by the cosine of an image's features and the row of the class. So a row can stand
for the features of an image that shows the class and nothing else, and a thousand names become a thousand
more pairs (DeViSE, Frome et al. 2013). A class has all names that WordNet gives it, and those of its
hypernyms: a query for a dog means dachshunds too.

K classes, F features, C features that the classifier reads, B classes of a step, T their names.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from hivlp.data.tokenizer import Tokenizer
from hivlp.model.dual import DualEncoder
from hivlp.model.levels import unit
from hivlp.model.towers import ImageTower
from hivlp.objectives.retrieval import hierarchical

TEMPLATES = (
    "{}",
    "a {}",
    "the {}",
    "a photo of a {}",
    "a picture of a {}",
    "there is a {}",
    "a close-up of a {}",
)
COUNT = 200  # classes of a step
HYPERNYMS = 40  # of them that also have the name of a hypernym
FIRST = 0.5  # probability of the first name of a class, which is the common one
NOISE = 0.3  # share of a real image's features that is added to those of a class


class ClassNames(nn.Module):
    """The retrieval loss of a classifier's rows and the names of their classes.

    Args:
        rows_KF: the rows of the classifier, for features before the norm of the tower.
    """

    rows_KF: Tensor

    def __init__(self, rows_KF: Tensor, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.register_buffer("rows_KF", unit(rows_KF), persistent=False)
        self._names = class_names()
        self._tokenizer = tokenizer
        self._positives = [frozenset((*own, *hypernyms)) for own, hypernyms in self._names]

    @torch.no_grad()
    def standardise(self, tower: ImageTower) -> None:
        """Scales the rows as the norm of a tower scales features, to a deviation of 1."""
        norm = next(part for part in tower.behind if isinstance(part, _BatchNorm))
        assert norm.running_var is not None
        classified = self.rows_KF.shape[1]  # the classifier reads the first features only
        rows_KC = self.rows_KF / norm.running_var[:classified].to(self.rows_KF).sqrt()
        self.rows_KF = F.pad(rows_KC / rows_KC.std(), (0, tower.width - classified))

    def forward(self, model: DualEncoder, real_BF: Tensor) -> Tensor:
        """The retrieval loss of some classes and their names, over all levels.

        Args:
            real_BF: features of photographs, behind the tower's norm: classes are placed around their
                mean, with a share of one of them as background.
        """
        class_B = torch.randperm(len(self._names))[:COUNT]
        other_B = torch.randint(len(real_BF), (len(class_B),))
        mean_F = real_BF.detach().mean(dim=0)
        background_BF = real_BF[other_B].detach() - mean_F
        image_BF = self.rows_KF[class_B.to(real_BF.device)] + mean_F + NOISE * background_BF
        image_BF = model.image_tower.behind[-1](image_BF)  # dropout
        name_T, text_T = self._drawn_names(class_B.tolist())
        tokens, mask = self._tokenizer.encode(text_T)
        put = [torch.from_numpy(array).to(real_BF.device) for array in (tokens, mask)]
        positive_BT = torch.tensor(
            [[name in self._positives[number] for name in name_T] for number in class_B.tolist()],
            device=real_BF.device,
        )
        terms = hierarchical(
            model.image_levels(image_BF),
            model.text_levels(model.text_tower(*put)),
            positive_BT,
            model.logit_scales,
        )
        return torch.stack(list(terms.values())).sum()

    def _drawn_names(self, classes: Sequence[int]) -> tuple[list[str], list[str]]:
        """Names and the texts made of them: one name of each class, and a hypernym of some classes."""
        own = [self._names[number][0] for number in classes]
        drawn = [names[0] if torch.rand(()) < FIRST else _one(names) for names in own]
        hypernyms = (self._names[number][1] for number in classes)
        drawn += [_one(names) for names in hypernyms if names][:HYPERNYMS]
        return drawn, [_one(TEMPLATES).format(name) for name in drawn]


def class_names() -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The names of each of ImageNet's thousand classes, in its order, and those of its hypernyms."""
    table = (files("hivlp.train.losses") / "kinds.tsv").read_text(encoding="utf-8").splitlines()[1:]
    found = list[tuple[tuple[str, ...], tuple[str, ...]]]()
    for line in table:
        own, _, hypernyms = line.partition("\t")
        found.append((tuple(own.split("|")), tuple(filter(None, hypernyms.split("|")))))
    return found


def _one(of: Sequence[str]) -> str:
    return of[int(torch.randint(len(of), ()))]
