"""The floor: a linear canonical correlation analysis of pooled features and TF-IDF words, in closed form.

N pairs of a picture and a caption, F features, V words, D canonical directions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hivlp.types import FloatArray, IntArray

IMAGE_RIDGE, TEXT_RIDGE, POWER = 0.3, 1e-4, 1.0
"""What is added to the diagonal of either side's covariance, and the power of a direction's correlation that
weighs it; chosen on pictures of neither train nor val."""


@dataclass(frozen=True)
class Floor:
    """Both sides' linear maps into the canonical space."""

    image_FD: FloatArray
    text_VD: FloatArray
    image_mean_F: FloatArray
    text_mean_V: FloatArray
    correlation_D: FloatArray

    def images(self, pooled_IF: FloatArray) -> FloatArray:
        """Unit vectors of pictures."""
        return _unit((pooled_IF - self.image_mean_F) @ self.image_FD)

    def texts(self, words_TV: FloatArray) -> FloatArray:
        """Unit vectors of captions."""
        return _unit((words_TV - self.text_mean_V) @ self.text_VD)


def fit(
    image_NF: FloatArray,
    text_NV: FloatArray,
    *,
    components: int,
    ridges: tuple[float, float] = (IMAGE_RIDGE, TEXT_RIDGE),
    power: float = POWER,
) -> Floor:
    """Regularised CCA: the directions of both sides whose projections correlate most.

    With Cholesky factors L of the two covariances C + ridge·I, the singular vectors of Lx⁻¹ Cxy Ly⁻ᵀ are the
    directions in whitened coordinates and its singular values the correlations (Hotelling 1936; ridge after
    Vinod 1976). A direction counts by its correlation to some power.
    """
    image_mean_F, text_mean_V = image_NF.mean(axis=0), text_NV.mean(axis=0)
    x_NF, y_NV = image_NF - image_mean_F, text_NV - text_mean_V
    x_FF = _factor(x_NF, ridges[0])
    y_VV = _factor(y_NV, ridges[1])
    cross_FV = (x_NF.T @ y_NV / len(x_NF)).astype(np.float64)
    whitened_FV = np.linalg.solve(y_VV, np.linalg.solve(x_FF, cross_FV).T).T
    left_FK, correlation_K, right_KV = np.linalg.svd(whitened_FV, full_matrices=False)
    correlation_D = np.minimum(correlation_K[:components], 1.0)
    weight_D = correlation_D**power
    image_FD = np.linalg.solve(x_FF.T, left_FK[:, :components]) * weight_D
    text_VD = np.linalg.solve(y_VV.T, right_KV[:components].T) * weight_D
    return Floor(
        image_FD.astype(np.float32),
        text_VD.astype(np.float32),
        image_mean_F,
        text_mean_V,
        correlation_D.astype(np.float32),
    )


def tf_idf(tokens_TL: IntArray, words_TL: FloatArray, idf_V: FloatArray) -> FloatArray:
    """Unit rows (T, V) of counts times rarity; ``words_TL`` is 1 where a token is a word."""
    counts_TV = np.zeros((len(tokens_TL), len(idf_V)), np.float32)
    rows_TL = np.broadcast_to(np.arange(len(tokens_TL))[:, None], tokens_TL.shape)
    np.add.at(counts_TV, (rows_TL, tokens_TL), words_TL)
    return _unit(counts_TV * idf_V)


def _factor(rows_NF: FloatArray, ridge: float) -> NDArray[np.float64]:
    covariance_FF = (rows_NF.T @ rows_NF / len(rows_NF)).astype(np.float64)
    return np.linalg.cholesky(covariance_FF + ridge * np.eye(len(covariance_FF)))


def _unit(rows_ND: NDArray[Any]) -> FloatArray:
    lengths_N1 = np.linalg.norm(rows_ND, axis=1, keepdims=True)
    return (rows_ND / np.maximum(lengths_N1, 1e-9)).astype(np.float32)
