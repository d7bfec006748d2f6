"""The benchmark: what it counts, that engines can't hurt each other, and that it goes on where it stopped."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hivlp as library
from fakes import ColourEncoder
from hivlp.errors import DataError, MissingExtraError, ModelError, QueryError
from hivlp.search.plan import Plan
from hivlp.types import Embeddings
from hivlp_lab.bench import (
    check,
    engines,
    generator,
    machine,
    plot,
    recall,
    report,
    search,
    vectors,
    worker,
)
from hivlp_lab.bench.faiss_index import assemble
from hivlp_lab.bench.ours import Ours, our_plans
from hivlp_lab.bench.queries import QuerySet
from hivlp_lab.bench.search import Suite
from index_tools import unit

WIDTHS = (8, 32)
SETS = ("choose", "report")
REACHABLE = 0.9  # with as few queries as here


def test_faiss_says_nothing_of_few_rows(capfd: pytest.CaptureFixture[str]) -> None:
    rows_ND = clustered(200)
    for factory, reduce in (("PQ16x4fs", 16), ("IVF16,Flat", 0), ("IVF8,PQ16x4fs", 16)):
        assemble(32, rows_ND, factory=factory, reduce=reduce, refine=None)
    assert "".join(capfd.readouterr()) == ""


def clustered(count: int, *, seed: int = 0, width: int = 32) -> np.ndarray:
    """Unit vectors around some centres, as embeddings are."""
    rng = np.random.default_rng(seed)
    centres_CD = rng.standard_normal((40, width)) * np.linspace(1, 0.2, width)
    return unit(centres_CD[rng.integers(0, 40, count)] + 0.4 * rng.standard_normal((count, width)))


def made(folder: Path, *, items: int = 2000, real: int = 2000, queries: int = 60) -> vectors.BenchVectors:
    about = {"key": "test", "model": "m" * 16, "real_items": real, "widths": list(WIDTHS)}
    asked_QD = clustered(queries, seed=1)
    parts = np.array_split(asked_QD, 2)
    sets = {name: QuerySet(["?"] * len(part), part) for name, part in zip(SETS, parts, strict=True)}
    return vectors.write(folder, clustered(real), sets, items=items, about=about)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> vectors.BenchVectors:
    return made(tmp_path_factory.mktemp("vectors") / "few")


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Makes the fake engines known here and in workers; gives the file of what they did."""
    for name in ("Careful", "Stopped", "Broken", "Huge", "Absent"):
        monkeypatch.setitem(engines.ENGINES, name.lower(), f"bench_fakes:{name}")
    paths = [str(Path(module.__file__ or "").parents[depth]) for module, depth in ((library, 1), (search, 2))]
    paths += [str(Path(__file__).parents[1] / "support")]
    monkeypatch.setenv("PYTHONPATH", ":".join(paths) if sys.platform != "win32" else ";".join(paths))
    monkeypatch.setenv("BENCH_LOG", str(tmp_path / "log"))
    monkeypatch.setattr(machine, "bandwidth_gb_s", lambda: 10.0)
    return tmp_path / "log"


# Exact answers and recall


def test_the_exact_answer_is_that_of_a_plain_sort() -> None:
    items_ND, queries_QD = clustered(500).astype(np.float16), clustered(20, seed=1)
    truth = recall.exact(items_ND, queries_QD)
    for query_D, rows_K, tenth in zip(queries_QD, truth.rows_QK, truth.tenth_Q, strict=True):
        scores_N = items_ND.astype(np.float64) @ query_D.astype(np.float64)
        assert rows_K.tolist() == sorted(range(500), key=lambda row: (-scores_N[row], row))[:10]
        assert tenth == pytest.approx(sorted(scores_N)[-10], abs=1e-12)


def test_the_exact_answer_does_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    items_ND, queries_QD = clustered(500).astype(np.float16), clustered(20, seed=1)
    whole = recall.exact(items_ND, queries_QD)
    monkeypatch.setattr(recall, "_BLOCK_ROWS", 7)
    blocks = recall.exact(items_ND, queries_QD)
    assert (whole.rows_QK == blocks.rows_QK).all() and (whole.tenth_Q == blocks.tenth_Q).all()


def test_recall_counts_equal_scores_whatever_their_rows() -> None:
    rng = np.random.default_rng(0)
    items_ND = np.repeat(clustered(60), 5, axis=0).astype(np.float16)  # every item five times
    queries_QD = clustered(30, seed=1)
    truth = recall.exact(items_ND, queries_QD)
    rows_QK = np.concatenate([truth.rows_QK[:, :6], rng.integers(-1, 300, (30, 4))], axis=1)
    expected = []
    for query_D, rows_K in zip(queries_QD, rows_QK, strict=True):
        scores = [float(items_ND[row].astype(np.float64) @ query_D.astype(np.float64)) for row in range(300)]
        tenth = sorted(scores)[-10]
        good = {row for row in rows_K.tolist() if row >= 0 and scores[row] >= tenth - 1e-9}
        expected.append(min(len(good), 10) / 10)
    assert recall.shares(items_ND, queries_QD, rows_QK, truth).tolist() == pytest.approx(expected)
    twins_QK = truth.rows_QK // 5 * 5 + (truth.rows_QK + 1) % 5  # other rows of the same items
    assert recall.shares(items_ND, queries_QD, twins_QK, truth).min() == 1


def test_a_row_that_is_given_twice_counts_once() -> None:
    items_ND, queries_QD = clustered(100).astype(np.float16), clustered(3, seed=1)
    truth = recall.exact(items_ND, queries_QD)
    again_QK = np.repeat(truth.rows_QK[:, :5], 2, axis=1)
    assert recall.shares(items_ND, queries_QD, again_QK, truth).tolist() == pytest.approx([0.5] * 3)


def test_the_bound_counts_queries_and_nothing_else() -> None:
    few, many = (recall.summary(np.full(count, 0.9, np.float32)) for count in (50, 1_000))
    apart = recall.summary(np.array([1.0] * 900 + [0.0] * 100, np.float32))
    assert few.low < many.low < 0.9
    assert apart.low == pytest.approx(many.low, abs=1e-6), "a query that fails as a whole is one trial too"


# Vectors


def test_generated_items_are_the_same_for_the_same_seed(tmp_path: Path) -> None:
    first, second = (made(tmp_path / name, items=900, real=300, queries=10) for name in ("a", "b"))
    assert (first.items_ND == second.items_ND).all()
    fitted = generator.fit(clustered(300), 900)
    one, same, other = (np.concatenate([*fitted.rows(50, seed=seed)]) for seed in (1, 1, 2))
    assert (one == same).all() and not np.allclose(one, other)


def test_real_items_stand_first_and_the_rest_is_made(tmp_path: Path) -> None:
    made_here = made(tmp_path / "v", items=900, real=300, queries=10)
    assert made_here.items_ND.shape == (900, 32) and made_here.items_ND.dtype == np.float16
    assert (made_here.items_ND[:300] == clustered(300).astype(np.float16)).all()
    assert made_here.about["generated_items"] == 600
    lengths_N = np.linalg.norm(made_here.items_ND.astype(np.float32), axis=1)
    assert np.abs(lengths_N - 1).max() < 1e-3
    assert set(made_here.about["check"]) >= {"real", "from_1/2", "from_1/8", "easier"}


def test_what_is_easier_to_search_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    real = check.measures(clustered(400), clustered(20, seed=1))
    assert set(real) >= {"dims_for_variance", "item_cosine", "query_dimension", "recall@10"}
    answers = iter([0.90, 0.905, 0.95])
    monkeypatch.setattr(check, "measures", lambda items, queries: {"recall@10": {"ivf": next(answers)}})
    assert check.compare(clustered(400), clustered(20, seed=1))["easier"] == ["ivf from 1/8"]


def test_intrinsic_dimension_is_that_of_a_ball() -> None:
    rng = np.random.default_rng(0)
    for dimension in (2, 8):
        points_ND = rng.standard_normal((4000, dimension))
        away_QN = np.sort(np.linalg.norm(points_ND[:100, None] - points_ND, axis=2), axis=1)
        assert check.intrinsic_dimension(away_QN[:, 1:22]) == pytest.approx(dimension, rel=0.25)


def test_levels_are_prefixes_and_the_widest_stays_as_it_is() -> None:
    rows_ND = clustered(5) * np.float32(1.0004)
    found = vectors.levels(rows_ND, WIDTHS)
    assert found[32] is rows_ND
    assert np.allclose(found[8], unit(rows_ND[:, :8]))


def test_a_model_without_nested_levels_is_refused() -> None:
    class Separate(ColourEncoder):
        def encode_texts(self, texts: Any) -> Embeddings:
            found = super().encode_texts(texts)
            return Embeddings({**found.by_width, 8: found[8][:, ::-1]})

    vectors.require_nested(ColourEncoder("mini"))
    with pytest.raises(
        ModelError, match=r"level 8 of the model 'mini' is not a prefix .* Give a model with nested"
    ):
        vectors.require_nested(Separate("mini"))


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> ColourEncoder:
    encoder = ColourEncoder("mini")
    monkeypatch.setattr(vectors, "load", lambda model: encoder)
    return encoder


def test_sources_are_encoded_once(encoder: ColourEncoder, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"query_count": 20, "seed": 0, "work": tmp_path}
    first = vectors.prepare(["scenes:120?size=16"], items=300, **asked)
    assert encoder.pictures_seen == 120
    assert first.about["real_items"] == 120 and first.queries_QD.shape == (20, 32)
    again = vectors.prepare(["scenes:120?size=16"], items=300, **asked)
    more = vectors.prepare(["scenes:120?size=16"], items=400, **asked)
    assert encoder.pictures_seen == 120
    assert again.folder == first.folder and more.folder != first.folder


def test_too_little_data_is_refused(encoder: ColourEncoder, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"scenes:20\?size=16 gave 20 pictures; a benchmark needs 100\. Name more sources"
    ):
        vectors.prepare(["scenes:20?size=16"], items=300, query_count=6, seed=0, work=tmp_path)


# Engines


@pytest.mark.parametrize("name", list(engines.ENGINES))
def test_every_engine_finds_the_best_at_its_most_thorough(
    name: str, few: vectors.BenchVectors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # tests run beside each other
    kind = engines.load(engines.ENGINES[name])
    if engines.missing(kind) is not None:
        pytest.skip(f"NOT TESTED: {name}: {engines.missing(kind)}")
    builds = kind.builds(*few.items_ND.shape)
    assert builds and json.loads(json.dumps(builds)) == builds
    kind(builds[0], few, tmp_path, 1).prepare()
    for build in builds:
        engine = kind(build, few, tmp_path, 1)
        engine.build()
        assert kind.label(build) and kind.memory(build, 1000, 512) > 0
        setting = engine.settings()[-1]
        engine.use(setting)
        queries = [engine.query(query_D) for query_D in few.queries_QD]
        single_QK = np.stack([engine.search(query, 10) for query in queries])
        batch_QK = engine.search_batch(few.queries_QD, 10)
        for rows_QK in (single_QK, batch_QK):
            assert rows_QK.dtype == np.int64
            found = recall.shares(few.items_ND, few.queries_QD, rows_QK, few.truth).mean()
            assert found >= 0.9, f"{kind.label(build)} {setting}: {found}"
        engine.close()


def test_plans_of_ours_are_plans() -> None:
    plans = our_plans(100_000, 512)
    assert {plan.coarse for plan in plans} == {"exact", "pq", "bits", "ivf", "hnsw"}
    measured = [plan for build in Ours.builds(100_000, 512) for plan in build["plans"]]
    assert sorted(map(str, measured)) == sorted(str(plan.as_dict()) for plan in plans)
    assert all(Plan.from_dict(plan) for plan in measured)


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(QueryError, match="unknown engine 'scan'; did you mean 'scann'"):
        engines.selected(["scan"])
    assert engines.selected(["ours", "flat"]) == ["flat", "ours"]


def test_a_sweep_has_every_combination() -> None:
    assert engines.combinations({"a": [1, 2], "b": [3, 4]}) == [
        {"a": 1, "b": 3},
        {"a": 1, "b": 4},
        {"a": 2, "b": 3},
        {"a": 2, "b": 4},
    ]


# The suite


@pytest.fixture
def few_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two coarse indexes instead of all that are worth measuring."""
    plans = [Plan(candidates=50), Plan(candidates=1000), Plan(coarse="pq", coarse_width=32, candidates=1000)]
    monkeypatch.setattr("hivlp_lab.bench.ours.our_plans", lambda count, width: plans)


def test_the_suite_measures_flat_and_ours(
    few: vectors.BenchVectors, fakes: Path, few_plans: None, tmp_path: Path
) -> None:
    document = Suite(vectors=few, work=tmp_path, names=["flat", "ours"], target=REACHABLE).run()
    assert document["left_out"] == []
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert {row["engine"] for row in document["rows"]} == {"flat", "ours"}
    numbers = ("recall@10", "recall_low", "p50_ms", "p99_ms", "qps", "qps_2_threads", "batch_qps", "build_s")
    for row in document["rows"]:
        assert all(isinstance(row[number], float) for number in numbers)
        assert 0 <= row["recall_low"] <= row["recall@10"] <= 1 and 0 < row["p50_ms"] <= row["p99_ms"]
        assert row["plan"] and row["queries"] == 30 == row["choose"]["queries"]
        assert row["cold_bytes_per_item"] == 0 or row["engine"] != "flat"
    ours = next(row for row in document["rows"] if row["engine"] == "ours")
    assert set(ours["parts_s"]) == {"append_s", "open_s", "coarse_s"}
    assert ours["cold_bytes_per_item"] >= 2 * sum(WIDTHS)
    best = document["best"]
    assert best["flat"]["recall@10"] == 1 and best["flat"]["times_flat"] == 1
    assert best["ours"]["times_flat"] == best["flat"]["p50_ms"] / best["ours"]["p50_ms"]


def test_an_engine_that_fails_is_a_line_and_the_others_go_on(
    few: vectors.BenchVectors, fakes: Path, tmp_path: Path
) -> None:
    names = ["stopped", "broken", "huge", "absent", "careful"]
    document = Suite(vectors=few, work=tmp_path, names=names, target=REACHABLE).run()
    reasons = {one["engine"]: one["reason"] for one in document["left_out"]}
    assert reasons["stopped"] == "exit code 3"
    assert reasons["broken"] == "exit code 1: ValueError: no such luck"
    assert "needs about 1152921504.6 GB of memory" in reasons.get("huge", "")
    assert reasons["absent"] == "not installed; pip install a-package-that-nobody-has"
    careful = [row for row in document["rows"] if row["engine"] == "careful"]
    assert [row["recall@10"] for row in careful] == pytest.approx([0.9, 1.0])
    assert careful[0]["plan"] == "kind=loop wrong=1" and careful[0]["parts_s"] == {"reading_s": 0.25}
    assert [row["setting"] for row in document["rows"] if row["engine"] == "stopped"] == [{"wrong": 1}]
    assert set(document["best"]) == {"careful"} and document["best"]["careful"]["times_flat"] is None


def test_a_run_goes_on_where_it_stopped(
    few: vectors.BenchVectors, fakes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = Suite(vectors=few, work=tmp_path, names=["stopped", "careful"], target=REACHABLE)
    first = suite.run()
    monkeypatch.setenv("BENCH_MAY_FINISH", "1")
    fakes.write_text("")
    second = suite.run()
    assert fakes.read_text().split() == ["build", "wrong=0"], "only what was missing is measured"
    assert len(first["rows"]) == 3 and len(second["rows"]) == 4 and second["left_out"] == []
    careful = [[row for row in run["rows"] if row["engine"] == "careful"] for run in (first, second)]
    assert careful[0] == careful[1] and len(careful[0]) == 2
    fakes.write_text("")
    assert suite.run()["rows"] == second["rows"] and fakes.read_text() == ""


def test_a_line_that_was_cut_off_is_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"setting": {"ef": 1}}\n{"setting": {"e')
    assert worker.read_rows(path) == [{"setting": {"ef": 1}}]
    assert worker.read_rows(tmp_path / "none") == []


def test_numbers_that_can_not_be_are_refused(few: vectors.BenchVectors, tmp_path: Path) -> None:
    with pytest.raises(QueryError, match=r"recall=1.5 is invalid"):
        Suite(vectors=few, work=tmp_path, target=1.5)
    with pytest.raises(QueryError, match=r"threads=0 is invalid"):
        Suite(vectors=few, work=tmp_path, threads=0)


def row(engine: str, share: float, p50: float, **more: Any) -> dict[str, Any]:
    usual = {"plan": "p", "recall_low": share, "p99_ms": p50, "qps": 1 / p50, "qps_2_threads": 1 / p50}
    usual |= {"choose": {"recall@10": share, "recall_low": share}, "screened": {"p50_ms": p50}}
    usual |= {"p50_items_ms": None, "p50_text_ms": None, "scenes": None}
    usual |= {"batch_qps": 1 / p50, "hot_bytes_per_item": None, "cold_bytes_per_item": 0.0, "build_s": 1.0}
    return {"engine": engine, "recall@10": share, "p50_ms": p50, "private_mb": None, **usual, **more}


def test_the_best_is_the_fastest_with_enough_recall() -> None:
    rows = [
        row("flat", 1, 8.0),
        row("a", 0.98, 1.0),
        row("a", 0.99, 2.0),
        row("a", 1.0, 4.0),
        row("b", 0.9, 1.0),
    ]
    best = search.best(rows, 0.99)
    assert set(best) == {"flat", "a"}
    assert (best["a"]["p50_ms"], best["a"]["times_flat"], best["a"]["batch_times_flat"]) == (2.0, 4.0, 4.0)


def test_the_front_has_no_row_that_another_beats() -> None:
    rows = [
        row("a", 0.9, 1.0),
        row("a", 0.95, 3.0),
        row("a", 0.97, 2.0),
        row("a", 0.97, 2.5),
        row("a", 1, 9.0),
    ]
    front = [(one["recall@10"], one["p50_ms"]) for one in plot.pareto(rows)]
    plain = sorted(
        (one["recall@10"], one["p50_ms"])
        for one in rows
        if not any(
            other["recall@10"] >= one["recall@10"] and other["p50_ms"] <= one["p50_ms"] and other is not one
            for other in rows
        )
    )
    assert front == plain == [(0.9, 1.0), (0.97, 2.0), (1, 9.0)]


def small_document() -> dict[str, Any]:
    rows = [row("flat", 1, 8.0), row("ours", 0.95, 0.5), row("ours", 0.995, 1.0), row("b", 0.9, 1.0)]
    packages = dict.fromkeys(machine.PACKAGES, "1.0")
    return {
        "environment": {**machine.environment(), "machine": "x86_64", "cpus": 2, "packages": packages},
        "data": {"items": 1000, "width": 32, "real_items": 1000},
        "model": "e08ff28e7f171709",
        "flat": None,
        "threads": 1,
        "target": 0.99,
        "bandwidth_gb_s": 12.0,
        "rows": rows,
        "best": search.best(rows, 0.99),
        "left_out": [{"engine": "scann", "reason": "not installed; pip install scann"}],
    }


def test_the_table_and_the_files_of_a_result(tmp_path: Path) -> None:
    from rich.console import Console

    document = small_document()
    console = Console(width=200, record=True, file=(tmp_path / "out").open("w"))
    console.print(report.table(document))
    text = console.export_text()
    console.file.close()
    named = [line.split()[0] for line in text.splitlines() if line.startswith((" ours", " flat"))]
    assert named == ["ours", "flat"], "the fastest first"
    assert "left out: scann: not installed; pip install scann" in text
    assert "b: no setting reached the target; the most was 0.9000" in text
    notes = report.save(document, tmp_path / "results")
    stored = tmp_path / "results" / "search-1000-x86_64-2cpu-faiss1.0.json"
    assert json.loads(stored.read_text()) == document
    assert any(str(stored) in note for note in notes)


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    try:
        plot.draw(small_document(), tmp_path / "picture.png")
    except MissingExtraError as error:
        assert "[lab]" in str(error)
    else:
        assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_a_missing_matplotlib_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    notes = report.save(small_document(), tmp_path)
    assert any("the picture needs the package 'matplotlib'" in note for note in notes)
    assert len(list(tmp_path.glob("*.json"))) == 1


def test_bandwidth_and_memory_are_measured() -> None:
    assert machine.bandwidth_gb_s(megabytes=8, repeats=1) > 0
    private = machine.private_bytes()
    if private is not None:
        held = np.ones(1 << 23, np.uint8)
        grown = machine.private_bytes()
        assert grown is not None and grown - private >= 0.9 * held.nbytes


# The command


def test_the_command(
    hivlp: Callable[..., Any], encoder: ColourEncoder, fakes: Path, few_plans: None, tmp_path: Path
) -> None:
    ran = hivlp(
        "bench", "search", "--items", 1000, "--only", "flat,ours", "--data", "scenes:150?size=16",
        "--query-count", 60, "--recall", 0.8, "--work", tmp_path / "work",
        "--out", tmp_path / "out", "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    document = ran.document
    assert set(document) >= {"environment", "data", "bandwidth_gb_s", "rows", "best", "left_out"}
    assert set(document["data"]["check"]["real"]) == set(document["data"]["check"]["from_1/2"])
    assert list((tmp_path / "out").glob("search-1000-*.json"))
    assert "flat 1/1" in ran.err
    assert hivlp("bench", "search", "--only", "nothing").code == 2
