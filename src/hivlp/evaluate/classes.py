"""How many pictures of each class are recognised where the captions are labels; it knows only vectors.

C classes, that is different wordings; I pictures, T texts, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hivlp.errors import QueryError
from hivlp.types import FloatArray, IntArray

_BLOCK = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassResult:
    """One class.

    Attributes:
        pictures: how many have this label.
        right: those of them whose best class is one of their labels.
        taken_for: the class that most of the others were taken for; None where all are right.
    """

    name: str
    pictures: int
    right: int
    taken_for: str | None

    @property
    def accuracy(self) -> float:
        """In percent."""
        return 100.0 * self.right / self.pictures

    def as_dict(self) -> dict[str, Any]:
        return {
            "class": self.name,
            "pictures": self.pictures,
            "right": self.right,
            "accuracy": round(self.accuracy, 2),
            "taken_for": self.taken_for,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """All classes, by name.

    Attributes:
        accuracy: share of all pictures whose best class is one of their labels, in percent.
    """

    each: list[ClassResult]
    accuracy: float

    @property
    def mean(self) -> float:
        """The mean accuracy of the classes, in percent: small classes count like large ones."""
        return float(np.mean([one.accuracy for one in self.each]))

    def as_dict(self) -> dict[str, Any]:
        return {
            "accuracy": round(self.accuracy, 2),
            "mean_class_accuracy": round(self.mean, 2),
            "classes": [one.as_dict() for one in self.each],
        }


def class_accuracy(
    image_ID: FloatArray,
    text_TD: FloatArray,
    *,
    picture_of_T: IntArray,
    wording_T: IntArray,
    names: Sequence[str],
) -> Classes:
    """Gives each picture the class whose text is most similar, and counts what is right.

    A picture with several labels is right with any of them. A tie of a right and a wrong class is wrong.

    Args:
        image_ID: unit rows of the pictures.
        text_TD: unit rows of the captions.
        picture_of_T: the picture of each caption.
        wording_T: equal numbers for equal captions, from 0 on.
        names: the captions.

    Raises:
        QueryError: there are as many classes as pictures, or more, so the captions are no labels.
    """
    _, first_C = np.unique(wording_T, return_index=True)
    if len(first_C) >= len(image_ID):
        raise QueryError(
            f"{len(image_ID):,} pictures have {len(first_C):,} different captions, so these are no labels; "
            "leave --classes out"
        )
    has_IC = np.zeros((len(image_ID), len(first_C)), dtype=np.bool_)
    has_IC[picture_of_T, wording_T] = True
    right_I, wrong_I = _answers(image_ID, text_TD[first_C], has_IC)
    found: list[ClassResult] = []
    for number, first in enumerate(first_C):
        of_class_I = has_IC[:, number]
        mistaken = np.bincount(wrong_I[of_class_I & ~right_I], minlength=1)
        taken_for = names[int(first_C[mistaken.argmax()])] if mistaken.sum() else None
        right = int((of_class_I & right_I).sum())
        found.append(
            ClassResult(
                name=names[int(first)], pictures=int(of_class_I.sum()), right=right, taken_for=taken_for
            )
        )
    found.sort(key=lambda one: one.name)
    return Classes(each=found, accuracy=100.0 * float(right_I.mean()))


def _answers(
    image_ID: FloatArray, class_CD: FloatArray, has_IC: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], IntArray]:
    """Whether the best class of each picture is one of its own, and the best one that is not."""
    right: list[NDArray[np.bool_]] = []
    wrong: list[IntArray] = []
    for start in range(0, len(image_ID), _BLOCK):
        rows = slice(start, start + _BLOCK)
        score_BC: FloatArray = np.inner(image_ID[rows], class_CD)
        own_B = np.where(has_IC[rows], score_BC, -np.inf).max(axis=1)
        other_BC = np.where(has_IC[rows], -np.inf, score_BC)
        right.append(own_B > other_BC.max(axis=1))
        wrong.append(other_BC.argmax(axis=1))
    return np.concatenate(right), np.concatenate(wrong)
