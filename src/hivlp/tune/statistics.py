"""What samples say of a whole: a bound for a recall, a front of plans, a logistic regression."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from hivlp.search.tuned import Measured
from hivlp.types import FloatArray

_ONE_SIDED_95 = 1.645


def mean_for(target: float, queries: int) -> float:
    """The smallest mean recall of that many queries whose lower bound reaches the target; at most 1."""
    low, high = target, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if _wilson(middle, queries) >= target else (middle, high)
    return high


def recall_bound(recalls_Q: FloatArray) -> float:
    """Lower 95 % confidence bound of the mean recall, one-sided.

    Wilson's bound where each query counts as one trial. That is on the safe side: the results of one query
    stand or fall together, and a recall in [0, 1] varies at most as much as a yes or no of the same mean.

    Args:
        recalls_Q: recall of each query, in [0, 1].
    """
    return _wilson(float(np.mean(recalls_Q)), len(recalls_Q))


def _wilson(mean: float, queries: int) -> float:
    z2 = _ONE_SIDED_95**2
    centre = mean + z2 / (2 * queries)
    margin = _ONE_SIDED_95 * math.sqrt(mean * (1 - mean) / queries + z2 / (4 * queries**2))
    return max(0.0, (centre - margin) / (1 + z2 / queries))


def pareto_front(measured: Iterable[Measured]) -> tuple[Measured, ...]:
    """Those that no other one beats in both time and recall, fastest first."""
    front: list[Measured] = []
    for one in sorted(measured, key=lambda one: (one.p50_ms, -one.recall_low, one.hot_bytes_per_item)):
        if not front or one.recall_low > front[-1].recall_low:
            front.append(one)
    return tuple(front)


def logistic(ones_N: np.ndarray, zeros_N: np.ndarray) -> tuple[float, float]:
    """Slope (not below 0) and intercept of the logistic regression on one number, by Newton's method.

    A small ridge on the slope keeps it finite where the two kinds do not overlap.
    """
    values = np.concatenate([ones_N, zeros_N]).astype(np.float64)
    labels = np.concatenate([np.ones(len(ones_N)), np.zeros(len(zeros_N))])
    design = np.stack([values, np.ones_like(values)], axis=1)
    ridge = np.diag([1e-3, 1e-9])
    weights = np.zeros(2)
    for _ in range(100):
        probabilities_N = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        slope = design.T @ (probabilities_N - labels) + ridge @ weights
        curve = (design * (probabilities_N * (1 - probabilities_N))[:, None]).T @ design + ridge
        step = np.linalg.solve(curve, slope)
        weights -= step
        if np.abs(step).max() < 1e-9:
            break
    if weights[0] <= 0:  # the scores tell nothing, or the wrong way round
        return 0.0, float(np.log(len(ones_N) / len(zeros_N)))
    return float(weights[0]), float(weights[1])
