"""The floor: a linear canonical correlation analysis of pooled features and TF-IDF words, in closed form.

N pairs of an image and a caption, F features, V words, D canonical directions, L tokens of a caption.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hivlp.model.levels import unit

SETTINGS = IMAGE_RIDGE, TEXT_RIDGE, POWER = 0.3, 5e-4, 1.0
"""What is added to the diagonal of either side's covariance, and the power of a direction's correlation that
weighs it; chosen on images outside train and val."""


@dataclass(frozen=True)
class Floor:
    """Both sides' linear maps into the canonical space, and the correlation of each direction there."""

    image_FD: Tensor
    text_VD: Tensor
    image_mean_F: Tensor
    text_mean_V: Tensor
    correlation_D: Tensor

    def first(self, count: int) -> Floor:
        """The floor of the directions that correlate most."""
        return replace(
            self,
            image_FD=self.image_FD[:, :count],
            text_VD=self.text_VD[:, :count],
            correlation_D=self.correlation_D[:count],
        )

    def images(self, pooled_IF: Tensor) -> Tensor:
        """Unit vectors of images."""
        return unit((pooled_IF - self.image_mean_F) @ self.image_FD)

    def texts(self, words_TV: Tensor) -> Tensor:
        """Unit vectors of captions, of sparse or dense rows."""
        return unit(words_TV @ self.text_VD - self.text_mean_V @ self.text_VD)


def fit(
    image_NF: Tensor,
    words_NV: Tensor,
    *,
    components: int,
    ridges: tuple[float, float] = (IMAGE_RIDGE, TEXT_RIDGE),
    power: float = POWER,
    given_NG: Tensor | None = None,
) -> Floor:
    """Regularised CCA: the directions of both sides whose projections correlate most.

    With Cholesky factors L of the two covariances C + ridge·I, the singular vectors of Lx⁻¹ Cxy Ly⁻ᵀ are the
    directions in whitened coordinates and its singular values the correlations (Hotelling 1936; ridge after
    Vinod 1976). A direction counts by its correlation to some power.

    Args:
        words_NV: sparse; it is never centred as a whole, only in the covariances.
        given_NG: dense columns of the texts that stand before the words in what is returned.
    """
    count = len(image_NF)
    image_mean_F = image_NF.mean(dim=0)
    x_NF = image_NF - image_mean_F
    words_VN = words_NV.T.coalesce()
    text_mean_V = torch.sparse.sum(words_VN, dim=1).to_dense() / count
    moments_VV, cross_VF = _moments(words_VN, words_NV) / count, words_VN @ x_NF / count
    if given_NG is not None:
        given_GV = (words_VN @ given_NG / count).T
        given_GG = given_NG.T @ given_NG / count
        moments_VV = torch.cat([torch.cat([given_GG, given_GV], 1), torch.cat([given_GV.T, moments_VV], 1)])
        cross_VF = torch.cat([given_NG.T @ x_NF / count, cross_VF])
        text_mean_V = torch.cat([given_NG.mean(dim=0), text_mean_V])
    text_VV = moments_VV - torch.outer(text_mean_V, text_mean_V)
    x_FF, y_VV = _factor(x_NF.T @ x_NF / count, ridges[0]), _factor(text_VV, ridges[1])
    half_VF = torch.linalg.solve_triangular(y_VV, cross_VF.double(), upper=False)
    whitened_FV = torch.linalg.solve_triangular(x_FF, half_VF.T, upper=False)
    squares_F, left_FF = torch.linalg.eigh(whitened_FV @ whitened_FV.T)  # far smaller than the matrix itself
    chosen = torch.arange(len(squares_F)).flip(0)[: min(components, len(text_mean_V))]
    correlation_D = squares_F[chosen].clamp(min=1e-12).sqrt()
    left_FD = left_FF[:, chosen]
    right_VD = whitened_FV.T @ left_FD / correlation_D
    weight_D = correlation_D**power
    return Floor(
        (torch.linalg.solve_triangular(x_FF.T, left_FD, upper=True) * weight_D).float(),
        (torch.linalg.solve_triangular(y_VV.T, right_VD, upper=True) * weight_D).float(),
        image_mean_F,
        text_mean_V,
        correlation_D.float(),
    )


def tf_idf(tokens_TL: Tensor, words_TL: Tensor, idf_V: Tensor) -> Tensor:
    """Sparse unit rows (T, V) of counts times rarity; ``words_TL`` is true where a token is a word."""
    rows_TL = torch.arange(len(tokens_TL))[:, None].expand_as(tokens_TL)
    places_2P = torch.stack([rows_TL[words_TL], tokens_TL[words_TL]])
    shape = (len(tokens_TL), len(idf_V))
    summed_TV = torch.sparse_coo_tensor(
        places_2P, idf_V[places_2P[1]], shape, check_invariants=True
    ).coalesce()
    places_2P, values_P = summed_TV.indices(), summed_TV.values()
    squares_T = torch.zeros(shape[0]).index_add_(0, places_2P[0], values_P.square())
    length_P = squares_T.sqrt().clamp(min=1e-9)[places_2P[0]]
    return torch.sparse_coo_tensor(
        places_2P, values_P / length_P, shape, is_coalesced=True, check_invariants=True
    )


def rarity(tokens_TL: Tensor, vocabulary: int) -> Tensor:
    """log(T / captions with the word) of each word (V,), the rarest 1; 0 for words in no caption."""
    seen_V = torch.zeros(vocabulary)
    for tokens_L in tokens_TL:
        seen_V[tokens_L.unique()] += 1
    log_V = torch.where(seen_V > 0, math.log(len(tokens_TL)) - seen_V.clamp(min=1).log(), 0.0)
    return log_V / log_V.max().clamp(min=1e-6)


def _moments(words_VN: Tensor, words_NV: Tensor) -> Tensor:
    """The dense product of two sparse matrices; torch warns that it uses a new format for them."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Sparse CSR tensor support is in beta", category=UserWarning
        )
        return torch.sparse.mm(words_VN, words_NV).to_dense()


def _factor(covariance: Tensor, ridge: float) -> Tensor:
    return torch.linalg.cholesky(
        covariance.double() + ridge * torch.eye(len(covariance), dtype=torch.float64)
    )
