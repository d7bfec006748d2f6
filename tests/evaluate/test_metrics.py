"""Metrics against tables worked out by hand, and blocks against the whole matrix."""

from __future__ import annotations

import numpy as np
import pytest

from hivlp.evaluate import metrics


def test_the_rank_is_that_of_the_best_relevant_item() -> None:
    scores_QN = np.array(
        [
            [0.9, 0.1, 0.5, 0.3],  # relevant 0: first
            [0.9, 0.1, 0.5, 0.3],  # relevant 3: 0.9 and 0.5 are in front
            [0.9, 0.1, 0.5, 0.3],  # relevant 1 and 2: the better one counts
            [0.9, 0.1, 0.5, 0.3],  # relevant 1: last
        ],
        np.float32,
    )
    assert metrics.ranks(scores_QN, [[0], [3], [1, 2], [1]]).tolist() == [1, 3, 2, 4]


def test_a_relevant_item_does_not_push_another_one_down() -> None:
    scores_QN = np.array([[0.9, 0.8, 0.8, 0.1]], np.float32)
    assert metrics.ranks(scores_QN, [[1, 2]]).tolist() == [2]
    assert metrics.ranks(scores_QN, [[1, 1]]).tolist() == [3], "item 2 is now a tie that counts against it"


@pytest.mark.parametrize("direction", ["wide", "tall"])
def test_a_model_that_gives_everything_the_same_score_finds_nothing(direction: str) -> None:
    same_QN = np.full((4, 20) if direction == "wide" else (20, 4), 0.5, np.float32)
    ranks_Q = metrics.ranks(same_QN, [[0]] * len(same_QN))
    assert set(ranks_Q.tolist()) == {same_QN.shape[1]}
    assert metrics.recalls(ranks_Q).at[1] == 0.0


def test_nan_is_refused_instead_of_ranked_first() -> None:
    with pytest.raises(ValueError, match="NaN"):
        metrics.ranks(np.array([[np.nan, 0.1]], np.float32), [[0]])


@pytest.mark.parametrize(
    ("relevant", "message"),
    [
        ([[]], "no relevant item"),
        ([[2]], "there are 2 items"),
        ([[-1]], "there are 2"),
        ([[0], [1]], "1 rows"),
    ],
)
def test_a_correspondence_that_does_not_fit_is_refused(relevant: list[list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.ranks(np.array([[0.1, 0.2]], np.float32), relevant)


def test_recalls_from_a_table() -> None:
    table = metrics.recalls(np.array([1, 1, 2, 5, 6, 10, 11, 40]))
    assert table.at == {1: 25.0, 5: 50.0, 10: 75.0}
    assert table.median_rank == 5.5
    assert table.as_dict() == {"R@1": 25.0, "R@5": 50.0, "R@10": 75.0, "median_rank": 5.5}


def test_average_recall_is_the_mean_of_six() -> None:
    one = metrics.recalls(np.array([1, 1, 6, 100]))  # 50, 50, 75
    other = metrics.recalls(np.array([2, 8]))  # 0, 50, 100
    assert metrics.average_recall(one, other) == pytest.approx((50 + 50 + 75 + 0 + 50 + 100) / 6)


def test_no_queries_is_an_error_and_not_a_nan() -> None:
    with pytest.raises(ValueError, match="at least one query"):
        metrics.recalls(np.empty(0, np.int64))


@pytest.mark.parametrize("block", [1, 3, 7, 64])
def test_blocks_equal_the_whole_matrix_even_with_ties(block: int) -> None:
    rng = np.random.default_rng(0)
    # Small whole numbers are exact in float32 whatever the order of the sums, and give many ties.
    query_QD = rng.integers(-2, 3, (23, 6)).astype(np.float32)
    item_ND = rng.integers(-2, 3, (31, 6)).astype(np.float32)
    relevant = [rng.choice(31, size=rng.integers(1, 6), replace=False).tolist() for _ in range(23)]
    whole = metrics.ranks(query_QD @ item_ND.T, relevant)
    blocked = metrics.ranks_of_embeddings(query_QD, item_ND, relevant, block=block)
    assert blocked.tolist() == whole.tolist()
    assert len(set(whole.tolist())) > 5, "a table of equal ranks would prove nothing"


def test_ranks_equal_a_slow_obvious_twin() -> None:
    rng = np.random.default_rng(1)
    scores_QN = rng.integers(0, 6, (40, 25)).astype(np.float32)
    relevant = [rng.choice(25, size=rng.integers(1, 5), replace=False).tolist() for _ in range(40)]

    def slow(scores: list[float], wanted: list[int]) -> int:
        # Sorted by falling score, and among equals the irrelevant first; the place of the first relevant one.
        order = sorted(range(len(scores)), key=lambda n: (-scores[n], n in wanted))
        return 1 + next(place for place, n in enumerate(order) if n in wanted)

    expected = [slow(row.tolist(), wanted) for row, wanted in zip(scores_QN, relevant, strict=True)]
    assert metrics.ranks(scores_QN, relevant).tolist() == expected


def test_the_rank_in_a_list_follows_the_same_rule() -> None:
    assert metrics.rank_in_list([7, 3, 5], [0.9, 0.5, 0.5], [5], n_items=100) == 3
    assert metrics.rank_in_list([7, 5, 3], [0.9, 0.5, 0.5], [5], n_items=100) == 3, (
        "ties go against the model"
    )
    assert metrics.rank_in_list([7, 5, 3], [0.9, 0.6, 0.5], [5, 3], n_items=100) == 2
    assert metrics.rank_in_list([7, 3], [0.9, 0.5], [5], n_items=100) == 100, (
        "not in the list: the worst rank"
    )
    assert metrics.rank_in_list([7, 3], [0.9, 0.5], [5], n_items=2) == 3


def test_sizes_of_blocks_and_correspondence_are_checked() -> None:
    one = np.ones((1, 2), np.float32)
    with pytest.raises(ValueError, match="block is 0"):
        metrics.ranks_of_embeddings(one, one, [[0]], block=0)
    with pytest.raises(ValueError, match="1 queries but 2"):
        metrics.ranks_of_embeddings(one, one, [[0], [0]])
