from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hivlp.errors import QueryError
from hivlp.index.coarse import make
from hivlp.index.mask import RowMask
from hivlp.search.cascade import RawResult, _surely_contains_best, run
from hivlp.search.plan import Plan
from hivlp.types import Embeddings
from index_tools import embeddings, unit

WIDTHS = (4, 24)


@dataclass
class ArrayView:
    """The plainest view there can be: arrays in memory."""

    levels: dict[int, np.ndarray]
    mask: RowMask
    asked: list[str] = field(default_factory=list)

    @property
    def widths(self):
        return tuple(self.levels)

    def level(self, width):
        return self.levels[width]

    def coarse(self, spec):
        self.asked.append(spec.kind)
        index = make(spec)
        index.extend(self.levels[spec.width])
        return index


def view_of(vectors: Embeddings, deleted=()) -> ArrayView:
    levels = {w: vectors[w].astype(np.float16) for w in vectors.widths}
    return ArrayView(levels, RowMask(len(vectors), np.array(sorted(deleted), np.int64)))


def oracle(view: ArrayView, query_D: np.ndarray, k: int, width: int):
    """Brute force, one row at a time in float32: best first, equal scores by the lower row."""
    scored = []
    for row in range(view.mask.rows):
        if row not in set(view.mask.deleted.tolist()):
            stored_D = view.levels[width][row].astype(np.float32)
            scored.append((-np.einsum("d,d->", stored_D, query_D), row))
    scored.sort()
    return [row for _, row in scored[:k]], np.array([-loss for loss, _ in scored[:k]], np.float32)


def test_the_margin_covers_every_order_of_summation() -> None:
    """Near-equal rows: the best by one order of summation is not always the best by another one."""
    rng = np.random.default_rng(0)
    differing = 0
    for _ in range(100):
        query_D = unit(rng.standard_normal((1, 512)).astype(np.float32))[0]
        rows_ND = unit(query_D + 1e-4 * rng.standard_normal((40, 512)).astype(np.float32))
        products_ND = rows_ND * query_D
        one_N = np.add.accumulate(products_ND, axis=1, dtype=np.float32)[:, -1]
        other_N = np.add.accumulate(products_ND[:, ::-1], axis=1, dtype=np.float32)[:, -1]
        best = int(np.argmax(other_N))
        differing += best != int(np.argmax(one_N))
        assert best in _surely_contains_best(one_N, 1, 512)
    assert differing > 20


def same(one: RawResult, other: RawResult) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("rows", "scores", "coarse_scores", "coarse_ranks")
    )


@st.composite
def cases(draw):
    """Indexes with duplicates, near-duplicates, exact ties and deletions, and queries that may be items."""
    count = draw(st.integers(0, 70))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if draw(st.booleans()):  # few distinct values: many equal scores
        rows = {w: rng.choice([-1.0, 1.0], (count, w)) for w in WIDTHS}
    else:
        rows = {w: rng.standard_normal((count, w)) for w in WIDTHS}
    if count and draw(st.booleans()):
        copies = rng.integers(0, count, count)
        rows = {w: v[copies] for w, v in rows.items()}
    deleted = [row for row in range(count) if draw(st.booleans())] if draw(st.booleans()) else []
    queries = {w: rng.choice([-1.0, 1.0], (3, w)) + 0.1 * rng.standard_normal((3, w)) for w in WIDTHS}
    view = view_of(Embeddings({w: unit(v) for w, v in rows.items()}), deleted)
    return view, Embeddings({w: unit(v) for w, v in queries.items()}), draw(st.integers(1, 90))


@settings(max_examples=120, deadline=None)
@given(cases())
def test_all_candidates_equal_brute_force_to_the_bit(case):
    view, queries, k = case
    for query, result in enumerate(run(Plan(candidates="all"), queries, view, k)):
        rows, scores = oracle(view, queries.fine[query], k, WIDTHS[-1])
        assert result.rows.tolist() == rows
        assert np.array_equal(result.scores, scores)
        coarse_order, _ = oracle(view, queries.coarse[query], view.mask.rows, WIDTHS[0])
        assert [coarse_order[rank - 1] for rank in result.coarse_ranks] == rows


@settings(max_examples=120, deadline=None)
@given(cases(), st.integers(1, 80))
def test_the_cascade_scores_the_coarse_candidates_exactly(case, candidates):
    view, queries, k = case
    for query, result in enumerate(run(Plan(candidates=candidates), queries, view, k)):
        assert len(result.rows) == min(k, candidates, view.mask.live)
        _, all_coarse = oracle(view, queries.coarse[query], view.mask.rows, WIDTHS[0])
        kept = min(candidates, view.mask.live)
        for row, score, coarse_score in zip(result.rows, result.scores, result.coarse_scores, strict=True):
            stored_D = view.levels[WIDTHS[-1]][row].astype(np.float32)
            assert score == np.einsum("d,d->", stored_D, queries.fine[query])
            assert coarse_score >= all_coarse[kept - 1] - 1e-5
            assert row not in view.mask.deleted
        order = list(zip(-result.scores, result.rows, strict=True))
        assert order == sorted(order)
        assert len(set(result.rows.tolist())) == len(result.rows)
        assert len(set(result.coarse_ranks.tolist())) == len(result.rows)
        assert all(1 <= rank <= kept for rank in result.coarse_ranks)


@settings(max_examples=40, deadline=None)
@given(cases(), st.sampled_from([1, 5, 30, "all"]))
def test_a_batch_gives_the_bits_of_its_single_queries(case, candidates):
    view, queries, k = case
    plan = Plan(candidates=candidates)
    together = run(plan, queries, view, k)
    for query, result in enumerate(together):
        (alone,) = run(plan, queries.take(slice(query, query + 1)), view, k)
        assert same(result, alone)


def test_wide_levels_have_the_same_bits_in_a_batch_and_in_blocks(monkeypatch):
    vectors = embeddings(3_000, widths=(32, 512))
    view, queries = view_of(vectors, deleted=range(5, 40)), embeddings(40, seed=1, widths=(32, 512))
    whole = run(Plan(candidates="all"), queries, view, 25)
    monkeypatch.setattr("hivlp.search.cascade._BLOCK_ROWS", 333)
    monkeypatch.setattr("hivlp.search.cascade._BLOCK_SCORES", 3_000 * 7)
    for query, (one, other) in enumerate(
        zip(whole, run(Plan(candidates="all"), queries, view, 25), strict=True)
    ):
        assert same(one, other)
        scores_N = np.einsum("nd,d->n", view.level(512).astype(np.float32), queries.fine[query])
        scores_N[5:40] = -np.inf
        best = np.lexsort((np.arange(3_000), -scores_N))[:25]
        assert one.rows.tolist() == best.tolist()
        assert np.array_equal(one.scores, scores_N[best])


def test_the_cascade_finds_nearly_everything_when_levels_agree():
    rng = np.random.default_rng(0)
    wide_ND = rng.standard_normal((4_000, 64)) * (0.75 ** np.arange(64))
    vectors = Embeddings({w: unit(wide_ND[:, :w]) for w in (16, 64)})
    view, queries = view_of(vectors), vectors.take(slice(0, 50))
    exact = run(Plan(candidates="all"), queries, view, 10)
    found = run(Plan(candidates=100), queries, view, 10)
    recall = np.mean([len(np.intersect1d(a.rows, b.rows)) / 10 for a, b in zip(exact, found, strict=True)])
    assert recall > 0.99
    assert all(result.rows[0] == query for query, result in enumerate(found))


def test_ten_wanted_of_one_candidate_gives_one():
    view = view_of(embeddings(50, widths=WIDTHS))
    (result,) = run(Plan(candidates=1), embeddings(1, seed=1, widths=WIDTHS), view, 10)
    assert len(result.rows) == 1
    assert result.coarse_ranks.tolist() == [1]


def test_k_beyond_the_size_gives_all_items_and_an_empty_index_none():
    queries = embeddings(2, seed=1, widths=WIDTHS)
    for plan in (Plan(), Plan(candidates="all"), Plan(candidates=2)):
        assert [len(r.rows) for r in run(plan, queries, view_of(embeddings(0, widths=WIDTHS)), 10)] == [0, 0]
    view = view_of(embeddings(5, widths=WIDTHS), deleted=[1, 3])
    assert sorted(run(Plan(), queries, view, 1_000)[0].rows.tolist()) == [0, 2, 4]
    everything_deleted = view_of(embeddings(5, widths=WIDTHS), deleted=range(5))
    assert len(run(Plan(candidates=3), queries, everything_deleted, 10)[0].rows) == 0


def test_no_queries_give_no_results():
    assert run(Plan(), embeddings(0, widths=WIDTHS), view_of(embeddings(5, widths=WIDTHS)), 3) == []


def test_equal_scores_come_in_the_order_of_rows():
    one = embeddings(1, widths=WIDTHS)
    view = view_of(one.take([0] * 30))
    for candidates in ("all", 12):
        (result,) = run(Plan(candidates=candidates), one, view, 8)
        assert result.rows.tolist() == sorted(result.rows.tolist())
    (result,) = run(Plan(candidates="all"), one, view, 8)
    assert result.rows.tolist() == list(range(8))
    assert result.coarse_ranks.tolist() == list(range(1, 9))


def test_a_named_coarse_width_is_the_one_that_is_scanned():
    vectors = embeddings(200, widths=(4, 8, 24))
    view, queries = view_of(vectors), embeddings(1, seed=1, widths=(4, 8, 24))
    (result,) = run(Plan(candidates=20, coarse_width=8), queries, view, 20)
    row = result.rows[0]
    assert np.isclose(
        result.coarse_scores[0], view.level(8)[row].astype(np.float32) @ queries[8][0], atol=1e-6
    )


def test_the_reranking_function_has_the_last_word():
    view, queries = view_of(embeddings(40, widths=WIDTHS)), embeddings(2, seed=1, widths=WIDTHS)
    before = run(Plan(candidates=20), queries, view, 6)
    seen = []

    def backwards(query, rows_K):
        seen.append(query)
        return np.arange(len(rows_K), dtype=np.float32)

    after = run(Plan(candidates=20, rerank=6), queries, view, 4, rerank=backwards)
    assert seen == [0, 1]
    for one, other in zip(before, after, strict=True):
        assert other.rows.tolist() == one.rows[::-1][:4].tolist()
        assert other.scores.tolist() == one.scores[::-1][:4].tolist()
        assert other.rerank_scores is not None
        assert other.rerank_scores.tolist() == [5, 4, 3, 2]
        assert other.timings_ms.rerank > 0


@pytest.mark.parametrize("plan, rerank", [(Plan(rerank=5), None), (Plan(), lambda query, rows: rows)])
def test_reranking_needs_both_the_plan_and_the_function(plan, rerank):
    view = view_of(embeddings(4, widths=WIDTHS))
    with pytest.raises(QueryError, match="both or neither"):
        run(plan, embeddings(1, widths=WIDTHS), view, 1, rerank=rerank)


def test_a_reranking_function_that_gives_nonsense_is_named():
    view = view_of(embeddings(4, widths=WIDTHS))
    with pytest.raises(QueryError, match="one finite score per row"):
        run(Plan(rerank=3), embeddings(1, widths=WIDTHS), view, 1, rerank=lambda q, rows: np.full(3, np.nan))


@pytest.mark.parametrize("k", [0, -1, 2.5, True, "3"])
def test_an_impossible_k_is_refused_with_value_and_rule(k):
    with pytest.raises(QueryError, match=r"k=.*at least 1"):
        run(Plan(), embeddings(1, widths=WIDTHS), view_of(embeddings(4, widths=WIDTHS)), k)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 3.0])
def test_queries_not_of_unit_length_are_refused(value):
    queries = embeddings(2, widths=WIDTHS)
    queries.fine[1] = value
    with pytest.raises(QueryError, match=r"query 1 .* level 24"):
        run(Plan(), queries, view_of(embeddings(4, widths=WIDTHS)), 1)


def test_levels_that_one_side_lacks_are_named():
    view = view_of(embeddings(4, widths=WIDTHS))
    with pytest.raises(QueryError, match=r"level 24.*\[4, 24\].*\[4, 8\]"):
        run(Plan(), embeddings(1, widths=(4, 8)), view, 1)
    with pytest.raises(QueryError, match="level 8"):
        run(Plan(coarse_width=8), embeddings(1, widths=(4, 8, 24)), view, 1)


def test_timings_cover_the_stages():
    view = view_of(embeddings(500, widths=WIDTHS))
    for plan in (Plan(candidates=50), Plan(candidates="all")):
        (result,) = run(plan, embeddings(1, widths=WIDTHS), view, 5)
        assert result.timings_ms.coarse > 0
        assert result.timings_ms.fine > 0
        assert result.timings_ms.encode == result.timings_ms.rerank == 0


def test_a_plan_survives_json():
    plan = Plan(name="mine", coarse_width=8, candidates="all", rerank=3)
    assert Plan.from_dict(plan.as_dict()) == plan


@pytest.mark.parametrize(
    "record, message",
    [
        ({"candidate": 5}, "did you mean 'candidates'"),
        ({"zzz": 5}, "choose from name, coarse"),
        ({"candidates": 0}, "candidates=0.*at least 1"),
        ({"candidates": "some"}, "candidates='some'"),
        ({"coarse": "exakt"}, "did you mean 'exact'"),
        ({"coarse": "tree"}, "choose from bits, exact"),
        ({"coarse_width": 0}, "coarse_width=0"),
        ({"rerank": -1}, "rerank=-1"),
    ],
)
def test_impossible_plans_are_refused(record, message):
    with pytest.raises(QueryError, match=message):
        Plan.from_dict(record)
