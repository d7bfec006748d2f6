"""The suite: it measures the engines in turn and collects their rows into a result.

Rows are kept in the work folder, by vectors, model, threads, target, engine and the code that matters: a run
that was stopped goes on, and a row of another model or of other code is never used again.
"""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import hivlp
from hivlp.errors import QueryError
from hivlp_lab.bench import machine, provenance, worker
from hivlp_lab.bench.engines import ENGINES, Base, Build, Engine, load, missing, selected, words
from hivlp_lab.bench.ours import INDEX, Ours
from hivlp_lab.bench.vectors import BenchVectors, Say

ResultRow = dict[str, Any]
OURS = ENGINES["ours"]
LEAST_SHARE = 0.5
"""Share of the measured bandwidth below which a flat search must have been disturbed: usual is 0.7 to 0.9."""
_SPECS = ("sources", "queries")
_FLAT_AGAIN = 2
_FLAT_FROM_BYTES = 1 << 27  # smaller arrays lie in the caches, and calls cost more than reading
_BEST = (
    "plan",
    "build_number",
    "recall@10",
    "recall_low",
    "choose",
    "scenes",
    "p50_ms",
    "p50_items_ms",
    "p50_text_ms",
    "p99_ms",
    "qps",
    "qps_2_threads",
    "batch_qps",
)
_BEST_COST = ("hot_bytes_per_item", "cold_bytes_per_item", "private_mb", "build_s")


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A run over some vectors.

    Attributes:
        names: the engines, all for none.
        threads: that a batch, and the inside of a single search, may use.
        target: recall@10 at which engines are compared.
        work: folder of everything that can be used again.
    """

    vectors: BenchVectors
    work: Path
    names: Sequence[str] = ()
    threads: int = 1
    target: float = 0.99
    say: Say = lambda message: None

    def __post_init__(self) -> None:
        if not 0 < self.target <= 1:
            raise QueryError(f"recall={self.target} is invalid: must be above 0 and at most 1, such as 0.99.")
        if self.threads < 1:
            raise QueryError(f"threads={self.threads} is invalid: must be at least 1.")

    def run(self) -> dict[str, Any]:
        """Measures everything and returns the document, JSON-compatible."""
        bandwidth = machine.bandwidth_gb_s()
        self.say(f"memory is read at {bandwidth:.1f} GB/s by one thread")
        rows: list[ResultRow] = []
        left_out: list[dict[str, str]] = []
        flat: dict[str, Any] | None = None
        for name in selected(self.names, ENGINES):
            engine = load(ENGINES[name])
            reason = missing(engine)
            if reason is not None:
                left_out.append({"engine": name, "reason": reason})
                self.say(f"{name}: {reason}")
                continue
            self._measure(name, rows, left_out)
            if name == "flat" and rows:
                flat = self._flat_checked(rows, left_out, bandwidth)
        about = self.vectors.about
        return {
            "model": about.get("model"),
            "code": provenance.whole_code(),
            "environment": machine.environment(),
            "hivlp_version": hivlp.__version__,
            "data": {
                **about,
                **{kind: [provenance.short(one) for one in about.get(kind, ())] for kind in _SPECS},
            },
            "threads": self.threads,
            "target": self.target,
            "bandwidth_gb_s": bandwidth,
            "flat": flat,
            "rows": [row for row in rows if worker.is_whole(row)],
            "screened": [_screened(row) for row in rows if not worker.is_whole(row)],
            "best": best(rows, self.target),
            "left_out": left_out,
        }

    def _flat_checked(
        self, rows: list[ResultRow], left_out: list[dict[str, str]], bandwidth: float
    ) -> dict[str, Any]:
        """Whether flat reads about as fast as the memory can; if not, it is measured again.

        Of all measurements the fastest stays in ``rows``.
        """
        items_ND = self.vectors.items_ND
        scanned = 4 * items_ND.size
        ledger = self._ledger(load(ENGINES["flat"]), "flat", load(ENGINES["flat"]).builds(*items_ND.shape)[0])
        fastest_lines, measured = ledger.read_text(encoding="utf-8"), 1
        while True:
            gb_s = scanned / rows[0]["p50_ms"] / 1e6
            slow = scanned >= _FLAT_FROM_BYTES and gb_s < LEAST_SHARE * bandwidth
            if not slow or measured > _FLAT_AGAIN:
                ledger.write_text(fastest_lines, encoding="utf-8")
                ledger.with_suffix(".done").touch()
                return {"gb_s": gb_s, "bandwidth_gb_s": bandwidth, "measured": measured, "slow": slow}
            self.say(f"flat reads {gb_s:.1f} of {bandwidth:.1f} GB/s: it is measured again")
            again: list[ResultRow] = []
            ledger.unlink(missing_ok=True)
            ledger.with_suffix(".done").unlink(missing_ok=True)
            self._measure("flat", again, left_out)
            measured += 1
            if again and again[0]["p50_ms"] < rows[0]["p50_ms"]:
                rows[0], fastest_lines = again[0], ledger.read_text(encoding="utf-8")

    def _measure(self, name: str, rows: list[ResultRow], left_out: list[dict[str, str]]) -> None:
        """Adds the rows of an engine's builds; a build that fails is a line in ``left_out``."""
        engine = load(ENGINES[name])
        builds = engine.builds(*self.vectors.items_ND.shape)
        folder, code = self._folder(engine), self._code(engine)
        for number, build in enumerate(builds, start=1):
            label = engine.label(build)
            self.say(f"{name} {number}/{len(builds)}: {label}")
            reason = self._too_large(engine, build)
            prepared: Mapping[str, float] = {}
            if reason is None:
                prepared, reason = self._prepared(ENGINES[name], build, folder)
            index = None
            if reason is None:
                index, reason = self._index()
            path = self._ledger(engine, name, build)
            if reason is None:
                reason = self._child("measure", ENGINES[name], build, folder, path, index=index)
            whose = {"model": self.vectors.about.get("model"), "code": code}
            rows += [
                {**_row(name, label, number, build, row, prepared), **whose} for row in worker.read_rows(path)
            ]
            if reason is not None:
                left_out.append({"engine": name, "plan": label, "reason": reason})
                self.say(f"{name}: {label}: {reason}")

    def _index(self) -> tuple[str | None, str | None]:
        """The index folder whose items every engine reads, made once; or why it could not be made."""
        build = Ours.builds(*self.vectors.items_ND.shape)[0]
        folder = self._folder(Ours)
        _, reason = self._prepared(OURS, build, folder)
        return (None, reason) if reason is not None else (str(folder / INDEX), None)

    def _code(self, engine: type[Engine]) -> str:
        """A hash of the code that the rows of an engine depend on, and of the version of its package."""
        return provenance.joined(
            provenance.library_code(provenance.SEARCHING),
            provenance.bench_code(provenance.MEASURED),
            provenance.code_of([_file_of(engine)], root=_file_of(engine).parent),
            machine.installed(engine.package) or "",
        )

    def _folder(self, engine: type[Engine]) -> Path:
        """Where rows and files of an engine lie: another place for another model or other code."""
        about = self.vectors.about
        base = self.work / "rows" / f"{about['key']}-{about.get('model')}"
        folder = base / f"{self.threads}-threads-{self.target:g}" / f"{engine.package}-{self._code(engine)}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _ledger(self, engine: type[Engine], name: str, build: Build) -> Path:
        return self._folder(engine) / f"{_digest(json.dumps([ENGINES[name], build]))}.jsonl"

    def _too_large(self, engine: type[Engine], build: Build) -> str | None:
        needed = engine.memory(build, *self.vectors.items_ND.shape) / 1e9
        available = machine.available_gb()
        if available is None or needed < available:
            return None
        return f"needs about {needed:.1f} GB of memory, and {available:.1f} GB are available"

    def _prepared(self, place: str, build: Build, folder: Path) -> tuple[Mapping[str, float], str | None]:
        """Seconds of what a package's engines make once for all their builds, or why they could not."""
        if load(place).prepare is Base.prepare:
            return {}, None
        path = folder / "prepared.json"
        reason = self._child("prepare", place, build, folder, path)
        return (json.loads(path.read_text(encoding="utf-8")), None) if reason is None else ({}, reason)

    def _child(
        self,
        stage: Literal["prepare", "measure"],
        place: str,
        build: Build,
        folder: Path,
        out: Path,
        *,
        index: str | None = None,
    ) -> str | None:
        """Runs a worker that writes ``out``, unless it was done before; returns why it failed, or None."""
        done = out.with_suffix(".done")
        if done.exists():
            return None
        job = worker.Job(
            place=place,
            stage=stage,
            build=build,
            data=str(self.vectors.folder),
            folder=str(folder),
            out=str(out),
            threads=self.threads,
            target=self.target,
            index=index,
        )
        path = out.with_suffix(".job")
        worker.write_job(job, path)
        command = [sys.executable, "-m", "hivlp_lab.bench.worker", str(path)]
        ran = subprocess.run(
            command,
            env=worker.environment(self.threads),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        if ran.returncode != 0:
            return _ending(ran.returncode, ran.stderr)
        done.touch()
        return None


def best(rows: Sequence[ResultRow], target: float) -> dict[str, ResultRow]:
    """Each engine's plan for the target: its row's numbers, with its speed as a multiple of flat's.

    It is the plan that was the fastest, on the queries to choose by, of those whose lower bound of the recall
    there meets the target. What is reported is measured on the other queries. ``times_flat`` is by the median
    time of a query, ``batch_times_flat`` by the throughput of a batch; None where flat was not measured. An
    engine without such a plan is not there.
    """
    found: dict[str, ResultRow] = {}
    for name in dict.fromkeys(row["engine"] for row in rows):
        exact = name in ENGINES and load(ENGINES[name]).exact
        row = fastest(row for row in rows if row["engine"] == name and worker.holds(row, target, exact=exact))
        if row is not None:
            found[name] = {field: row.get(field) for field in (*_BEST, *_BEST_COST)}
    flat = next((row for row in rows if row["engine"] == "flat"), None)
    for row in found.values():
        row["times_flat"] = None if flat is None else flat["p50_ms"] / row["p50_ms"]
        row["batch_times_flat"] = None if flat is None else row["batch_qps"] / flat["batch_qps"]
    return found


def fastest(rows: Iterable[ResultRow]) -> ResultRow | None:
    """The row with the lowest median time on the queries to choose by, None of none."""
    return min(rows, key=lambda row: row["screened"]["p50_ms"], default=None)


def result_name(document: Mapping[str, Any]) -> str:
    """The name of a result's file, without suffix: what was measured where."""
    where = document["environment"]
    return (
        f"search-{document['data']['items']}-{where['machine']}-{where['cpus']}cpu-"
        f"faiss{where['packages']['faiss-cpu']}"
    )


def _row(
    name: str, label: str, number: int, build: Build, measured: ResultRow, prepared: Mapping[str, float]
) -> ResultRow:
    plan = " ".join(part for part in (label, words(measured["setting"])) if part)
    named = {"engine": name, "plan": plan, "build_number": number, "build": build}
    if not worker.is_whole(measured):
        return {**named, **measured}
    parts = {**prepared, **measured["parts_s"]}
    total = measured["build_s"] + sum(prepared.values())
    return {**named, **measured, "build_s": total, "parts_s": parts}


def _screened(row: ResultRow) -> ResultRow:
    return {"engine": row["engine"], "plan": row["plan"], **row["screened"]}


def _file_of(engine: type[Engine]) -> Path:
    return Path(str(sys.modules[engine.__module__].__file__))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _ending(code: int, errors: str) -> str:
    """How a process ended, with the last line that it had to say."""
    how = f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    return f"{how}: {lines[-1]}" if lines else how
