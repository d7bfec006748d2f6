from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hivlp.index.coarse import KINDS
from hivlp.index.mask import RowMask
from index_tools import unit


def level(count: int, width: int = 8, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((count, width))).astype(np.float16)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    count=st.integers(0, 80),
    asked=st.integers(1, 100),
    parts=st.integers(1, 4),
    gone=st.floats(0, 1),
    seed=st.integers(0, 999),
)
def test_exact_kinds_equal_a_plain_scan(kind, count, asked, parts, gone, seed):
    level_ND, rng = level(count, seed=seed), np.random.default_rng(seed)
    deleted = np.flatnonzero(rng.random(count) < gone)
    index = KINDS[kind](8)
    for part in range(1, parts + 1):
        index.extend(level_ND[: count * part // parts])
    assert len(index) == count
    queries_QD = unit(rng.standard_normal((3, 8)))
    scores_QK, rows_QK = index.search(queries_QD, asked, mask=RowMask(count, deleted))
    assert scores_QK.shape == rows_QK.shape == (3, asked)
    true_QN = queries_QD @ level_ND.astype(np.float32).T
    true_QN[:, deleted] = -np.inf
    live = count - len(deleted)
    for scores_K, rows_K, true_N in zip(scores_QK, rows_QK, true_QN, strict=True):
        found = min(asked, live)
        assert (rows_K[:found] >= 0).all()
        assert (rows_K[found:] == -1).all()
        assert (scores_K[found:] == -np.inf).all()
        assert len(set(rows_K[:found].tolist())) == found
        np.testing.assert_allclose(scores_K[:found], true_N[rows_K[:found]], atol=1e-6)
        np.testing.assert_allclose(scores_K[:found], np.sort(true_N)[::-1][:found], atol=1e-6)


def test_an_older_mask_does_not_see_newer_rows():
    level_ND = level(50)
    index = KINDS["exact"](8)
    index.extend(level_ND)
    query_QD = level_ND[40:41].astype(np.float32)
    for mask in (RowMask(30), RowMask(30, np.array([3, 4]))):
        _, rows_QK = index.search(query_QD, 50, mask=mask)
        assert sorted(rows_QK[0][rows_QK[0] >= 0].tolist()) == mask.live_rows().tolist()


def test_extending_by_an_older_level_changes_nothing():
    index = KINDS["exact"](8)
    index.extend(level(20))
    index.extend(level(10))
    assert len(index) == 20
    assert index.nbytes() == 20 * 8 * 2


@pytest.mark.timeout(30)
def test_searches_go_on_while_the_index_grows():
    level_ND, index = level(20_000), KINDS["exact"](8)
    index.extend(level_ND[:100])
    stop, wrong = threading.Event(), []

    def search():
        while not stop.is_set():
            scores_QK, rows_QK = index.search(level_ND[7:8].astype(np.float32), 5, mask=RowMask(100))
            if rows_QK[0, 0] != 7 or rows_QK.max() >= 100 or scores_QK[0, 0] < 0.99:
                wrong.append((scores_QK, rows_QK))

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for size in range(200, 20_001, 200):
        index.extend(level_ND[:size])
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(index) == 20_000
