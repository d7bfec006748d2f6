"""The suite: it measures the engines in turn and collects their rows into a result.

Rows are kept in the work folder, by vectors, threads, engine and the version of its code: a run that was
stopped goes on, and a run after a change measures only what has changed.
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
from hivlp_lab.bench import machine, worker
from hivlp_lab.bench.engines import ENGINES, Base, Build, Engine, load, missing, selected, words
from hivlp_lab.bench.ours import of_plans
from hivlp_lab.bench.vectors import BenchVectors, Say

ResultRow = dict[str, Any]
WITH_ITEMS = "ours (with items)"
_WITH_ITEMS_PLACE = "hivlp_lab.bench.ours:OursWithItems"
_BEST = (
    "plan",
    "build_number",
    "recall@10",
    "recall_low",
    "p50_ms",
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
        like: an earlier document; of another package's engine only the build is measured that was its fastest
            at the target there. A whole sweep at a million items takes hours, and the winner at a smaller
            size is the fair choice.
    """

    vectors: BenchVectors
    work: Path
    names: Sequence[str] = ()
    threads: int = 1
    target: float = 0.99
    like: Mapping[str, Any] | None = None
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
        for name in selected(self.names, ENGINES):
            place = ENGINES[name]
            reason = missing(load(place))
            if reason is not None:
                left_out.append({"engine": name, "reason": reason})
                self.say(f"{name}: {reason}")
                continue
            builds = self._builds(name, load(place))
            self._measure(name, place, builds, rows, left_out)
            if name == "ours":
                chosen = fastest(row for row in rows if row["engine"] == name and self._enough(row))
                builds = [of_plans([{**chosen["build"]["plans"][0], **chosen["setting"]}])] if chosen else []
                self._measure(WITH_ITEMS, _WITH_ITEMS_PLACE, builds, rows, left_out)
        return {
            "environment": machine.environment(),
            "hivlp_version": hivlp.__version__,
            "data": {
                **self.vectors.about,
                "sources": [_short(one) for one in self.vectors.about.get("sources", ())],
            },
            "threads": self.threads,
            "target": self.target,
            "bandwidth_gb_s": bandwidth,
            "rows": rows,
            "best": best(rows, self.target),
            "left_out": left_out,
        }

    def _builds(self, name: str, engine: type[Engine]) -> list[Build]:
        builds = list(engine.builds(*self.vectors.items_ND.shape))
        if self.like is None or name == "ours":
            return builds
        number = self.like["best"].get(name, {}).get("build_number")
        return builds if number is None else builds[number - 1 : number]

    def _enough(self, row: ResultRow) -> bool:
        return row["recall@10"] >= self.target

    def _measure(
        self,
        name: str,
        place: str,
        builds: Sequence[Build],
        rows: list[ResultRow],
        left_out: list[dict[str, str]],
    ) -> None:
        """Adds the rows of an engine's builds; a build that fails is a line in ``left_out``."""
        engine = load(place)
        folder = self._folder(engine)
        for number, build in enumerate(builds, start=1):
            label = engine.label(build)
            self.say(f"{name} {number}/{len(builds)}: {label}")
            reason = self._too_large(engine, build)
            prepared: Mapping[str, float] = {}
            if reason is None:
                prepared, reason = self._prepared(place, build, folder)
            path = folder / f"{_digest(json.dumps([place, build]))}.jsonl"
            if reason is None:
                reason = self._child("measure", place, build, folder, path)
            rows += [_row(name, label, number, build, row, prepared) for row in worker.read_rows(path)]
            if reason is not None:
                left_out.append({"engine": name, "plan": label, "reason": reason})
                self.say(f"{name}: {label}: {reason}")

    def _folder(self, engine: type[Engine]) -> Path:
        """Where rows and files of an engine lie: another place after its code or its package has changed."""
        code = Path(hivlp.__file__).parent
        own = sorted(code.rglob("*.py")) if engine.package == "hivlp" else [_file_of(engine)]
        own.append(Path(worker.__file__))
        version = machine.installed(engine.package) or ""
        digest = _digest("".join(path.read_text(encoding="utf-8") for path in own) + version)
        base = self.work / "rows" / str(self.vectors.about["key"]) / f"{self.threads}-threads"
        folder = base / f"{engine.package}-{digest}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

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
        self, stage: Literal["prepare", "measure"], place: str, build: Build, folder: Path, out: Path
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
    """The fastest row of each engine with at least this recall, with its speed as a multiple of flat's.

    ``times_flat`` is by the median time of a query, ``batch_times_flat`` by the throughput of a batch; None
    where flat was not measured. An engine that stays below the target is not there.
    """
    found: dict[str, ResultRow] = {}
    for name in dict.fromkeys(row["engine"] for row in rows):
        row = fastest(row for row in rows if row["engine"] == name and row["recall@10"] >= target)
        if row is not None:
            found[name] = {field: row.get(field) for field in (*_BEST, *_BEST_COST)}
    flat = next((row for row in rows if row["engine"] == "flat"), None)
    for row in found.values():
        row["times_flat"] = None if flat is None else flat["p50_ms"] / row["p50_ms"]
        row["batch_times_flat"] = None if flat is None else row["batch_qps"] / flat["batch_qps"]
    return found


def fastest(rows: Iterable[ResultRow]) -> ResultRow | None:
    """The row with the lowest median time, None of none."""
    return min(rows, key=lambda row: row["p50_ms"], default=None)


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
    parts = {**prepared, **measured["parts_s"]}
    total = measured["build_s"] + sum(prepared.values())
    named = {"engine": name, "plan": plan, "build_number": number, "build": build}
    return {**named, **measured, "build_s": total, "parts_s": parts}


def _short(source: str) -> str:
    """A source without the folders of this machine."""
    return source if ":" in source else "/".join(Path(source).parts[-2:])


def _file_of(engine: type[Engine]) -> Path:
    return Path(str(sys.modules[engine.__module__].__file__))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _ending(code: int, errors: str) -> str:
    """How a process ended, with the last line that it had to say."""
    how = f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    return f"{how}: {lines[-1]}" if lines else how
