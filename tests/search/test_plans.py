"""Recipes of searches: what is refused, what survives JSON, and what each kind finds."""

from __future__ import annotations

import json
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hivlp.errors import QueryError
from hivlp.index.coarse import CODES, CoarseSpec, Effort, faiss_index, kinds, make
from hivlp.index.mask import RowMask
from hivlp.search import cascade as search
from hivlp.search.cascade import RawResult
from hivlp.search.plan import ALL_UP_TO, Plan, default_plan
from hivlp.types import Embeddings
from index_tools import unit

WIDTHS = (8, 16, 32)
PLANS = [
    *(Plan(coarse=kind, code=code) for kind, codes in CODES.items() for code in codes),
    Plan(coarse="exact", coarse_width=32, dims=10, code="int8"),
    Plan(coarse="pq", coarse_width=32, dims=24),
    Plan(coarse="bits", coarse_width=32, dims=32),
    Plan(coarse="ivf", coarse_width=16, lists=3),
    Plan(coarse="hnsw", coarse_width=32, links=4),
]


def described(plan: Plan) -> str:
    return plan.spec(WIDTHS).name


class ArrayView:
    """The plainest view there can be: arrays in memory."""

    widths = WIDTHS

    def __init__(self, vectors: Embeddings, deleted: Iterable[int] = ()) -> None:
        self.levels = {w: vectors[w].astype(np.float16) for w in WIDTHS}
        self.mask = RowMask(len(vectors), np.array(sorted(deleted), np.int64))

    def level(self, width: int) -> np.ndarray:
        return self.levels[width]

    def coarse(self, spec: CoarseSpec):
        index = make(spec)
        index.extend(self.levels[spec.width])
        return index


def vectors(count: int, seed: int = 0, distinct: int | None = None) -> Embeddings:
    rng = np.random.default_rng(seed)
    wide_ND = rng.standard_normal((count, WIDTHS[-1])) * 0.95 ** np.arange(WIDTHS[-1])
    if distinct is not None and count:
        wide_ND = wide_ND[rng.integers(0, min(distinct, count), count)]
    return Embeddings({w: unit(wide_ND[:, :w] + 1e-9) for w in WIDTHS})


def cosines(view: ArrayView, rows: Iterable[int], query_D: np.ndarray) -> list[np.float32]:
    """One row at a time, in the order of summation that the search promises."""
    level_ND = view.level(len(query_D))
    return [np.einsum("d,d->", level_ND[row].astype(np.float32), query_D) for row in rows]


def best(view: ArrayView, rows: Iterable[int], query_D: np.ndarray, count: int) -> list[int]:
    rows = list(rows)
    order = sorted(zip((-score for score in cosines(view, rows, query_D)), rows, strict=True))
    return [row for _, row in order[:count]]


def same(one: RawResult, other: RawResult) -> bool:
    names = ("rows", "scores", "coarse_scores", "coarse_ranks")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"candidates": 0}, r"candidates=0 is invalid: must be a whole number, at least 1, or \"all\""),
        ({"candidates": "some"}, "candidates='some'"),
        ({"candidates": 2.5}, "candidates=2.5"),
        ({"candidates": True}, "candidates=True"),
        ({"candidates": None}, "candidates=None"),
        ({"coarse": "exakt"}, "coarse='exakt' is not a coarse index; did you mean 'exact'"),
        ({"coarse": "tree"}, "choose from bits, exact, hnsw, ivf, pq"),
        ({"coarse": ["ivf"]}, r"coarse=\['ivf'\]"),
        ({"code": "int8", "coarse": "pq"}, "code='int8' is not a code of .* 'pq'; choose pq4"),
        ({"code": "int4"}, "choose float16 or int8"),
        ({"code": []}, r"code=\[\]"),
        ({"coarse_width": 0}, "coarse_width=0"),
        ({"coarse_width": "64"}, "coarse_width='64'"),
        ({"dims": 0}, "dims=0"),
        ({"coarse": "ivf", "lists": 0}, "lists=0"),
        ({"coarse": "ivf", "nprobe": -1}, "nprobe=-1"),
        ({"coarse": "hnsw", "links": 1}, "links=1 is invalid: must be a whole number, at least 2"),
        ({"coarse": "hnsw", "ef_search": 0}, "ef_search=0"),
        ({"nprobe": 4}, "nprobe=4 has no effect with coarse='exact': it is for 'ivf' only, so leave it out"),
        ({"coarse": "hnsw", "lists": 4}, "lists=4 has no effect with coarse='hnsw'"),
        ({"coarse": "ivf", "links": 4}, "it is for 'hnsw' only"),
        ({"coarse": "pq", "ef_search": 4}, "ef_search=4 has no effect"),
        ({"rerank": -1}, "rerank=-1"),
        ({"rerank": None}, "rerank=None"),
        (
            {"stages": [[16, 300]]},
            "level 16 keeps 300 rows, but only 200 reach it: lower it, or raise candidates",
        ),
        ({"stages": [[16, 50], [16, 60]]}, "keeps 60 rows, but only 50 reach it"),
        ({"stages": [[16]]}, r"stages=\[\[16\]\] is invalid: must be pairs"),
        ({"stages": 16}, "must be pairs of .width, rows to keep"),
        ({"stages": None}, "must be pairs"),
        ({"stages": [[0, 5]]}, "stages: width=0"),
        ({"stages": [[16, 0]]}, "stages: rows to keep=0"),
        ({"stages": [[16, "all"]]}, "rows to keep='all'"),
        ({"stages": [[16, 5]], "candidates": "all"}, 'no effect with candidates="all"'),
        ({"candidate": 5}, "no setting 'candidate': did you mean 'candidates'"),
        ({"zzz": 5}, "choose from name, coarse"),
    ],
)
def test_impossible_plans_are_refused_with_value_rule_and_remedy(record, message):
    with pytest.raises(QueryError, match=message):
        Plan.from_dict(record)


def test_more_directions_than_the_level_has_are_refused_by_the_search():
    with pytest.raises(QueryError, match="dims=9 is invalid for a level of width 8"):
        search.run(Plan(dims=9, candidates=3), vectors(1), ArrayView(vectors(10)), 1)


counts = st.integers(1, 10_000)


@st.composite
def plans(draw) -> Plan:
    kind = draw(st.sampled_from(sorted(CODES)))
    options = {"ivf": ("lists", "nprobe"), "hnsw": ("ef_search",)}.get(kind, ())
    candidates = draw(st.one_of(counts, st.just("all")))
    keeps = [] if candidates == "all" else sorted(draw(st.lists(counts, max_size=3)), reverse=True)
    return Plan(
        name=draw(st.text(max_size=5)),
        coarse=kind,
        coarse_width=draw(st.none() | counts),
        dims=draw(st.none() | counts),
        code=draw(st.none() | st.sampled_from(CODES[kind])),
        links=draw(st.none() | st.integers(2, 64)) if kind == "hnsw" else None,
        candidates=candidates,
        stages=tuple((draw(counts), keep) for keep in keeps if keep <= candidates),
        rerank=draw(st.integers(0, 100)),
        **{name: draw(st.none() | counts) for name in options},
    )


@settings(max_examples=200, deadline=None)
@given(plans())
def test_every_plan_survives_json(plan):
    record = json.loads(json.dumps(plan.as_dict()))
    assert Plan.from_dict(record) == plan
    assert None not in record.values()
    assert hash(Plan.from_dict(record)) == hash(plan)


def test_numbers_of_numpy_are_numbers():
    five = np.int64(5)
    plan = Plan(coarse="ivf", nprobe=five, candidates=five, coarse_width=five, stages=((five, five),))
    assert json.loads(json.dumps(plan.as_dict()))["stages"] == [[5, 5]]
    assert plan == Plan(coarse="ivf", nprobe=5, candidates=5, coarse_width=5, stages=((5, 5),))


def test_the_usual_plan_grows_with_the_index():
    plans = [default_plan(n, (32, 128, 512)) for n in (0, ALL_UP_TO, ALL_UP_TO + 1, 20_000, 20_001)]
    kinds = [(plan.coarse, plan.candidates) for plan in plans]
    assert kinds == [("exact", "all")] * 2 + [("exact", 200)] * 2 + [("ivf", 400)]
    specs = [plan.spec((32, 128, 512)).name for plan in plans[2:]]
    assert specs == ["exact-128-int8", "exact-128-int8", "ivf-128-pq4"]


def test_the_usual_plan_follows_the_hits_that_are_wanted():
    assert default_plan(30_000, (32, 512), k=100).candidates == 1_000


@pytest.mark.parametrize(
    ("widths", "name"),
    [
        ((64, 256, 512), "ivf-256-d128-pq4"),
        ((32, 512), "ivf-512-d128-pq4"),
        ((16, 64), "ivf-64-pq4"),
        ((768,), "ivf-768-d128-pq4"),
    ],
)
def test_the_usual_plan_of_models_without_a_level_of_128(widths, name):
    assert default_plan(30_000, widths).spec(widths).name == name


def test_a_plan_names_its_coarse_index_and_effort():
    spec = Plan(coarse="ivf", coarse_width=16, dims=4, lists=7, nprobe=3).spec(WIDTHS)
    assert spec == CoarseSpec(kind="ivf", width=16, dims=4, code="int8", lists=7)
    assert Plan(coarse="hnsw").spec(WIDTHS) == CoarseSpec(kind="hnsw", width=8, code="int8", links=16)
    assert Plan(coarse="ivf", nprobe=3).effort == Effort(nprobe=3)
    assert Plan(coarse="hnsw", ef_search=9).effort == Effort(ef_search=9)


@st.composite
def cases(draw):
    """Indexes with duplicates and so ties, with deletions, and queries of which one is an item."""
    count, seed = draw(st.integers(1, 60)), draw(st.integers(0, 999))
    rng = np.random.default_rng(seed)
    deleted = np.flatnonzero(rng.random(count) < draw(st.sampled_from([0, 0.3, 1])))
    rows = vectors(count, seed, distinct=draw(st.sampled_from([None, 5])))
    queries = Embeddings.concatenate([vectors(2, seed + 1), rows.take([0])])
    return ArrayView(rows, deleted), queries, draw(st.integers(1, 70))


@pytest.fixture
def no_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small indexes are answered by the structures themselves."""
    monkeypatch.setattr(faiss_index.FaissIndex, "scan_up_to", 0)
    monkeypatch.setattr(kinds.HnswIndex, "least_share", 0.0)


@pytest.mark.usefixtures("no_scans")
@pytest.mark.parametrize("plan", PLANS, ids=described)
@settings(max_examples=20, deadline=None)
@given(case=cases())
def test_every_kind_that_hands_on_all_rows_equals_brute_force_to_the_bit(plan, case):
    view, queries, k = case
    levels = {width: queries[width] for width in WIDTHS}
    index, live = view.coarse(plan.spec(WIDTHS)), view.mask.live
    by_search = search.run(plan, queries, view, k)
    # ``run`` scores everything where so many candidates are wanted, so what it calls otherwise is asked too.
    by_cascade = search._cascade(plan, max(live, 1), index, levels, view, k)
    for query_D, one, other in zip(queries.fine, by_search, by_cascade, strict=True):
        right = best(view, view.mask.live_rows().tolist(), query_D, k)
        assert one.rows.tolist() == other.rows.tolist() == right
        assert one.scores.tolist() == other.scores.tolist() == cosines(view, right, query_D)


@pytest.mark.usefixtures("no_scans")
@pytest.mark.parametrize("plan", PLANS, ids=described)
@settings(max_examples=20, deadline=None)
@given(case=cases(), candidates=st.integers(1, 50))
def test_the_batch_that_a_query_came_in_does_not_show(plan, case, candidates):
    view, queries, k = case
    plan = Plan.from_dict({**plan.as_dict(), "candidates": candidates})
    index = view.coarse(plan.spec(WIDTHS))
    view.coarse = lambda spec: index
    together = search.run(plan, queries, view, k)
    for query, result in enumerate(together):
        (alone,) = search.run(plan, queries.take([query]), view, k)
        if plan.dims is None:
            assert same(result, alone)
        else:  # the product that turns a batch has another order of summation
            np.testing.assert_allclose(result.coarse_scores, alone.coarse_scores, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(case=cases(), candidates=st.integers(1, 50))
def test_stages_that_keep_everything_change_nothing(case, candidates):
    view, queries, k = case
    plain = search.run(Plan(candidates=candidates), queries, view, k)
    stages = ((16, candidates), (8, candidates))
    staged = search.run(Plan(candidates=candidates, stages=stages), queries, view, k)
    assert all(same(one, other) for one, other in zip(plain, staged, strict=True))


@settings(max_examples=60, deadline=None)
@given(case=cases(), keeps=st.lists(st.integers(1, 50), min_size=2, max_size=3))
def test_stages_narrow_like_a_plain_funnel(case, keeps):
    view, queries, k = case
    candidates, *keeps = sorted(keeps, reverse=True)
    stages = tuple(zip((16, 8), keeps, strict=False))
    plan = Plan(candidates=candidates, stages=stages)
    results = search.run(plan, queries, view, k)
    for query, result in enumerate(results):
        live = view.mask.live_rows().tolist()
        if candidates >= len(live):  # then everything is scored at the fine level, and stages lose nothing
            assert result.rows.tolist() == best(view, live, queries.fine[query], k)
            continue
        _, rows_QK = view.coarse(plan.spec(WIDTHS)).search(
            queries[8][query : query + 1], candidates, mask=view.mask, effort=plan.effort
        )
        left = rows_QK[0].tolist()
        for width, keep in (*stages, (32, k)):
            left = best(view, left, queries[width][query], keep)
        assert result.rows.tolist() == left
        assert result.scores.tolist() == cosines(view, left, queries.fine[query])
        assert [int(rows_QK[0][rank - 1]) for rank in result.coarse_ranks] == left


def test_a_stage_at_a_level_that_there_is_none_of_is_refused():
    with pytest.raises(QueryError, match=r"needs level 24, but the index has \[8, 16, 32\]"):
        search.run(Plan(candidates=5, stages=((24, 3),)), vectors(1), ArrayView(vectors(10)), 1)


def test_efforts_beyond_the_index_look_at_everything():
    view, huge = ArrayView(vectors(3_000)), 10**15
    exact = search.run(Plan(candidates="all"), vectors(2, 1), view, 5)
    for plan in (Plan(coarse="hnsw", ef_search=huge), Plan(coarse="ivf", nprobe=huge, lists=huge)):
        plan = Plan.from_dict({**plan.as_dict(), "candidates": 2_500, "coarse_width": 32})
        found = search.run(plan, vectors(2, 1), view, 5)
        assert [one.rows.tolist() for one in found] == [one.rows.tolist() for one in exact]
