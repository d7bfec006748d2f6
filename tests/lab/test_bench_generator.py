"""Generated items: as near to each other as real ones, and as far from their bases as those' spreads say."""

from __future__ import annotations

import numpy as np
import pytest

from hivlp.errors import DataError
from hivlp_lab.bench import check, generator
from index_tools import unit

WIDTH = 32


def clustered(count: int, *, seed: int = 0) -> np.ndarray:
    """Unit vectors around some centres, as embeddings are."""
    rng = np.random.default_rng(seed)
    centres_CD = rng.standard_normal((40, WIDTH)) * np.linspace(1, 0.2, WIDTH)
    return unit(centres_CD[rng.integers(0, 40, count)] + 0.4 * rng.standard_normal((count, WIDTH)))


def test_generated_items_are_as_near_to_each_other_as_the_curve_says() -> None:
    real_RD = clustered(400)
    fitted = generator.fit(real_RD, 4000)
    items_ND = np.concatenate([real_RD, *fitted.rows(3600, seed=0)])
    near_QK, _ = generator.neighbours(items_ND, items_ND[::4], 2)
    typical = np.exp(np.log(near_QK[:, 1]).mean())
    assert typical == pytest.approx(fitted.typical, rel=0.1)
    assert fitted.slope < 0 and fitted.typical < np.exp(np.log(fitted.spread_R).mean())


def test_dense_places_stay_dense_and_sparse_ones_sparse() -> None:
    rng = np.random.default_rng(0)
    dense_RD = unit(np.eye(WIDTH)[0] + 0.01 * rng.standard_normal((200, WIDTH)))
    sparse_RD = unit(np.eye(WIDTH)[1] + 0.1 * rng.standard_normal((200, WIDTH)))
    fitted = generator.fit(np.concatenate([dense_RD, sparse_RD]), 1600)
    made_ND = np.concatenate([*fitted.rows(1200, seed=0)])
    is_dense_N = made_ND[:, 0] > made_ND[:, 1]
    away = {}
    for name, real_RD, some_N in (("dense", dense_RD, is_dense_N), ("sparse", sparse_RD, ~is_dense_N)):
        away[name] = np.median(generator.neighbours(real_RD, made_ND[some_N], 1)[0])
    assert away["sparse"] / away["dense"] == pytest.approx(10, rel=0.4), "as their real rows are"


@pytest.mark.parametrize("copies", [1, 40])
@pytest.mark.parametrize("rounding", [0.0, 1e-7])
def test_equal_items_are_fitted_to_once(copies: int, rounding: float) -> None:
    """Also where a cosine of equal rows rounds below 1, so that they seem to be a little apart."""
    rng = np.random.default_rng(0)
    once_RD = clustered(100)
    real_RD = np.repeat(once_RD, 1 + copies, axis=0)
    real_RD = unit(real_RD + rounding * rng.standard_normal(real_RD.shape))
    fitted, plain = generator.fit(real_RD, 400), generator.fit(once_RD, 400)
    assert len(fitted.real_RD) == 100
    assert np.isfinite(fitted.root_DD).all()
    assert fitted.typical == pytest.approx(plain.typical, rel=1e-3)
    assert fitted.scale == pytest.approx(plain.scale, rel=0.05)


def test_the_check_takes_equal_items() -> None:
    real_RD = np.repeat(clustered(80), 3, axis=0)
    assert set(check.compare(real_RD, clustered(20, seed=1))) >= {"real", "from_1/2", "from_1/8"}


def test_too_few_different_items_are_refused() -> None:
    with pytest.raises(DataError, match=r"3 different items are too few .* at least 8\. Name more sources"):
        generator.fit(np.repeat(clustered(3), 50, axis=0), 1000)
