"""Tuning: what it promises holds, is kept, and is taken by searches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from fakes import COLOURS, ColourEncoder, png
from hivlp.cli.tune import read_queries
from hivlp.errors import DataError, IndexFolderError, QueryError
from hivlp.index.verify import verify
from hivlp.match import MatchModel
from hivlp.retriever import Index
from hivlp.search import cascade as search
from hivlp.search.plan import Plan
from hivlp.search.query import Part
from hivlp.search.tuned import Measured, Tuned
from hivlp.stores.local import LocalStore
from hivlp.tune import TuningQueries, pareto_front, points_between, recall_bound, tune
from hivlp.tune import measure as measuring
from hivlp.tune.match import best_scores
from hivlp.tune.statistics import logistic
from hivlp.types import Embeddings, Item, Sample
from index_tools import unit

WIDTHS = (16, 64)
SIZE, QUERIES = 4_000, 200


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What times are is not tested here, so few searches are timed, and of fewer plans."""
    trials = import_module("hivlp.tune.trials")  # the package has a function of this name
    monkeypatch.setattr(trials, "_NPROBE", (4,))
    monkeypatch.setattr(trials, "_EF_SEARCH", (32, 128))
    monkeypatch.setattr(trials, "_CANDIDATES", (10, 30, 100, 300, 1_000))
    monkeypatch.setattr(measuring, "_TIMED_QUICKLY", 5)
    monkeypatch.setattr(measuring, "_TIMED_QUERIES", 20)
    monkeypatch.setattr(measuring, "_TIMED_EXACT", 3)


def clustered(count: int, *, seed: int) -> Embeddings:
    """Points around 40 centres, whose first directions say most: as learned embeddings do."""
    centres_CD = np.random.default_rng(0).standard_normal((40, WIDTHS[-1]))
    rng = np.random.default_rng([1, seed])
    wide_ND = centres_CD[rng.integers(0, 40, count)] + 0.6 * rng.standard_normal((count, WIDTHS[-1]))
    wide_ND *= 0.96 ** np.arange(WIDTHS[-1])
    return Embeddings({w: unit(wide_ND[:, :w]) for w in WIDTHS})


def queries(seed: int = 7, count: int = QUERIES) -> TuningQueries:
    return TuningQueries(embeddings=clustered(count, seed=seed), described="queries")


def store_of(path: Path, count: int = SIZE) -> LocalStore:
    store = LocalStore.create(
        path, model_name="mini", model_fingerprint="f1", widths=WIDTHS, preprocessing={}
    )
    if count:
        store.append([Item(id=str(n), uri=str(n)) for n in range(count)], clustered(count, seed=0))
    return store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    with store_of(tmp_path / "x.hivlp") as store:
        yield store


def recall_of(plan: Plan, store: LocalStore, asked: Embeddings, k: int) -> float:
    """Mean recall by real searches, one query at a time, against a plain sort of all cosines."""
    view = store.view()
    level_ND = view.level(WIDTHS[-1]).astype(np.float32)
    shares = []
    for query in range(len(asked)):
        (result,) = search.run(plan, asked.take([query]), view, k)
        scores_N = np.einsum("nd,d->n", level_ND, asked.fine[query])
        scores_N[view.mask.deleted] = -np.inf
        right = np.lexsort((np.arange(len(scores_N)), -scores_N))[:k]
        shares.append(len(set(result.rows.tolist()) & set(right.tolist())) / len(right))
    return float(np.mean(shares))


def a_measured(recall_low: float, ms: float, **options) -> Measured:
    plan = options.pop("plan", Plan(name=f"{recall_low}-{ms}"))
    hot = options.pop("hot_bytes_per_item", 1.0)
    return Measured(
        plan=plan, recall=recall_low, recall_low=recall_low, p50_ms=ms, p99_ms=ms, hot_bytes_per_item=hot
    )


EXACT = a_measured(1.0, 9.0, plan=Plan(name="exact", candidates="all"))
FAST = a_measured(0.9, 1.0, plan=Plan(name="fast", candidates=30, stages=((16, 20),)))
GOOD = a_measured(0.97, 2.0, plan=Plan(name="good", coarse="ivf", nprobe=8, candidates=100))


def a_tuned(items: int = SIZE, **changes) -> Tuned:
    tuned = Tuned(
        k=10,
        target=0.95,
        chosen=GOOD,
        pareto=(FAST, GOOD, EXACT),
        items=items,
        queries="captions",
        query_count=100,
        measured_at="2026-01-01T00:00:00+00:00",
        match=MatchModel(slope=10.0, intercept=-3.0, queries=100),
    )
    return replace(tuned, **changes)


# Samples of recalls per query as they occur: seldom or often wrong, in parts or as a whole.
SPREADS = {
    "some of ten are missed": lambda rng, n: rng.binomial(10, 0.95, n) / 10,
    "a query is right or wrong": lambda rng, n: (rng.random(n) < 0.97) * 1.0,
    "few queries are hard": lambda rng, n: np.where(rng.random(n) < 0.9, 1, rng.integers(0, 10, n) / 10),
    "low recall": lambda rng, n: rng.binomial(10, 0.6, n) / 10,
    "nearly all are right": lambda rng, n: np.where(rng.random(n) < 0.01, 0.9, 1.0),
}


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("count", [50, 300])
def test_the_bound_of_a_recall_holds_as_often_as_it_says(spread, count):
    rng = np.random.default_rng(0)
    truth = SPREADS[spread](rng, 1_000_000).mean()
    samples = SPREADS[spread](rng, (2_000, count)).astype(np.float32)
    assert np.mean([recall_bound(recalls_Q) <= truth for recalls_Q in samples]) >= 0.93


def test_the_bound_grows_with_the_recall_and_with_the_number_of_queries():
    rng = np.random.default_rng(0)
    recalls_Q = (rng.binomial(10, 0.9, 200) / 10).astype(np.float32)
    better_Q = np.minimum(recalls_Q + 0.1, 1).astype(np.float32)
    assert recall_bound(recalls_Q) < recall_bound(better_Q) < better_Q.mean()
    assert recall_bound(recalls_Q) < recall_bound(np.tile(recalls_Q, 4)) < recalls_Q.mean()
    agreed = [recall_bound(np.full(count, 1, np.float32)) for count in (1, 50, 1_000, 100_000)]
    assert agreed == sorted(agreed)
    assert 0 < agreed[0] < agreed[-1] < 1
    assert recall_bound(np.zeros(100, np.float32)) == pytest.approx(0, abs=1e-12)
    # Where all queries agree on a number that has no exact float, each still counts as one.
    assert recall_bound(np.full(100, 0.9, np.float32)) == pytest.approx(0.8396, abs=1e-3)


def test_the_front_holds_what_nothing_beats_fastest_first():
    slow_and_bad, same_but_larger = a_measured(0.8, 5), replace(GOOD, hot_bytes_per_item=9)
    measured = [EXACT, slow_and_bad, same_but_larger, GOOD, FAST]
    assert pareto_front(measured) == (FAST, GOOD, EXACT)
    assert pareto_front([]) == ()
    nothing_missed = replace(GOOD, recall=1.0)
    assert pareto_front([EXACT, nothing_missed]) == (nothing_missed, EXACT), "what is exact stays"
    rng = np.random.default_rng(0)
    cloud = [a_measured(float(recall), float(ms)) for recall, ms in rng.integers(1, 20, (60, 2)) / 20]
    front = pareto_front(cloud)
    for one in cloud:
        beaten = any(
            other.p50_ms <= one.p50_ms
            and other.recall_low >= one.recall_low
            and (other.p50_ms, other.recall_low) != (one.p50_ms, one.recall_low)
            for other in cloud
        )
        inside = any((one.p50_ms, one.recall_low) == (other.p50_ms, other.recall_low) for other in front)
        assert inside != beaten


def test_the_regression_is_the_best_of_a_grid():
    rng = np.random.default_rng(0)
    ones_N, zeros_N = rng.normal(0.3, 0.05, 300), rng.normal(0.22, 0.04, 300)
    slope, intercept = logistic(ones_N, zeros_N)

    def loss(slope: float, intercept: float) -> float:
        wrong = np.logaddexp(0, -(slope * ones_N + intercept)).sum()
        return wrong + np.logaddexp(0, slope * zeros_N + intercept).sum() + 0.5e-3 * slope**2

    grid = [(loss(a, b), a, b) for a in np.linspace(0, 80, 161) for b in np.linspace(-25, 5, 301)]
    least, a, b = min(grid)
    assert loss(slope, intercept) <= least
    assert (slope, intercept) == pytest.approx((a, b), abs=1.0)


@pytest.mark.parametrize(("ones", "zeros"), [(0.9, 0.1), (0.3, 0.29), (-0.5, -0.6)])
def test_the_regression_stays_finite_where_the_kinds_do_not_overlap(ones, zeros):
    rng = np.random.default_rng(0)
    slope, intercept = logistic(rng.normal(ones, 1e-3, 200), rng.normal(zeros, 1e-3, 200))
    model = MatchModel(slope=slope, intercept=intercept, queries=200)
    assert np.isfinite([slope, intercept]).all()
    assert model.probability(ones) > 0.6 > 0.4 > model.probability(zeros)
    assert model.probability(1e9) == pytest.approx(1)
    assert model.probability(-1e9) == pytest.approx(0)


@pytest.mark.parametrize(("ones", "zeros"), [([0.3] * 50, [0.3] * 50), ([0.1, 0.2] * 50, [0.3, 0.4] * 50)])
def test_scores_that_tell_nothing_give_even_chances(ones, zeros):
    slope, intercept = logistic(np.array(ones), np.array(zeros))
    assert (slope, intercept) == pytest.approx((0, 0), abs=1e-6)


@pytest.mark.parametrize("k", [1, 7, 500])
def test_the_true_best_are_those_of_a_plain_sort_with_ties(tmp_path, k, monkeypatch):
    monkeypatch.setattr(search, "_BLOCK_ROWS", 37)
    with store_of(tmp_path / "x.hivlp", 0) as store:
        vectors = clustered(100, seed=0).take(np.random.default_rng(0).integers(0, 60, 200))
        store.append([Item(id=str(n), uri=str(n)) for n in range(200)], vectors)
        store.delete(map(str, range(0, 200, 9)))
        view, asked = store.view(), clustered(20, seed=3)
        rows_QT = search.exact_best(asked.fine, view, k)
        level_ND, live_N = view.level(64).astype(np.float32), view.mask.live_rows()
        for query_D, rows_T in zip(asked.fine, rows_QT, strict=True):
            scores_N = np.einsum("nd,d->n", level_ND[live_N], query_D)
            least = np.sort(scores_N)[::-1][: min(k, len(live_N))][-1]
            assert sorted(rows_T[rows_T >= 0].tolist()) == live_N[scores_N >= least].tolist()


@pytest.mark.parametrize(("target", "kinds"), [(0.9, ["exact", "bits"]), (0.99, ["pq", "ivf"])])
def test_the_chosen_plan_keeps_its_promise_with_other_queries(store, target, kinds):
    store.delete(map(str, range(0, SIZE, 5)))
    tuned = tune(store, queries(), recall=target, kinds=kinds)
    assert tuned.chosen.recall_low >= target
    assert recall_of(tuned.chosen.plan, store, clustered(200, seed=8), 10) >= target - 0.01
    assert (tuned.items, tuned.queries, tuned.query_count) == (SIZE * 4 // 5, "queries", QUERIES)
    assert (tuned.k, tuned.target, tuned.match) == (10, target, None)


@pytest.mark.parametrize("kind", ["exact", "pq", "bits", "ivf", "hnsw"])
def test_what_is_reported_of_a_plan_is_what_searches_find(store, kind, monkeypatch):
    """Among others where a search for many candidates looks harder than one for few."""
    monkeypatch.setattr(measuring.Measuring, "_is_beaten", lambda self, trial: False)
    monkeypatch.setattr("hivlp.index.coarse.faiss_index.FaissIndex.scan_up_to", 0)
    asked = queries(count=80)
    tuned = tune(store, asked, recall=0.95, k=10, kinds=[kind])
    assert tuned.pareto[-1].plan.candidates == "all"
    assert tuned.pareto[-1].recall == 1
    for one in tuned.pareto:
        assert one.recall == pytest.approx(recall_of(one.plan, store, asked.embeddings, 10), abs=2e-3)
        assert one.recall_low < one.recall or one.plan.candidates == "all"
    times = [one.p50_ms for one in tuned.pareto]
    assert times == sorted(times)
    assert [one.recall_low for one in tuned.pareto] == sorted(one.recall_low for one in tuned.pareto)
    assert {one.plan.coarse for one in tuned.pareto[:-1]} <= {kind}


def test_what_was_tuned_is_kept_in_the_folder_and_nothing_else(tmp_path, store):
    steps = []
    kinds, asked = ["exact", "pq"], queries(count=100)
    tuned = tune(store, asked, recall=0.9, kinds=kinds, progress=lambda *step: steps.append(step))
    assert store.tuned is not None
    assert store.tuned.as_dict() == tuned.as_dict()
    assert not store.refresh(), "what was just written is known"
    folder = tmp_path / "x.hivlp"
    record = json.loads((folder / "plan.json").read_text())
    assert (record.pop("format"), record.pop("version")) == ("hivlp-plan", 1)
    assert record == tuned.as_dict()
    read = Tuned.read(folder, WIDTHS)
    assert read is not None
    assert read.as_dict() == tuned.as_dict()
    kept = {path.name.split(".")[0] for path in (folder / "coarse").glob("*")}
    needed = {spec.name for spec in tuned.specs(WIDTHS)}
    assert kept == needed - {"exact-16-float16"}
    assert set(store.info()["coarse_bytes"]) <= needed
    assert {"plan.json"} <= set(store.info()["bytes"])
    assert verify(folder).problems == []
    _, done, total = zip(*steps, strict=True)
    assert list(done) == list(range(total[0] + 1))
    assert set(total) == {total[0]}
    with LocalStore.open(folder) as reader:
        asked = clustered(1, seed=9)
        (hits,), (same,) = reader.search(asked, k=10), store.search(asked, k=10)
        assert hits.plan == same.plan == tuned.chosen.plan.as_dict()
        assert [hit.as_dict() for hit in hits] == [hit.as_dict() for hit in same]


def test_numbers_are_rounded_so_that_they_promise_no_more_and_stay():
    measured = replace(GOOD, recall_low=0.9899999, recall=0.57)
    for low, written in ((0.9899999, 0.98999), (0.57, 0.57), (0.99, 0.99), (1.0, 1.0)):
        record = replace(measured, recall_low=low).as_dict()
        assert record["recall_low"] == written
        assert Measured.from_dict(record).as_dict() == record


def test_a_search_takes_the_fastest_plan_of_the_front_that_keeps_its_recall(store):
    store.keep_tuned(a_tuned())
    asked = clustered(1, seed=9)
    names = {
        recall: store.search(asked, k=10, recall=recall)[0].plan["name"]
        for recall in (0.5, 0.9, 0.91, 0.97, 0.98, 1.0)
    }
    assert names == {0.5: "fast", 0.9: "fast", 0.91: "good", 0.97: "good", 0.98: "exact", 1.0: "exact"}
    assert store.search(asked, k=10)[0].plan["name"] == "good"
    assert store.search(asked, k=10, plan=Plan(name="mine"))[0].plan["name"] == "mine"
    store.keep_tuned(a_tuned(pareto=(FAST,)))
    (hits,) = store.search(asked, k=10, recall=0.95)
    assert hits.plan["candidates"] == "all"
    assert hits.notes == ("no measured plan reaches recall 0.95, so every item was scored",)
    for recall in (0, -1, 1.01, float("nan")):
        with pytest.raises(QueryError, match=r"recall=.* must be above 0 and at most 1"):
            store.search(asked, k=10, recall=recall)


def test_more_hits_than_were_tuned_for_take_more_candidates(store):
    store.keep_tuned(a_tuned())
    asked = clustered(1, seed=9)
    plans = [store.search(asked, k=k, recall=0.9)[0].plan for k in (1, 10, 15, 100)]
    assert [plan["candidates"] for plan in plans] == [30, 30, 45, 300]
    assert [plan["stages"] for plan in plans] == [[[16, 20]], [[16, 20]], [[16, 30]], [[16, 200]]]
    assert len(store.search(asked, k=100, recall=0.9)[0]) == 100


@pytest.mark.parametrize(("items", "stale"), [(3_334, False), (3_333, True), (5_000, False), (5_001, True)])
def test_a_fifth_more_or_less_items_is_said(store, items, stale):
    store.keep_tuned(a_tuned(items=items))
    (hits,) = store.search(clustered(1, seed=9), k=3)
    assert [f"measured at {items:,} items and the index now has 4,000," in note for note in hits.notes] == (
        [True] if stale else []
    )
    assert not any("run hivlp tune again" not in note for note in hits.notes)
    assert store.search(clustered(1, seed=9), k=3, plan=Plan())[0].notes == ()


def test_growth_and_deletion_are_noticed(store):
    store.keep_tuned(a_tuned())
    asked = clustered(1, seed=9)
    store.append([Item(id=f"n{n}", uri="n") for n in range(801)], clustered(801, seed=5))
    assert "now has 4,801" in store.search(asked, k=3)[0].notes[0]
    store.delete(f"n{n}" for n in range(801))
    assert store.search(asked, k=3)[0].notes == ()
    store.delete(map(str, range(801)))
    assert "now has 3,199" in store.search(asked, k=3)[0].notes[0]


def test_a_recall_that_nobody_measured_is_refused_with_the_remedy(tmp_path, store):
    with pytest.raises(
        QueryError, match=r"is not tuned: no plan is known to reach recall 0\.95.*Run: hivlp tune .*x\.hivlp"
    ):
        store.search(clustered(1, seed=9), k=10, recall=0.95)
    assert store.search(clustered(1, seed=9), k=10, recall=1.0)[0].plan["candidates"] == "all"
    (hits,) = store.search(clustered(1, seed=9), k=3, recall=0.5, where="id in ('1', '2', '3')")
    assert (hits.plan["candidates"], len(hits)) == ("all", 3), "so few items need no measuring"


def changed(**changes):
    return lambda record: {**record, **changes}


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "{",
        "[]",
        "null",
        changed(format="other"),
        changed(version=2),
        changed(k=0),
        changed(k="ten"),
        changed(plan={"coarse": "tree"}),
        changed(plan=[]),
        changed(plan={"rerank": 5}),
        changed(plan={"coarse_width": 99}),
        changed(plan={"stages": [[99, 5]]}),
        changed(plan={"dims": 99}),
        changed(pareto=[{"plan": {}}]),
        changed(pareto=3),
        changed(recall_low="high"),
        changed(match={"slope": 1}),
        changed(match={"slope": "x", "intercept": 0, "queries": 1}),
        changed(match=[1, 2, 3]),
        changed(environment=4),
        lambda record: {name: value for name, value in record.items() if name != "items"},
    ],
)
def test_a_damaged_plan_is_ignored_and_the_log_says_so(tmp_path, caplog, damage):
    folder = tmp_path / "x.hivlp"
    with store_of(folder, 60) as store:
        store.keep_tuned(a_tuned(items=60))
    path = folder / "plan.json"
    content = damage if isinstance(damage, str) else json.dumps(damage(json.loads(path.read_text())))
    path.write_text(content)
    with LocalStore.open(folder, writable=True) as store:
        assert store.tuned is None
        assert store.match is None
        assert len(store.search(clustered(1, seed=9), k=3)[0]) == 3
        store.prepare()
    assert "plan.json is ignored" in caplog.text
    assert "run hivlp tune to write a new one" in caplog.text


def test_a_plan_of_another_process_is_taken_up(tmp_path, store):
    with LocalStore.open(tmp_path / "x.hivlp") as reader:
        assert not reader.refresh()
        store.keep_tuned(a_tuned())
        assert reader.tuned is None
        assert reader.refresh()
        assert reader.search(clustered(1, seed=9), k=3)[0].plan["name"] == "good"
        assert not reader.refresh()


def test_what_can_not_be_tuned_is_refused(tmp_path, store):
    few = queries(count=49)
    with pytest.raises(QueryError, match=r"49 queries are too few .* at least 50"):
        tune(store, few)
    with pytest.raises(QueryError, match=r"'tree' is not a kind .* exact, pq, bits, ivf, hnsw"):
        tune(store, queries(), kinds=["ivf", "tree"])
    for recall in (0, 1.1, float("nan")):
        with pytest.raises(QueryError, match=r"recall=.* is invalid: must be above 0 and at most 1"):
            tune(store, queries(), recall=recall)
    for k in (0, 2.5):
        with pytest.raises(QueryError, match=f"k={k} is invalid: must be a whole number, at least 1"):
            tune(store, queries(), k=k)  # type: ignore[arg-type]
    with (
        LocalStore.open(tmp_path / "x.hivlp") as reader,
        pytest.raises(IndexFolderError, match="reading only"),
    ):
        tune(reader, queries())
    with store_of(tmp_path / "empty.hivlp", 0) as empty, pytest.raises(QueryError, match="holds no item"):
        tune(empty, queries())
    assert not (tmp_path / "x.hivlp/plan.json").exists()


def test_a_small_index_is_tuned_to_what_is_exact(tmp_path):
    with store_of(tmp_path / "x.hivlp", 8) as store:
        tuned = tune(store, queries(), k=10)
        assert tuned.chosen.plan.candidates == "all"
        assert len(store.search(clustered(1, seed=9), k=10)[0]) == 8


def test_points_between_items_lie_between_items_and_are_none(store):
    store.delete(map(str, range(0, SIZE, 3)))
    made = points_between(store, 200, seed=1)
    assert (made.described, made.own_ids, len(made.embeddings)) == ("points between items", None, 200)
    live_ND = {w: store.view().level(w)[store.view().mask.live_rows()].astype(np.float32) for w in WIDTHS}
    for width in WIDTHS:
        assert np.linalg.norm(made.embeddings[width], axis=1) == pytest.approx(1, abs=1e-5)
        nearest_Q = (made.embeddings[width] @ live_ND[width].T).max(axis=1)
        assert nearest_Q.max() < 0.9999
        assert nearest_Q.min() > 0.7
    again, other = points_between(store, 200, seed=1), points_between(store, 200, seed=2)
    assert np.array_equal(made.embeddings.fine, again.embeddings.fine)
    assert not np.array_equal(made.embeddings.fine, other.embeddings.fine)


WORDS = list(COLOURS)


@pytest.fixture
def captioned(tmp_path: Path, colours: ColourEncoder) -> Iterator[Index]:
    """Pictures of two colours each, with captions, and none of them cyan."""
    pairs = [(one, two) for one in WORDS[:-1] for two in WORDS[:-1] if one != two]
    samples = [
        Sample(
            id="-".join(pair), uri="x", image=png(*pair), captions=(" ".join(pair), f"a {pair[0]} {pair[1]}")
        )
        for pair in pairs
    ]
    with Index.create(tmp_path / "c.hivlp", colours) as index:
        index.add(samples)
        yield index


def test_captions_are_used_where_there_are_enough(captioned: Index, colours: ColourEncoder):
    colours.texts_seen.clear()
    tuned = captioned.tune(0.9, k=3, count=80, kinds=["exact"])
    assert (tuned.queries, tuned.query_count) == ("captions", 80)
    assert set(colours.texts_seen) > {text for text in colours.texts_seen if text.startswith("a ")} != set()
    assert tuned.match is not None
    assert tuned.match.queries == 80
    again = captioned.tune(0.9, k=3, count=80, kinds=["exact"], seed=1)
    assert again.query_count == 80


def test_items_without_captions_are_measured_with_points_between_them(tmp_path, colours):
    samples = [Sample(id=f"{n}", uri="x", image=png(WORDS[n % 11], WORDS[n // 11])) for n in range(100)]
    with Index.create(tmp_path / "x.hivlp", colours) as index:
        index.add(samples)
        assert index.tune(0.9, k=3, kinds=["exact"]).queries == "points between items"
        assert index.store.match is None


def test_own_queries_are_cleaned_and_counted_before_anything_is_encoded(captioned: Index, colours):
    colours.texts_seen.clear()
    tuned = captioned.tune(
        0.9, queries=[f" {word}\0 {n}" for word in WORDS for n in range(5)], kinds=["exact"]
    )
    assert (tuned.queries, tuned.query_count, tuned.match) == ("queries", 60, None)
    assert "red 0" in colours.texts_seen
    colours.texts_seen.clear()
    for texts, message in (
        ([], "0 queries are too few"),
        (["red"] * 49, "49 queries"),
        (["\0"], "has no word"),
    ):
        with pytest.raises(QueryError, match=message):
            captioned.tune(0.9, queries=texts)
    with pytest.raises(QueryError, match="recall=2"):
        captioned.tune(2, queries=["red"] * 60)
    captioned.close()
    with (
        Index.open(captioned.store.folder.path) as reader,
        pytest.raises(IndexFolderError, match="reading only"),
    ):
        reader.tune()
    assert colours.texts_seen == []


def test_an_index_without_items_is_not_tuned(tmp_path, colours):
    with (
        Index.create(tmp_path / "x.hivlp", colours) as index,
        pytest.raises(QueryError, match="holds no item"),
    ):
        index.tune()


def test_queries_are_read_from_a_file(tmp_path):
    path = tmp_path / "queries.txt"
    path.write_bytes("\ufeffa dog\r\n\n  two boats \n雪".encode())
    assert read_queries(path) == ["a dog", "two boats", "雪"]
    path.write_bytes(b"caf\xe9\n")
    with pytest.raises(DataError, match=r"queries\.txt is not UTF-8 text.*one query per line"):
        read_queries(path)
    path.write_text(" \n\n")
    with pytest.raises(DataError, match="holds no query; write one query per line"):
        read_queries(path)
    with pytest.raises(FileNotFoundError):
        read_queries(tmp_path / "gone.txt")


def test_the_best_scores_with_and_without_the_right_picture_are_those_of_a_plain_loop(store, monkeypatch):
    monkeypatch.setattr(search, "_BLOCK_ROWS", 999)
    store.delete(map(str, range(0, SIZE, 7)))
    view, asked = store.view(), clustered(10, seed=4).fine
    own_Q = view.mask.live_rows()[5:15]
    with_Q, without_Q = best_scores(view, own_Q, asked)
    level_ND = view.level(64).astype(np.float32)[view.mask.live_rows()]
    for query_D, row, found, left in zip(asked, own_Q, with_Q, without_Q, strict=True):
        scores_N, alike_N = level_ND @ query_D, level_ND @ view.level(64)[row].astype(np.float32)
        assert found == pytest.approx(scores_N.max(), abs=1e-5)
        assert left == pytest.approx(scores_N[alike_N < np.quantile(alike_N, 0.95)].max(), abs=1e-5)


def test_a_probability_tells_what_is_there_from_what_is_not(captioned: Index):
    captioned.tune(0.9, k=3, count=80, kinds=["exact"])
    here, missing = captioned.search("red blue"), captioned.search("cyan")
    assert here[0].id in ("red-blue", "blue-red")
    assert here[0].probability is not None
    assert missing[0].probability is not None
    assert here[0].probability > 0.5 > missing[0].probability
    chances = [hit.probability or 0.0 for hit in here]
    assert chances == sorted(chances, reverse=True)
    kept = captioned.search("red blue", min_probability=0.5)
    assert kept.hits == tuple(hit for hit in here if (hit.probability or 0) >= 0.5) != ()
    nothing = captioned.search("cyan", min_probability=0.5)
    assert len(nothing) == 0
    (note,) = nothing.notes
    assert note.startswith(
        "nothing found: no image matches with a probability of at least 0.5; the best had 0."
    )


def test_texts_do_not_take_the_places_of_pictures_that_may_match(captioned: Index):
    captioned.tune(0.9, k=3, count=80, kinds=["exact"])
    captioned.add_texts(["please red blue"])
    assert captioned.search("please red blue", k=1)[0].kind == "text"
    kept = captioned.search("please red blue", k=1, min_probability=0.5)
    assert kept[0].kind == "image"
    assert kept[0].id in ("red-blue", "blue-red")


def test_probabilities_are_for_words_and_pictures_only(captioned: Index):
    message = (
        r"min_probability=0\.5 needs a model or an index that estimates match probabilities\. .*hivlp tune"
    )
    with pytest.raises(QueryError, match=message):
        captioned.search("red", min_probability=0.5)
    captioned.tune(0.9, k=3, count=80, kinds=["exact"])
    for refused in (
        lambda: captioned.search(png("red"), min_probability=0.5),
        lambda: captioned.search(Part(item="red-blue"), min_probability=0.5),
    ):
        with pytest.raises(
            QueryError, match=r"min_probability=0\.5 is only for searches by words: .*--min-score"
        ):
            refused()
    assert captioned.search(png("red"))[0].probability is None
    captioned.add_texts(["red"], ids=["t"])
    assert {(hit.kind, hit.probability is None) for hit in captioned.search("red", k=200)} == {
        ("image", False),
        ("text", True),
    }
    assert "t" not in {hit.id for hit in captioned.search("red", k=200, min_probability=0.1)}
    for value in (-0.1, 1.1, float("nan")):
        with pytest.raises(QueryError, match=r"min_probability=.* must be between 0 and 1"):
            captioned.search("red", min_probability=value)


def test_the_note_names_the_best_of_what_scored_enough(captioned: Index):
    """A text would score enough, but only pictures can match, and those score too little."""
    captioned.tune(0.9, k=3, count=80, kinds=["exact"])
    captioned.add_texts(["red blue green"], ids=["t"])
    hits = captioned.search("red blue green", min_score=0.99, min_probability=0.1)
    assert len(hits) == 0
    assert hits.notes[-1].startswith("nothing scored at least 0.99; the best score was 0.")
