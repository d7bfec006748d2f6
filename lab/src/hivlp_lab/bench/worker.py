"""One build of one engine, measured in a process of its own: ``python -m hivlp_lab.bench.worker JOB.json``.

So a crash ends this engine only, memory is that of this engine, and thread pools don't meet. Rows are written
as they come, one JSON line each; a second run measures only the settings whose rows are missing.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hivlp.types import FloatArray
from hivlp_lab.bench import recall
from hivlp_lab.bench.engines import Build, Engine, load
from hivlp_lab.bench.machine import private_bytes
from hivlp_lab.bench.vectors import BenchVectors

K = 10
_WARM_UP = 100
_LONGEST_S = 10.0  # of the passes that measure throughput only; slow engines get fewer queries there


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
    """

    place: str
    stage: str
    build: Build
    data: str
    folder: str
    out: str
    threads: int


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
    known = [row["setting"] for row in read_rows(Path(job.out))]
    before, begin = private_bytes(), time.perf_counter()
    parts = engine.build()
    built = {"build_s": time.perf_counter() - begin, "parts_s": parts}
    built["hot_bytes_per_item"] = _per_item(before, private_bytes(), len(vectors.items_ND))
    built["cold_bytes_per_item"] = engine.cold_bytes() / len(vectors.items_ND)
    with Path(job.out).open("a", encoding="utf-8") as file:
        for setting in engine.settings():
            if setting in known:
                continue
            engine.use(setting)
            row = {"setting": setting, **measure_setting(engine, queries, vectors), **built}
            private = private_bytes()
            row["private_mb"] = None if private is None else private / 1e6
            file.write(json.dumps(row) + "\n")
            file.flush()
    engine.close()


def measure_setting(engine: Engine, queries: Sequence[Any], vectors: BenchVectors) -> dict[str, float]:
    """Recall and speed of what the engine was set to.

    Queries run one after the other, after a warm-up: recall and percentiles come from the
    same answers. Throughput is then measured by two threads that ask single queries, and by one batch of all.
    """
    for query in queries[:_WARM_UP]:
        engine.search(query, K)
    found_QK = np.full((len(queries), K), -1, np.int64)
    took_Q = np.empty(len(queries))
    for number, query in enumerate(queries):
        begin = time.perf_counter()
        rows_K = engine.search(query, K)
        took_Q[number] = time.perf_counter() - begin
        found_QK[number, : len(rows_K)] = rows_K
    share = recall.summary(recall.shares(vectors.items_ND, vectors.queries_QD, found_QK, vectors.truth))
    affordable = max(50, int(_LONGEST_S / took_Q.mean()))
    return {
        "recall@10": share.mean,
        "recall_low": share.low,
        "p50_ms": float(np.percentile(took_Q, 50)) * 1e3,
        "p99_ms": float(np.percentile(took_Q, 99)) * 1e3,
        "qps": len(queries) / float(took_Q.sum()),
        "qps_2_threads": _threaded_qps(engine, queries[:affordable]),
        "batch_qps": _batch_qps(engine, vectors.queries_QD[:affordable]),
        "queries": len(queries),
    }


def _threaded_qps(engine: Engine, queries: Sequence[Any], threads: int = 2) -> float:
    def ask(mine: Sequence[Any]) -> None:
        for query in mine:
            engine.search(query, K)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(ask, [queries[:threads]] * threads))  # the threads are there, and warm
        begin = time.perf_counter()
        list(pool.map(ask, [queries[n::threads] for n in range(threads)]))
        return len(queries) / (time.perf_counter() - begin)


def _batch_qps(engine: Engine, queries_QD: FloatArray) -> float:
    engine.search_batch(queries_QD[:32], K)
    begin = time.perf_counter()
    engine.search_batch(queries_QD, K)
    return len(queries_QD) / (time.perf_counter() - begin)


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
