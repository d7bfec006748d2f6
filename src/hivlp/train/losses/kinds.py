"""Names of things, learned from a classifier: the row of a kind is a picture of that kind.

A classifier names a kind by the cosine of a picture's features and the kind's row. So a row, in the place of
features, is a picture that shows the kind and nothing else, and a thousand names are a thousand pairs more
(DeViSE, Frome et al. 2013). A kind has all names that WordNet gives it, and those of what it is a kind of:
whoever asks for a dog means dachshunds too.

K kinds, F features, B kinds of a step, T their names, W wordings.
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
COUNT = 200  # kinds of a step
WIDER = 40  # of them are also asked for by what they are a kind of
FIRST = 0.5  # chance of a kind's first name, which is the common one
NOISE = 0.3  # how much of a real picture is in the picture of a kind


class Kinds(nn.Module):
    """The pictures of the kinds of a classifier, and their names.

    Args:
        rows_KF: the classifier's rows, for features as the tower gives them.
    """

    rows_KF: Tensor

    def __init__(self, rows_KF: Tensor, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.register_buffer("rows_KF", unit(rows_KF), persistent=False)
        self._names = names()
        self._tokenizer = tokenizer
        self._wordings = [frozenset((*own, *wider)) for own, wider in self._names]

    @torch.no_grad()
    def standardise(self, tower: ImageTower) -> None:
        """Brings the rows to where features lie behind the norm of a tower, with a deviation of 1."""
        norm = next(part for part in tower.behind if isinstance(part, _BatchNorm))
        assert norm.running_var is not None
        classified = self.rows_KF.shape[1]  # the first features; a row says nothing of the others
        rows_KC = self.rows_KF / norm.running_var[:classified].to(self.rows_KF).sqrt()
        self.rows_KF = F.pad(rows_KC / rows_KC.std(), (0, tower.width - classified))

    def forward(self, model: DualEncoder, real_BF: Tensor) -> Tensor:
        """The retrieval loss of some kinds and their names, over all levels.

        Args:
            real_BF: features of photographs, behind the tower's norm: kinds lie around their mean, and
                something else is in every picture.
        """
        kind_B = torch.randperm(len(self._names))[:COUNT]
        other_B = torch.randint(len(real_BF), (len(kind_B),))
        mean_F = real_BF.detach().mean(dim=0)
        another_BF = real_BF[other_B].detach() - mean_F
        image_BF = self.rows_KF[kind_B.to(real_BF.device)] + mean_F + NOISE * another_BF
        image_BF = model.image_tower.behind[-1](image_BF)  # the dropout
        name_T, text_T = self._asked(kind_B.tolist())
        tokens, mask = self._tokenizer.encode(text_T)
        put = [torch.from_numpy(array).to(real_BF.device) for array in (tokens, mask)]
        positive_BT = torch.tensor(
            [[name in self._wordings[kind] for name in name_T] for kind in kind_B.tolist()],
            device=real_BF.device,
        )
        terms = hierarchical(
            model.image_levels(image_BF),
            model.text_levels(model.text_tower(*put)),
            positive_BT,
            model.logit_scales,
        )
        return torch.stack(list(terms.values())).sum()

    def _asked(self, kinds: Sequence[int]) -> tuple[list[str], list[str]]:
        """Names that are asked for, and how: one of each kind, and what some of them are kinds of."""
        own = [self._names[kind][0] for kind in kinds]
        asked = [names[0] if torch.rand(()) < FIRST else _one(names) for names in own]
        wider = (self._names[kind][1] for kind in kinds)
        asked += [_one(names) for names in wider if names][:WIDER]
        return asked, [_one(TEMPLATES).format(name) for name in asked]


def names() -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The names of each kind of ImageNet's thousand, in its order, and of what it is a kind of."""
    table = (files("hivlp.train") / "kinds.tsv").read_text(encoding="utf-8").splitlines()[1:]
    found = list[tuple[tuple[str, ...], tuple[str, ...]]]()
    for line in table:
        own, _, wider = line.partition("\t")
        found.append((tuple(own.split("|")), tuple(filter(None, wider.split("|")))))
    return found


def _one(of: Sequence[str]) -> str:
    return of[int(torch.randint(len(of), ()))]
