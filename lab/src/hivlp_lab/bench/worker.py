"""One build of one engine, measured in a process of its own: ``python -m hivlp_lab.bench.worker JOB.json``.

So a crash ends this engine only, memory is that of this engine, and thread pools don't meet. Rows are written
as they come, one JSON line each; a second run measures only the settings whose rows are missing.

A setting is first screened with a few queries. It is measured whole unless its recall is far below the
target, or a clearly faster setting of the same build holds the target or finds more. Q queries, K results.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hivlp.encode import Encoder
from hivlp.encode import load as load_encoder
from hivlp.errors import ModelError
from hivlp.stores.local import LocalStore
from hivlp.types import FloatArray, IntArray
from hivlp_lab.bench import recall
from hivlp_lab.bench.engines import Build, Engine, load
from hivlp_lab.bench.machine import private_bytes
from hivlp_lab.bench.queries import CHOOSE, REPORT, SCENES
from hivlp_lab.bench.vectors import BenchVectors

K = 10
_WARM_UP = 50
_SCREENED_WITH = 200
_LONGEST_S = 20.0  # of a pass; slow engines get fewer queries
_THROUGHPUT_S = 3.0  # of a pass that measures throughput only
_LEAST_QUERIES = 50
_FAR_BELOW = 0.02  # recall, some six standard errors of a screening; such a setting can not hold the target
_CLEARLY = 1.2  # times as slow as another one
_AS_GOOD = 0.002  # recall
_WITH_TEXT = 200  # queries that are encoded, searched and have their items read

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Job:
    """The job of a worker; JSON-compatible.

    Attributes:
        place: where the engine's class is.
        stage: ``prepare`` or ``measure``.
        data: the folder of the vectors.
        folder: where the engine may write.
        out: the file that rows are added to, or the one for the seconds of a preparation.
        threads: that a batch uses.
        target: recall at which engines are compared.
        index: an index folder with the items of the vectors; None where no items are to be read.
    """

    place: str
    stage: str
    build: Build
    data: str
    folder: str
    out: str
    threads: int
    target: float = 0.99
    index: str | None = None


def environment(threads: int) -> dict[str, str]:
    """The environment of a worker; thread pools read it when their libraries are loaded."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        # Two pools of threads fight: faiss has OpenMP's, so BLAS gets none.
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        # Threads that wait must not spin: building takes all processors, and others may be at work on them.
        "OMP_WAIT_POLICY": "PASSIVE",
    }


def write_job(job: Job, path: Path) -> None:
    """Stores a job for `main`."""
    path.write_text(json.dumps(asdict(job)), encoding="utf-8")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows that were measured so far; a line that a kill cut off is left out."""
    rows: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def prepare(job: Job) -> dict[str, float]:
    """Runs an engine's preparation and returns the seconds of its parts."""
    folder = Path(job.folder)
    return load(job.place)(job.build, BenchVectors.open(Path(job.data)), folder, job.threads).prepare()


def measure(job: Job) -> None:
    """Builds, then measures each setting that has no row yet."""
    vectors = BenchVectors.open(Path(job.data))
    engine = load(job.place)(job.build, vectors, Path(job.folder), job.threads)
    queries = [engine.query(query_D) for query_D in vectors.queries_QD]
    rows = read_rows(Path(job.out))
    known = [row["setting"] for row in rows]
    before, begin = private_bytes(), time.perf_counter()
    parts = engine.build()
    built = {"build_s": time.perf_counter() - begin, "parts_s": parts}
    built["hot_bytes_per_item"] = _per_item(before, private_bytes(), len(vectors.items_ND))
    built["cold_bytes_per_item"] = engine.cold_bytes() / len(vectors.items_ND)
    user = AsUser.open(job, vectors)
    with Path(job.out).open("a", encoding="utf-8") as file:
        for setting in engine.settings():
            if setting in known:
                continue
            engine.use(setting)
            screened = screen(engine, queries, vectors)
            row: Row = {"setting": setting, "screened": screened}
            if is_worth_it(screened, rows, job.target):
                row |= {**measure_setting(engine, queries, vectors), **built}
                private = private_bytes()
                row["private_mb"] = None if private is None else private / 1e6
                if user is not None and is_fastest(row, rows, job.target, exact=engine.exact):
                    row |= user.times(engine, vectors)
            rows.append(row)
            file.write(json.dumps(row) + "\n")
            file.flush()
    engine.close()


def is_whole(row: Row) -> bool:
    """Whether a row is of a setting that was measured, not screened only."""
    return "p50_ms" in row


def holds(row: Row, target: float, *, exact: bool = False) -> bool:
    """Whether the lower bound of the recall on the queries to choose by meets the target, as for ``tune``."""
    return is_whole(row) and (exact or row["choose"]["recall_low"] >= target)


def is_worth_it(screened: Row, rows: Sequence[Row], target: float) -> bool:
    """Whether a screened setting may be the fastest of its build that holds the target."""
    return screened["recall@10"] >= target - _FAR_BELOW and not any(
        screened["p50_ms"] > _CLEARLY * row["screened"]["p50_ms"]
        and (
            row["choose"]["recall_low"] >= target
            or row["screened"]["recall@10"] >= screened["recall@10"] + _AS_GOOD
        )
        for row in rows
        if is_whole(row)
    )


def is_fastest(row: Row, rows: Sequence[Row], target: float, *, exact: bool) -> bool:
    """Whether a row is the fastest so far of those that hold the target."""
    others = (one["screened"]["p50_ms"] for one in rows if holds(one, target, exact=exact))
    return holds(row, target, exact=exact) and row["screened"]["p50_ms"] < min(others, default=np.inf)


def screen(engine: Engine, queries: Sequence[Any], vectors: BenchVectors) -> Row:
    """Recall and median time of a few of the queries to choose by."""
    some = slice(*vectors.part(CHOOSE).indices(len(queries))[:2])
    some = slice(some.start, min(some.stop, some.start + _SCREENED_WITH))
    found_QK, took_Q = _alone(engine, queries[some], warm_up=_WARM_UP)
    some = slice(some.start, some.start + len(took_Q))
    return {"recall@10": _recall(vectors, some, found_QK).mean, "p50_ms": _milliseconds(took_Q, 50)}


def measure_setting(engine: Engine, queries: Sequence[Any], vectors: BenchVectors) -> Row:
    """Recall and speed of what the engine was set to.

    The queries to report run one after the other, after a warm-up: recall and percentiles come from the same
    answers. Those to choose by are searched by two threads that send single queries, which gives the
    throughput. Last comes one batch.
    """
    report, choose, scenes = (vectors.part(name) for name in (REPORT, CHOOSE, SCENES))
    found_QK, took_Q = _alone(engine, queries[report], warm_up=_WARM_UP)
    share = _recall(vectors, slice(report.start, report.start + len(took_Q)), found_QK)
    affordable = _count_for(_LONGEST_S, float(took_Q.mean()))
    chosen_by = slice(choose.start, min(choose.stop, choose.start + affordable))
    chosen_QK, qps_2_threads = _by_threads(engine, queries[chosen_by])
    chosen = _recall(vectors, chosen_by, chosen_QK)
    row = {
        "recall@10": share.mean,
        "recall_low": share.low,
        "p50_ms": _milliseconds(took_Q, 50),
        "p99_ms": _milliseconds(took_Q, 99),
        "qps": len(took_Q) / float(took_Q.sum()),
        "qps_2_threads": qps_2_threads,
        "batch_qps": _batch_qps(engine, vectors.queries_QD[report], float(took_Q.mean())),
        "queries": len(took_Q),
        "choose": {"recall@10": chosen.mean, "recall_low": chosen.low, "queries": len(chosen_QK)},
    }
    if scenes.stop > scenes.start:
        found_QK, took_Q = _alone(engine, queries[scenes])
        of_scenes = _recall(vectors, slice(scenes.start, scenes.start + len(took_Q)), found_QK)
        row["scenes"] = {
            "recall@10": of_scenes.mean,
            "recall_low": of_scenes.low,
            "p50_ms": _milliseconds(took_Q, 50),
            "queries": len(took_Q),
        }
    return row


@dataclass(frozen=True)
class AsUser:
    """What somebody waits for who types a query: its encoding, the search, and the items of the hits."""

    store: LocalStore
    encoder: Encoder | None

    @classmethod
    def open(cls, job: Job, vectors: BenchVectors) -> AsUser | None:
        """With the index of the job; without the encoder if it is not the one of the vectors any more."""
        if job.index is None:
            return None
        try:
            encoder = load_encoder(vectors.about["model_name"], threads=job.threads)
        except (KeyError, ModelError):
            encoder = None
        known = encoder is not None and encoder.fingerprint == vectors.about["model"]
        return cls(LocalStore.open(job.index), encoder if known else None)

    def times(self, engine: Engine, vectors: BenchVectors) -> Row:
        """Median milliseconds with the items, and with items and encoding; None without an encoder."""
        part = vectors.part(REPORT)
        queries = [engine.query(query_D) for query_D in vectors.queries_QD[part][:_WITH_TEXT]]
        items_Q = _took(lambda query: engine.items(query, K, self.store), queries)
        row: Row = {"p50_items_ms": _milliseconds(items_Q, 50), "p50_text_ms": None}
        encoder = self.encoder
        if encoder is not None:

            def typed(text: str) -> None:
                engine.items(engine.query(encoder.encode_texts([text]).fine[0]), K, self.store)

            row["p50_text_ms"] = _milliseconds(_took(typed, vectors.texts[part][:_WITH_TEXT]), 50)
        return row


def _took(call: Callable[[Any], Any], arguments: Sequence[Any]) -> FloatArray:
    """Seconds of each call, after a few to warm up; stops when it takes too long in all."""
    for argument in arguments[:5]:
        call(argument)
    took: list[float] = []
    for argument in arguments:
        begin = time.perf_counter()
        call(argument)
        took.append(time.perf_counter() - begin)
        if len(took) >= _LEAST_QUERIES and sum(took) > _LONGEST_S:
            break
    return np.array(took)


def _alone(engine: Engine, queries: Sequence[Any], *, warm_up: int = 0) -> tuple[IntArray, FloatArray]:
    """Answers and seconds of single queries; of the first ones only where that takes too long."""
    begin = time.perf_counter()
    for query in queries[:warm_up]:
        engine.search(query, K)
        if time.perf_counter() - begin > _THROUGHPUT_S:
            break
    found_QK = np.full((len(queries), K), -1, np.int64)
    took: list[float] = []
    for number, query in enumerate(queries):
        begin = time.perf_counter()
        rows_K = engine.search(query, K)
        took.append(time.perf_counter() - begin)
        found_QK[number, : len(rows_K)] = rows_K
        if len(took) >= _LEAST_QUERIES and sum(took) > _LONGEST_S:
            break
    return found_QK[: len(took)], np.array(took)


def _by_threads(engine: Engine, queries: Sequence[Any], threads: int = 2) -> tuple[IntArray, float]:
    """Answers of all queries, and queries a second."""
    found_QK = np.full((len(queries), K), -1, np.int64)

    def run(numbers: Sequence[int]) -> None:
        for number in numbers:
            rows_K = engine.search(queries[number], K)
            found_QK[number, : len(rows_K)] = rows_K

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run, [range(min(threads, len(queries)))] * threads))  # the threads are there, and warm
        begin = time.perf_counter()
        list(pool.map(run, [range(n, len(queries), threads) for n in range(threads)]))
        return found_QK, len(queries) / (time.perf_counter() - begin)


def _batch_qps(engine: Engine, queries_QD: FloatArray, single_s: float) -> float:
    queries_QD = queries_QD[: _count_for(_THROUGHPUT_S, single_s)]
    engine.search_batch(queries_QD[:32], K)
    begin = time.perf_counter()
    engine.search_batch(queries_QD, K)
    return len(queries_QD) / (time.perf_counter() - begin)


def _recall(vectors: BenchVectors, part: slice, found_QK: IntArray) -> recall.Recall:
    truth = recall.Truth(vectors.truth.rows_QK[part], vectors.truth.tenth_Q[part])
    return recall.summary(recall.shares(vectors.items_ND, vectors.queries_QD[part], found_QK, truth))


def _milliseconds(took_Q: FloatArray, percentile: float) -> float:
    return float(np.percentile(took_Q, percentile)) * 1e3


def _count_for(seconds: float, single_s: float) -> int:
    return max(_LEAST_QUERIES, int(seconds / max(single_s, 1e-9)))


def _per_item(before: int | None, after: int | None, count: int) -> float | None:
    return None if before is None or after is None else max(0, after - before) / count


def main(arguments: Sequence[str]) -> int:
    """Runs the job of a file."""
    job = Job(**_mapping(Path(arguments[0])))
    if job.stage == "prepare":
        Path(job.out).write_text(json.dumps(prepare(job)), encoding="utf-8")
    else:
        measure(job)
    return 0


def _mapping(path: Path) -> Mapping[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
