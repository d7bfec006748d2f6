"""How `hivlp serve` does under load, measured over HTTP on this machine: prints one JSON document.

    python benchmarks/serve.py --items 1000000 --data pairs.tsv --work bench-work --out benchmarks/results
    python benchmarks/serve.py --index photos.hivlp --data pairs.tsv --soak 600

The items are those of `hivlp bench search` with the same --items, --data and --work; the queries are captions
that differ, so that no kept embedding helps. Client and server share the processors.

    steady      searches at --rate a second, whether answers come or not
    engine      `Index.search_batch` of 64 captions at a time, without HTTP, from two threads
    throughput  --clients connections that ask again as soon as they have an answer; one query a request
    batches     eight connections, 32 queries a request
    overload    searches at twice that throughput: how many are answered, refused with 429, or fail
    soak        --soak seconds of searches by words, items, pictures and broken pictures; memory over time
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np
from serve_load import Ask, Connection, Run, closed_loop, get, open_loop, post

from hivlp import load
from hivlp.data.sources import open_source
from hivlp.retriever import Index
from hivlp.stores.local import LocalStore
from hivlp.types import Item
from hivlp_lab.bench import machine
from hivlp_lab.bench.vectors import levels, prepare

BATCH = 16_384


def index_of(args: argparse.Namespace) -> Path:
    """The index to serve; made of the benchmark's vectors where none is given and none was made before."""
    if args.index is not None:
        return args.index
    vectors = prepare(
        args.data, items=args.items, queries=args.data, query_count=1_000, seed=0, work=args.work, say=say
    )
    path = args.work / f"serve-{vectors.about['key']}.hivlp"
    if not path.exists():
        encoder = load("mini")
        draft = path.with_suffix(".draft")
        with LocalStore.create(
            draft,
            model_name="mini",
            model_fingerprint=encoder.fingerprint,
            widths=vectors.widths,
            preprocessing=encoder.preprocessing.model_dump(mode="json"),
        ) as store:
            for start in range(0, len(vectors.items_ND), BATCH):
                rows_BD = vectors.items_ND[start : start + BATCH].astype(np.float32)
                store.append([item(start + n) for n in range(len(rows_BD))], levels(rows_BD, vectors.widths))
                say(f"index: {start + len(rows_BD):,} of {args.items:,}")
            store.prepare()
        draft.rename(path)
    return path


def item(row: int) -> Item:
    """An item with metadata, as of a shop."""
    meta = {"color": ("red", "green", "blue")[row % 3], "price": row % 100}
    return Item(id=f"photo-{row}", uri=f"photos/{row}.jpg", caption=f"picture {row}", meta=meta)


class Server:
    """The command in a process of its own, which may start worker processes."""

    def __init__(self, index: Path, processes: int) -> None:
        command = [sys.executable, "-m", "hivlp", "serve", str(index), "--port", "0"]
        begin = time.perf_counter()
        # Not a pipe, which somebody would have to read.
        with tempfile.NamedTemporaryFile() as log, Path(log.name).open(encoding="utf-8") as said:
            self.process = subprocess.Popen([*command, "--processes", str(processes)], stderr=log)
            while "serving" not in (line := said.readline()):
                if self.process.poll() is not None:
                    raise SystemExit("hivlp serve did not start")
                time.sleep(0 if line else 0.02)
        self.host = urlsplit(line.split(" at ")[1].split()[0])
        while not asyncio.run(self.is_ready()):
            time.sleep(0.05)
        self.ready_s = time.perf_counter() - begin

    async def is_ready(self) -> bool:
        """Whether it has warmed up."""
        async with Connection(self.host) as connection:
            return await connection.get("/readyz") == 200

    def private_mb(self) -> float:
        """Memory that belongs to the server alone, all its processes together."""
        return sum(_private_kb(pid) for pid in _family(self.process.pid)) / 1024

    def stop(self) -> None:
        """Ends it."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def _family(pid: int) -> list[int]:
    """A process and those that it has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [pid, *(one for child in children for one in _family(int(child)))]


def _private_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1])
    raise SystemExit("this system does not tell the memory of a process")


def words(text: str) -> str:
    """The path of a search by words."""
    return f"/v1/search?q={quote(text)}"


def engine(index: Path, texts: list[str], *, seconds: float) -> float:
    """Queries a second of the library alone: batches of 64 from two threads."""
    with Index.open(index) as opened:
        opened.search_batch(texts[:64])
        batches = itertools.cycle([texts[n : n + 64] for n in range(0, len(texts) - 64, 64)])
        lock, end = threading.Lock(), time.perf_counter() + seconds
        begin = time.perf_counter()

        def work(_: int) -> int:
            done = 0
            while time.perf_counter() < end:
                with lock:
                    batch = next(batches)
                done += len(opened.search_batch(batch))
            return done

        with ThreadPoolExecutor(2) as pool:
            return sum(pool.map(work, range(2))) / (time.perf_counter() - begin)


def mixed(texts: Iterator[str]) -> Ask:
    """Searches by words, items, pictures, broken pictures and impossible filters, in turn."""
    from PIL import Image

    buffer = BytesIO()
    Image.effect_noise((400, 300), 60).convert("RGB").save(buffer, "JPEG")
    picture = base64.b64encode(buffer.getvalue()).decode()
    seen = {"image_base64": picture}
    turn = itertools.count()

    def ask(connection: Connection) -> Awaitable[int]:
        number = next(turn)
        kinds: dict[int, Callable[[], Awaitable[int]]] = {
            0: lambda: connection.post("/v1/search", seen),
            1: lambda: connection.post("/v1/search", {"image_base64": picture[:400]}),
            2: lambda: connection.get("/v1/search?q=a&where=color%20%3D"),
            3: lambda: connection.post(
                "/v1/search", {"mix": [{"query": next(texts)}, {"image_base64": picture}]}
            ),
            4: lambda: connection.get("/v1/stats"),
        }
        return kinds.get(number % 20, lambda: connection.get(words(next(texts))))()

    return ask


def soak(server: Server, texts: Iterator[str], *, seconds: float, rate: float) -> dict[str, Any]:
    """The memory of the server during a long mixed load."""
    memory: list[float] = []
    pieces = 20
    total = Run()
    ask = mixed(texts)
    for _ in range(pieces):
        run = asyncio.run(open_loop(server.host, ask, rate=rate, seconds=seconds / pieces, connections=16))
        total.ms += run.ms
        total.statuses.update(run.statuses)
        memory.append(round(server.private_mb(), 1))
    # The first pieces fill caches and pools of threads; what grows after is a leak.
    settled = memory[pieces // 4]
    return {**total.as_dict(), "private_mb": memory, "growth": round(memory[-1] / settled - 1, 4)}


def say(message: str) -> None:
    """A line for people."""
    print(message, file=sys.stderr, flush=True)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--index", type=Path, help="serve this one instead of the benchmark's items")
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument(
        "--data", action="append", required=True, help="sources; their captions are the queries"
    )
    parser.add_argument("--work", type=Path, default=Path("bench-work"))
    parser.add_argument("--processes", type=int, default=1, help="of the service")
    parser.add_argument("--rate", type=float, default=50, help="searches a second of the steady run")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=20, help="of each run")
    parser.add_argument("--soak", type=float, default=0, help="seconds of the long run; 0 leaves it out")
    parser.add_argument("--out", type=Path, help="folder for the result file")
    args = parser.parse_args()
    os.environ["OPENBLAS_NUM_THREADS"] = "1"

    captions = [text for source in args.data for sample in open_source(source) for text in sample.captions]
    texts = list(dict.fromkeys(captions))
    np.random.default_rng(0).shuffle(texts)
    say(f"{len(texts):,} different captions")
    index = index_of(args)
    queries = itertools.cycle(texts)
    results: dict[str, Any] = {}
    results["engine_per_s"] = round(engine(index, texts, seconds=args.seconds), 1)
    say(f"engine: {results['engine_per_s']} queries/s")
    server = Server(index, args.processes)
    results["ready_s"], results["ready_mb"] = round(server.ready_s, 2), round(server.private_mb(), 1)

    def one(connection: Connection) -> Awaitable[int]:
        return connection.get(words(next(queries)))

    def one_sent() -> bytes:
        return get(server.host, words(next(queries)))

    def several_sent() -> bytes:
        batch = [{"query": next(queries)} for _ in range(32)]
        return post(server.host, "/v1/search", {"queries": batch})

    def note(name: str, run: Run, *, queries: int = 1) -> float:
        results[name] = run.as_dict()
        results[name]["queries_per_s"] = round(queries * results[name]["answered_per_s"], 1)
        say(f"{name}: {json.dumps(results[name])}")
        return results[name]["queries_per_s"]

    try:
        loop = {"seconds": args.seconds}
        closed_loop(server.host, one_sent, clients=args.clients, seconds=2)  # warm
        note("steady", asyncio.run(open_loop(server.host, one, rate=args.rate, connections=16, **loop)))
        reached = note("throughput", closed_loop(server.host, one_sent, clients=args.clients, **loop))
        together = note("batches", closed_loop(server.host, several_sent, clients=8, **loop), queries=32)
        note("overload", asyncio.run(open_loop(server.host, one, rate=2 * reached, connections=512, **loop)))
        if args.soak:
            results["soak"] = soak(server, queries, seconds=args.soak, rate=args.rate)
    finally:
        server.stop()
    results["of_engine"] = {
        "throughput": round(reached / results["engine_per_s"], 3),
        "batches": round(together / results["engine_per_s"], 3),
    }
    with Index.open(index) as opened:
        about = {"items": len(opened), "levels": list(opened.store.widths), "model": opened.encoder.name}
    about_all = {"environment": machine.environment(), "index": about, "processes": args.processes}
    document = {**about_all, **results}
    if args.out is not None:
        cpus = os.cpu_count()
        name = f"serve-{about['items']}-{document['environment']['machine']}-{cpus}cpu-{args.processes}p.json"
        (args.out / name).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(document))


if __name__ == "__main__":
    main()
