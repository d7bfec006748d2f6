"""The table of speed: what a run promises, that it goes on where it stopped, and how it is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from hivlp.cli.main import main  # noqa: E402
from hivlp.errors import QueryError  # noqa: E402
from hivlp.search.plan import Plan  # noqa: E402
from hivlp_lab.speed import chart, claims, fusion, pools, report, searches  # noqa: E402
from hivlp_lab.speed import run as speed  # noqa: E402
from hivlp_lab.speed.clock import TimeLimit, medians  # noqa: E402
from hivlp_lab.speed.ledger import Ledger  # noqa: E402
from hivlp_lab.speed.pools import NARROW, WIDE, Pool, PoolSource  # noqa: E402
from hivlp_lab.speed.run import Speed  # noqa: E402
from index_tools import unit  # noqa: E402

CONTRACT = {
    "direction",
    "candidates",
    "encode_ms",
    "search_ms",
    "total_ms",
    "uniter_ms",
    "lightningdot_ms",
    "factor_over_uniter",
    "factor_over_lightningdot",
    "macs",
}
SYSTEMS = [
    "uniter-base",
    "meter-384",
    "lightningdot",
    "lightningdot-hnsw",
    "hivlp",
    "hivlp-compact",
    "hivlp-compact+uniter-10",
    "hivlp-compact+uniter-20",
    "hivlp-compact+uniter-50",
]


def some(count: int, *, seed: int = 0) -> np.ndarray:
    """Unit vectors around some centres, 128 wide."""
    rng = np.random.default_rng(seed)
    centres_CD = np.random.default_rng(5).standard_normal((30, 128)) * np.linspace(1, 0.1, 128)
    return unit(centres_CD[rng.integers(0, 30, count)] + 0.3 * rng.standard_normal((count, 128)))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors at once instead of drawn and encoded scenes; few queries; the graph is left small."""
    monkeypatch.setattr(PoolSource, "_pictures", lambda *_, unseen: some(300))
    monkeypatch.setattr(PoolSource, "_captions", lambda *_, unseen: some(300, seed=1))
    monkeypatch.setattr(pools, "_TUNING", 60)
    monkeypatch.setattr(searches, "GRAPH_UP_TO", 200)


def suite(work: Path, **changes: Any) -> Speed:
    values: dict[str, Any] = {
        "pools": [200],
        "small": True,
        "effort": TimeLimit(most=3, seconds=0.2),
        "seconds": 0.5,
    }
    return Speed(source=PoolSource(work=work, queries=50), **{**values, **changes})


@pytest.fixture
def document(drawn: None, tmp_path: Path) -> dict[str, Any]:
    return suite(tmp_path).run()


def test_rows_hold_what_the_contract_says(document: dict[str, Any]) -> None:
    assert json.loads(json.dumps(document)) == document
    found = [(row["direction"], row["candidates"], row["system"]) for row in document["rows"]]
    wanted = [("text_to_image", 200, name) for name in SYSTEMS]
    equal = [name for name in SYSTEMS if "-hnsw" not in name and "compact" not in name]
    wanted += [("image_to_text", 1000, name) for name in equal]
    assert found == wanted
    for row in document["rows"]:
        assert row.keys() >= CONTRACT
        assert row["factor_over_uniter"] == pytest.approx(row["uniter_ms"] / row["total_ms"])
        assert row["factor_over_lightningdot"] == pytest.approx(row["lightningdot_ms"] / row["total_ms"])
        assert row["total_ms"] > 0 and row["macs"] > 0


def test_a_fusion_model_pays_for_every_pair(document: dict[str, Any]) -> None:
    for row in document["rows"]:
        cost = document["fusion"][row["device"]].get(row["system"])
        if cost is None:
            continue
        assert row["macs"] == row["candidates"] * cost["macs"]
        if row["estimated"]:
            assert row["total_ms"] == pytest.approx(row["candidates"] * cost["ms"])
            assert f"{row['candidates']:,} pairs" in row["how"]
    by_direction = {row["direction"]: row for row in document["rows"] if row["system"] == "uniter-base"}
    assert not by_direction["text_to_image"]["estimated"], "what is affordable is run"
    assert by_direction["image_to_text"]["estimated"]


def test_our_search_keeps_its_recall_and_reranking_costs_its_depth(document: dict[str, Any]) -> None:
    rows = {row["system"]: row for row in document["rows"] if row["direction"] == "text_to_image"}
    assert rows["lightningdot"]["recall"] == 1
    assert rows["hivlp"]["recall"] > 0.95
    assert rows["hivlp-compact"]["plan"] == rows["hivlp"]["plan"]
    ten, fifty = rows["hivlp-compact+uniter-10"], rows["hivlp-compact+uniter-50"]
    assert ten["plan"]["rerank"] == 10 and fifty["plan"]["rerank"] == 50
    pair = document["fusion"]["cpu"]["uniter-base"]["macs"]
    assert fifty["macs"] - ten["macs"] >= 40 * pair


def test_a_second_run_measures_nothing_again(
    document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PoolSource, "pool", lambda *_: pytest.fail("a pool was opened"))
    monkeypatch.setattr(fusion, "cost", lambda *_, **__: pytest.fail("a pair was timed"))
    again = suite(tmp_path).run()
    assert again["rows"] == document["rows"]


def test_a_stopped_run_goes_on(drawn: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(searches, "cascade", stop)
        with pytest.raises(KeyboardInterrupt):
            suite(tmp_path).run()
    said: list[str] = []
    suite(tmp_path, say=said.append).run()
    names = [message for message in said if "text_to_image" in message and message.startswith("cpu")]
    assert names and not any("lightningdot" in name for name in names), "those were measured before"
    assert any("hivlp-compact" in name for name in names)


def test_a_line_that_was_cut_off_is_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    Ledger(path).get("a", lambda: 1)
    with path.open("a") as file:
        file.write('\n{"name": "b", "val')
    ledger = Ledger(path)
    assert "a" in ledger and "b" not in ledger
    assert ledger.get("b", lambda: 2) == 2 and ledger.get("a", lambda: 3) == 1
    assert "b" in Ledger(path), "what was cut off does not spoil what follows"


def test_what_others_disturbed_is_told_and_can_be_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = iter([(0.0, 0.0, 0.0), (10.0, 8.0, 5.0), (20.0, 14.0, 10.0), (30.0, 19.0, 15.0)])
    monkeypatch.setattr("hivlp_lab.speed.ledger._processor_seconds", lambda: next(moments))
    ledger = Ledger(tmp_path / "kept.jsonl")
    assert ledger.get("loud", lambda: 1) == 1 and ledger.get("quiet", lambda: 2) == 2
    assert ledger.disturbed() == {"loud": pytest.approx(0.3)}  # 8 s were busy and 5 of them ours, of 10 s
    assert "loud" in Ledger(tmp_path / "kept.jsonl")
    again = Ledger(tmp_path / "kept.jsonl", again=True)
    assert "quiet" in again and "loud" not in again


def test_what_others_disturbed_is_measured_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = iter([0.5, 0.3, 0.02, 0.4, 0.6, 0.2])
    monkeypatch.setattr("hivlp_lab.speed.ledger._share_of_others", lambda *_: next(shares))
    ledger, values = Ledger(tmp_path / "kept.jsonl"), iter(range(10))
    assert ledger.get("quiet in the end", lambda: next(values), retries=5) == 2
    assert ledger.get("always disturbed", lambda: next(values), retries=2) == 5, "the quietest counts"
    assert ledger.disturbed() == {"always disturbed": pytest.approx(0.2)}


def test_a_row_of_another_model_is_not_used_again(
    document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = speed.load("mini")
    other = SimpleNamespace(fingerprint="another", encode_texts=encoder.encode_texts)
    before = suite(tmp_path).ledger._path
    monkeypatch.setattr(speed, "load", lambda name: other)
    assert suite(tmp_path).ledger._path != before
    monkeypatch.undo()
    monkeypatch.setattr(speed, "library_code", lambda parts: "other code")
    assert suite(tmp_path).ledger._path != before


def test_a_pool_too_large_for_the_memory_is_left_out(
    drawn: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed.machine, "available_gb", lambda: 0.005)
    found = suite(tmp_path).run()
    assert {row["direction"] for row in found["rows"]} == {"text_to_image"}
    assert [(one["direction"], one["candidates"]) for one in found["left_out"]] == [("image_to_text", 1000)]


def test_too_small_a_pool_says_why(tmp_path: Path) -> None:
    with pytest.raises(QueryError, match=r"pools=5 is invalid: .* at least 100 pictures\. Try 1000"):
        suite(tmp_path, pools=[5])


# Pools and searches


@pytest.fixture
def pool(drawn: None, tmp_path: Path) -> Iterator[Pool]:
    yield PoolSource(work=tmp_path, queries=50).pool("text_to_image", 700)


def test_a_pool_is_the_real_rows_and_grown_ones(pool: Pool) -> None:
    wide_ND = pool.wide()
    assert wide_ND.shape == (700, WIDE)
    real_RD = np.unique(some(300), axis=0)
    # the rotation into the wider space keeps every cosine
    narrow_ND = np.asarray(pool.view.level(NARROW), np.float32)
    prefixes_RD = unit(real_RD[:, :NARROW])
    best_R = (prefixes_RD @ narrow_ND[:300].T).argmax(1)
    assert sorted(best_R.tolist()) == list(range(300))
    np.testing.assert_allclose(wide_ND[best_R] @ wide_ND[best_R].T, real_RD @ real_RD.T, atol=3e-3)


def test_searches_agree_with_a_sort(pool: Pool) -> None:
    scores_QN = pool.queries[WIDE] @ pool.wide().T
    exact, ours, graph = searches.flat(pool), searches.cascade(pool), searches.graph(pool)
    for turn in range(20):
        assert set(exact(turn)) == set(np.argsort(-scores_QN[turn])[:10])
    assert searches.recall(exact, exact, 20) == 1
    assert searches.recall(ours, exact, 40) > 0.95
    assert searches.recall(graph, exact, 40) > 0.95


def test_a_reranked_search_returns_what_the_function_likes(pool: Pool) -> None:
    spent: list[float] = []
    found = searches.cascade(
        pool, rerank=lambda query, rows: -rows.astype(float), depth=50, spent=spent.append
    )(0)
    assert found.tolist() == sorted(found.tolist()) and len(found) == 10 and len(spent) == 1


def test_reranking_keeps_enough_rows() -> None:
    plan = Plan(coarse="exact", candidates=20, stages=((64, 15),))
    deeper = searches.reranking(plan, 50)
    assert (deeper.candidates, deeper.stages, deeper.rerank) == (50, ((64, 50),), 50)
    assert searches.reranking(Plan(candidates="all"), 50).candidates == "all"


def test_multiply_adds_of_a_search_by_hand() -> None:
    assert searches.search_macs(Plan(candidates="all"), 1000) == 1000 * (64 + 768)
    assert searches.search_macs(Plan(coarse="exact", candidates=20), 1000) == 1000 * 64 + 20 * 768
    ivf = Plan(coarse="ivf", coarse_width=768, dims=48, lists=10, nprobe=2, candidates=20)
    assert searches.search_macs(ivf, 1000) == 768 * 48 + 48 * (10 + 200) + 20 * 768
    staged = Plan(coarse="exact", candidates=100, stages=((64, 20),))
    assert searches.search_macs(staged, 1000) == 1000 * 64 + 100 * 64 + 20 * 768


# Fusion models


def test_the_cost_of_a_pair_is_the_best_of_what_was_tried() -> None:
    found = fusion.cost(fusion.SMALL_MODELS["uniter-base"], "cpu", batches=(1, 4), seconds=5)
    times = {(batch, name): ms for name, row in found["tried"].items() for batch, ms in row.items()}
    assert {batch for batch, name in times if name == "float32"} == {"1", "4"}
    assert found["ms"] == min(times.values())
    assert times[str(found["batch"]), found["precision"]] == found["ms"]


def test_batches_that_take_too_long_are_not_tried() -> None:
    found = fusion.cost(fusion.SMALL_MODELS["uniter-base"], "cpu", batches=(1, 400), seconds=1e-6)
    assert all(row.keys() == {"1"} for row in found["tried"].values())


def test_a_reranker_scores_rows_as_the_model_does_one_by_one() -> None:
    reranker = fusion.TimedReranker(fusion.SMALL_MODELS["uniter-base"], "cpu", "float32", pictures=8)
    rows = np.array([3, 11, 5])
    scores_K = reranker(0, rows)
    assert scores_K[0] == pytest.approx(scores_K[1], abs=1e-5), "rows 3 and 11 share their features"
    assert [float(reranker(0, rows[place : place + 1])[0]) for place in range(3)] == pytest.approx(
        scores_K.tolist(), abs=1e-5
    )


def test_rounds_time_steps_and_their_sum() -> None:
    seen: list[tuple[str, int]] = []
    parts, total, rounds = medians(
        [lambda turn: seen.append(("a", turn)), lambda turn: seen.append(("b", turn))],
        TimeLimit(most=4, seconds=60),
    )
    assert rounds == 4 and len(parts) == 2 and total > 0
    assert seen[:2] == [("a", -3), ("b", -3)] and seen[-1] == ("b", 3)


# The command and what is written


def test_the_command_ends_with_one_document(
    drawn: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    place = [f"--work={tmp_path}/work", f"--out={tmp_path}/out", "--queries=50"]
    assert main(["reproduce", "speed", "--pools", "200", "--small", "--json", *place]) == 0
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert all(row.keys() >= CONTRACT for row in printed["rows"])
    written = sorted(path.suffix for path in (tmp_path / "out").iterdir())
    assert written == [".json", ".png"]
    assert main(["reproduce", "speed", "--pools", "200", "--small", *place]) == 0
    assert "LightningDOT, flat" in capsys.readouterr().out


def test_the_command_refuses_what_is_no_number(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "speed", "--pools", "1000,many"]) == 2
    assert "--pools '1000,many' is invalid" in capsys.readouterr().err


def test_markdown_tells_rows_conditions_and_targets(document: dict[str, Any]) -> None:
    row = dict(next(row for row in document["rows"] if row["system"] == "hivlp-compact"))
    row |= {"candidates": 1000, "factor_over_uniter": 20_000.0, "factor_over_lightningdot": 1.5}
    reached = {one["what"]: (one["met"], one["goal_met"]) for one in claims.targets([row])}
    assert reached == {"factor_over_uniter": (True, True), "factor_over_lightningdot": (False, False)}
    text = report.markdown({**document, "targets": claims.targets([row])}, "results/x.json")
    assert (
        "`hivlp reproduce speed --data scenes:5000 --pools 200` on" in text
        and "[all numbers](results/x.json)" in text
    )
    assert "| 1.5 | **missed** | **missed** |" in text
    assert text.count("| **HiVLP**, text tower of mini |") == 1
    assert "LightningDOT, HNSW, image → text, 1,000 candidates: building its graph" in text
    assert f"fingerprint `{document['model']}`" in text
    for line in text.splitlines():
        if line.startswith("| 200 |"):
            assert line.count("|") == len(report.HEADINGS) + 1


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [(0.2714, "0.271 ms"), (61_000, "61 s"), (250_000, "4.17 min"), (3e8, "3.47 days")],
)
def test_durations_are_told_in_a_fitting_unit(milliseconds: float, words: str) -> None:
    assert report.duration(milliseconds) == words


def test_the_picture_is_drawn(document: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    chart.draw(document, tmp_path / "speed.png")
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")
