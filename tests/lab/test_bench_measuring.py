"""What a row says: p50 is the median, one half chooses, and other code or models are measured anew."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import hivlp
from fakes import ColourEncoder
from hivlp.types import Item
from hivlp_lab.bench import engines, machine, provenance, search, vectors, worker
from hivlp_lab.bench.ours import Ours
from hivlp_lab.bench.queries import QuerySet
from hivlp_lab.bench.search import Suite
from index_tools import unit

WIDTHS = (8, 32)


def made(folder: Path, *, model: str = "m" * 16, scenes: int = 0) -> vectors.BenchVectors:
    rng = np.random.default_rng(0)
    sets = {
        name: QuerySet([f"{name} {n}" for n in range(count)], unit(rng.standard_normal((count, 32))))
        for name, count in (("choose", 40), ("report", 60), ("scenes", scenes))
        if count
    }
    about = {"key": "test", "model": model, "real_items": 400, "widths": list(WIDTHS)}
    return vectors.write(folder, unit(rng.standard_normal((400, 32))), sets, items=400, about=about)


class Clock:
    """A clock that only a search moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


class Timed(engines.Base):
    """Knows the right rows, loses some in one set of the queries, and takes a known time for each."""

    def __init__(self, data: vectors.BenchVectors, clock: Clock, *, lost_in: str, lost: int) -> None:
        super().__init__({}, data, Path(), 1)
        self.clock, self.lost, self.lost_part = clock, lost, data.part(lost_in)

    def query(self, query_D: np.ndarray) -> int:
        return int(np.flatnonzero((self.vectors.queries_QD == query_D).all(1))[0])

    def search(self, query: int, k: int) -> np.ndarray:
        report = self.vectors.part("report")
        place = query - report.start if report.start <= query < report.stop else 0
        self.clock.now += 1e-3 * (1 + place)  # the queries to report take 1, 2, …, 60 ms
        rows_K = self.vectors.truth.rows_QK[query][:k].copy()
        if self.lost_part.start <= query < self.lost_part.stop:
            rows_K[: self.lost] = -1
        return rows_K

    def search_batch(self, queries_QD: np.ndarray, k: int) -> np.ndarray:
        return np.stack([self.search(self.query(query_D), k) for query_D in queries_QD])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(worker, "time", clock)
    return clock


def measured(tmp_path: Path, clock: Clock, *, lost_in: str, lost: int = 5) -> dict[str, Any]:
    data = made(tmp_path / "v", scenes=10)
    engine = Timed(data, clock, lost_in=lost_in, lost=lost)
    return worker.measure_setting(engine, [*range(len(data.queries_QD))], data)


def test_p50_is_the_median_and_p99_the_99th_percentile(tmp_path: Path, clock: Clock) -> None:
    row = measured(tmp_path, clock, lost_in="choose")
    assert row["p50_ms"] == pytest.approx(30.5) and row["p99_ms"] == pytest.approx(59.41)
    assert row["qps"] == pytest.approx(1e3 * 60 / sum(range(1, 61)))
    assert row["queries"] == 60


@pytest.mark.parametrize("lost_in", ["choose", "report", "scenes"])
def test_every_set_has_a_recall_of_its_own(tmp_path: Path, clock: Clock, lost_in: str) -> None:
    row = measured(tmp_path, clock, lost_in=lost_in)
    found = {"choose": row["choose"]["recall@10"], "report": row["recall@10"]}
    found["scenes"] = row["scenes"]["recall@10"]
    assert found == pytest.approx({name: 0.5 if name == lost_in else 1 for name in found})
    assert row["choose"]["queries"] == 40 and row["scenes"]["queries"] == 10


def test_a_slow_engine_is_measured_with_fewer_queries(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_LONGEST_S", 0.01)
    monkeypatch.setattr(worker, "_LEAST_QUERIES", 20)
    row = measured(tmp_path, clock, lost_in="choose")
    assert row["queries"] == 20 and row["recall@10"] == 1 and row["p50_ms"] == pytest.approx(10.5)


def row_of(recall: float, low: float, p50: float) -> dict[str, Any]:
    return {
        "setting": {},
        "screened": {"recall@10": recall, "p50_ms": p50},
        "choose": {"recall@10": recall, "recall_low": low},
        "p50_ms": p50,
    }


def test_the_plan_is_chosen_by_the_lower_bound_on_the_half_to_choose_by() -> None:
    usual = {"engine": "a", "plan": "", "batch_qps": 1.0}
    lucky = {**usual, **row_of(0.991, 0.985, 1.0), "recall@10": 1.0, "recall_low": 0.995, "build_number": 1}
    honest = {**usual, **row_of(0.996, 0.991, 2.0), "recall@10": 0.98, "recall_low": 0.97, "build_number": 2}
    slower = {**usual, **row_of(0.999, 0.996, 3.0), "recall@10": 1.0, "recall_low": 0.995, "build_number": 3}
    slower["p50_ms"] = 0.5  # on the half to report, which must not choose
    best = search.best([lucky, honest, slower], 0.99)["a"]
    assert best["build_number"] == 2
    assert (best["recall@10"], best["recall_low"]) == (0.98, 0.97), "what is reported is of the other half"


def test_only_settings_that_can_not_win_are_left_at_screening() -> None:
    holds, below = row_of(0.996, 0.991, 1.0), row_of(0.9895, 0.985, 1.0)

    def is_worth_it(recall: float, p50: float, *rows: dict[str, Any]) -> bool:
        return worker.is_worth_it({"recall@10": recall, "p50_ms": p50}, rows, 0.99)

    assert not is_worth_it(0.96, 0.1), "far below the target"
    assert is_worth_it(0.98, 9.0)
    assert not is_worth_it(0.999, 2.0, holds), "slower than one that holds the target"
    assert is_worth_it(0.996, 1.1, holds), "perhaps as fast"
    assert is_worth_it(0.996, 2.0, below) and not is_worth_it(0.987, 2.0, below)
    assert is_worth_it(0.9895, 2.0, below), "the few queries of a screening can hide that it finds more"
    assert is_worth_it(0.996, 2.0, {"setting": {}, "screened": holds["screened"]}), "only screened itself"


def test_times_of_a_user_hold_the_items_and_the_encoding(tmp_path: Path, clock: Clock) -> None:
    class Slow(ColourEncoder):
        def encode_texts(self, texts: Sequence[str]) -> Any:
            clock.now += 0.1
            numbers.append(int(texts[0].split()[1]))
            fine = data.queries_QD[data.part("report")][numbers[-1]][None]
            return type("Found", (), {"fine": fine})

    class Store:
        def items_of(self, rows: Sequence[int]) -> list[Item]:
            clock.now += 0.01
            read.append(list(rows))
            return [Item(id=str(row), uri="", caption="", meta={}) for row in rows]

    numbers: list[int] = []
    read: list[list[int]] = []
    data = made(tmp_path / "v")
    engine = Timed(data, clock, lost_in="choose", lost=5)
    store: Any = Store()
    times = worker.AsUser(store, Slow()).times(engine, data)
    assert times == pytest.approx({"p50_items_ms": 40.5, "p50_text_ms": 140.5})
    assert read[-1] == data.truth.rows_QK[data.part("report").stop - 1].tolist()
    assert worker.AsUser(store, None).times(engine, data)["p50_text_ms"] is None


def test_ours_gives_items_by_the_search_of_the_store(tmp_path: Path) -> None:
    data = made(tmp_path / "v")
    plan = {"coarse": "exact", "candidates": 200}
    engine = Ours({"plans": [plan]}, data, tmp_path, 1)
    engine.prepare()
    engine.build()
    query = engine.query(data.queries_QD[0])
    hits = [*engine.items(query, 10, engine.store)]
    assert [int(hit.id) for hit in hits] == engine.search(query, 10).tolist()
    assert hits[0].caption == f"picture {hits[0].id}"
    engine.close()


# A number belongs to a model and to code


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """What the engine ``careful``, the only one beside flat, did."""
    monkeypatch.setitem(engines.ENGINES, "careful", "bench_fakes:Careful")
    ended = SimpleNamespace(returncode=0, stderr="")

    def in_this_process(command: list[str], **options: Any) -> Any:
        worker.main([command[-1]])
        return ended

    monkeypatch.setattr(search.subprocess, "run", in_this_process)  # test_bench.py has real ones
    monkeypatch.setenv("BENCH_LOG", str(tmp_path / "log"))
    monkeypatch.setattr(machine, "bandwidth_gb_s", lambda: 10.0)
    monkeypatch.setattr(search.Suite, "_index", lambda self: (None, None))
    yield tmp_path / "log"


def test_rows_of_another_model_or_of_other_code_are_measured_anew(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(model: str) -> dict[str, Any]:
        log.write_text("")
        data = made(tmp_path / model, model=model)
        return Suite(vectors=data, work=tmp_path, names=["careful"], target=0.9).run()

    first = run("a" * 16)
    assert "build" in log.read_text()
    assert run("a" * 16)["rows"] == first["rows"] and log.read_text() == ""
    other = run("b" * 16)
    assert "build" in log.read_text(), "another model"
    assert first["model"] == "a" * 16 == first["rows"][0]["model"]
    assert other["model"] == "b" * 16 == other["rows"][0]["model"]
    monkeypatch.setattr(provenance, "library_code", lambda parts: "changed")
    changed = run("b" * 16)
    assert "build" in log.read_text(), "other code"
    assert changed["rows"][0]["code"] != other["rows"][0]["code"] and changed["code"] != other["code"]


@pytest.mark.parametrize("part", provenance.SEARCHING)
def test_the_code_of_every_part_of_a_search_counts(part: str, tmp_path: Path) -> None:
    for name in provenance.SEARCHING:
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "code.py").write_text("x = 1\n")
    before = provenance.library_code(provenance.SEARCHING, root=tmp_path)
    assert before == provenance.library_code(provenance.SEARCHING, root=tmp_path)
    (tmp_path / part / "deep" / "code.py").write_text("x = 2\n")
    assert provenance.library_code(provenance.SEARCHING, root=tmp_path) != before


def test_parts_whose_code_counts_are_there() -> None:
    library = Path(hivlp.__file__).parent
    assert all(any((library / part).rglob("*.py")) for part in (*provenance.SEARCHING, *provenance.ENCODING))
    bench = Path(provenance.__file__).parent
    assert all((bench / name).is_file() for name in (*provenance.MADE, *provenance.MEASURED))


def test_vectors_of_another_model_are_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos, folders = tmp_path / "photos", []
    photos.mkdir()
    for number in range(110):
        Image.new("RGB", (16, 16), (number, 0, 0)).save(photos / f"{number}.png")
    for fingerprint in ("colours-1", "colours-2", "colours-2"):
        encoder = ColourEncoder("mini", fingerprint=fingerprint)
        monkeypatch.setattr(vectors, "load", lambda model, encoder=encoder: encoder)
        asked: dict[str, Any] = {"queries": ["scenes:60?size=16"], "query_count": 20, "seed": 0}
        found = vectors.prepare([str(photos)], items=110, work=tmp_path, **asked)
        assert found.about["model"] == fingerprint and len(found.about["code"]) == 16
        folders.append((found.folder, encoder.pictures_seen))
    (first, seen), (second, seen_again), (third, reused) = folders
    assert first != second == third and (seen, seen_again, reused) == (110, 110, 0)
    for path in (tmp_path / "embeddings").glob("*/source.json"):
        assert set(json.loads(path.read_text())) == {"source", "split", "model", "code"}


def test_a_flat_search_far_below_the_bandwidth_is_measured_again_and_said(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(engines.ENGINES, "flat", "bench_fakes:CarefulFlat")
    monkeypatch.setattr(search, "_FLAT_FROM_BYTES", 0)
    suite = Suite(vectors=made(tmp_path / "v"), work=tmp_path, names=["flat"], target=0.9)
    monkeypatch.setattr(machine, "bandwidth_gb_s", lambda: 1e-9)
    calm = suite.run()
    assert log.read_text().split().count("build") == 1
    assert calm["flat"]["slow"] is False and calm["flat"]["measured"] == 1
    monkeypatch.setattr(machine, "bandwidth_gb_s", lambda: 1e9)
    disturbed = suite.run()
    assert log.read_text().split().count("build") == 3, "two times more"
    assert disturbed["flat"]["slow"] is True and disturbed["flat"]["measured"] == 3
    assert disturbed["rows"][0]["p50_ms"] <= calm["rows"][0]["p50_ms"], "the fastest stays"
    scanned = 400 * 32 * 4
    assert disturbed["flat"]["gb_s"] == pytest.approx(scanned / disturbed["rows"][0]["p50_ms"] / 1e6)
