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
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

import numpy as np

from hivlp import load
from hivlp.bench import machine
from hivlp.bench.vectors import levels, prepare
from hivlp.data.sources import open_source
from hivlp.retriever import Index
from hivlp.stores.local import LocalStore
from hivlp.types import Item

BATCH = 16_384


class Ask(Protocol):
    """Sends one request and gives the status of its answer."""

    def __call__(self, connection: Connection, /) -> Awaitable[int]: ...


def index_of(args: argparse.Namespace) -> Path:
    """The index to serve; made of the benchmark's vectors where none is given and none was made before."""
    if args.index is not None:
        return args.index
    vectors = prepare(args.data, items=args.items, queries=1_000, seed=0, work=args.work, say=say)
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
    """The command in a process of its own."""

    def __init__(self, index: Path) -> None:
        command = [sys.executable, "-m", "hivlp", "serve", str(index), "--port", "0"]
        begin = time.perf_counter()
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if "serving" in line:
                break
        else:
            raise SystemExit("hivlp serve did not start")
        self.host = urlsplit(line.split(" at ")[1].split()[0])
        threading.Thread(target=lambda: any(False for _ in self.process.stderr or ()), daemon=True).start()
        while not asyncio.run(self.is_ready()):
            time.sleep(0.05)
        self.ready_s = time.perf_counter() - begin

    async def is_ready(self) -> bool:
        """Whether it has warmed up."""
        async with Connection(self) as connection:
            return await connection.get("/readyz") == 200

    def private_mb(self) -> float:
        """Memory that belongs to the server alone."""
        for line in Path(f"/proc/{self.process.pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Anonymous:"):
                return int(line.split()[1]) / 1024
        raise SystemExit("this system does not tell the memory of a process")

    def stop(self) -> None:
        """Ends it."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


class Connection:
    """One kept connection, and as little HTTP as a client needs, so that it takes little of the machine."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def __aenter__(self) -> Connection:
        host = self._server.host
        self._reader, self._writer = await asyncio.open_connection(host.hostname, host.port)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._writer.close()

    async def get(self, path: str) -> int:
        """The status of an answer."""
        return await self._ask(f"GET {path} HTTP/1.1\r\nHost: {self._server.host.netloc}\r\n\r\n".encode())

    async def post(self, path: str, document: Any) -> int:
        """The status of an answer."""
        body = json.dumps(document).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self._server.host.netloc}\r\nContent-Type: application/json\r\n"
        )
        return await self._ask(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    async def _ask(self, request: bytes) -> int:
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
        await self._reader.readexactly(int(length))
        return int(head[9:12])


class Run:
    """Statuses and milliseconds of some requests."""

    def __init__(self) -> None:
        self.ms: list[float] = []
        self.statuses: Counter[str] = Counter()
        self.begin = time.perf_counter()

    async def add(self, ask: Awaitable[int], *, since: float | None = None) -> None:
        """Waits for one answer and counts it."""
        begin = time.perf_counter() if since is None else since
        try:
            status = str(await ask)
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            status = type(error).__name__
        self.statuses[status] += 1
        if status == "200":
            self.ms.append((time.perf_counter() - begin) * 1e3)

    def as_dict(self) -> dict[str, Any]:
        """The numbers."""
        seconds = time.perf_counter() - self.begin
        p50, p99 = np.percentile(self.ms, [50, 99]) if self.ms else (None, None)
        return {
            "seconds": round(seconds, 2),
            "statuses": dict(self.statuses),
            "answered_per_s": round(len(self.ms) / seconds, 1),
            "p50_ms": p50 and round(float(p50), 2),
            "p99_ms": p99 and round(float(p99), 2),
        }


def words(text: str) -> str:
    """The path of a search by words."""
    return f"/v1/search?q={quote(text)}"


async def open_loop(
    server: Server,
    ask: Callable[[Connection], Awaitable[int]],
    *,
    rate: float,
    seconds: float,
    connections: int,
) -> Run:
    """Asks at a rate, late answers or not. A request's time counts from when it should have been sent."""
    run, free = Run(), asyncio.Queue[Connection]()
    opened = [await Connection(server).__aenter__() for _ in range(connections)]
    for connection in opened:
        free.put_nowait(connection)

    async def one(due: float) -> None:
        connection = await free.get()
        await run.add(ask(connection), since=due)
        free.put_nowait(connection)

    asked: set[asyncio.Task[None]] = set()
    for number in range(int(rate * seconds)):
        due = run.begin + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        task = asyncio.create_task(one(due))
        asked.add(task)
        task.add_done_callback(asked.discard)
    await asyncio.gather(*asked)
    for connection in opened:
        await connection.__aexit__()
    return run


async def closed_loop(server: Server, ask: Ask, *, clients: int, seconds: float) -> Run:
    """So many clients that ask again as soon as they have an answer."""
    run = Run()

    async def client() -> None:
        async with Connection(server) as connection:
            while time.perf_counter() - run.begin < seconds:
                await run.add(ask(connection))

    await asyncio.gather(*(client() for _ in range(clients)))
    return run


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
    """The memory of the server while it is asked all kinds of things for long."""
    memory: list[float] = []
    pieces = 20
    total = Run()
    ask = mixed(texts)
    for _ in range(pieces):
        run = asyncio.run(open_loop(server, ask, rate=rate, seconds=seconds / pieces, connections=16))
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
    asked = itertools.cycle(texts)
    results: dict[str, Any] = {}
    results["engine_per_s"] = round(engine(index, texts, seconds=args.seconds), 1)
    say(f"engine: {results['engine_per_s']} queries/s")
    server = Server(index)
    results["ready_s"], results["ready_mb"] = round(server.ready_s, 2), round(server.private_mb(), 1)

    def one(connection: Connection) -> Awaitable[int]:
        return connection.get(words(next(asked)))

    def several(connection: Connection) -> Awaitable[int]:
        return connection.post("/v1/search", {"queries": [{"query": next(asked)} for _ in range(32)]})

    def note(name: str, run: Run, *, queries: int = 1) -> float:
        results[name] = run.as_dict()
        results[name]["queries_per_s"] = round(queries * results[name]["answered_per_s"], 1)
        say(f"{name}: {json.dumps(results[name])}")
        return results[name]["queries_per_s"]

    try:
        loop = {"seconds": args.seconds}
        asyncio.run(closed_loop(server, one, clients=4, seconds=2))  # warm
        note("steady", asyncio.run(open_loop(server, one, rate=args.rate, connections=16, **loop)))
        reached = note("throughput", asyncio.run(closed_loop(server, one, clients=args.clients, **loop)))
        together = note("batches", asyncio.run(closed_loop(server, several, clients=8, **loop)), queries=32)
        note("overload", asyncio.run(open_loop(server, one, rate=2 * reached, connections=512, **loop)))
        if args.soak:
            results["soak"] = soak(server, asked, seconds=args.soak, rate=args.rate)
    finally:
        server.stop()
    results["of_engine"] = {
        "throughput": round(reached / results["engine_per_s"], 3),
        "batches": round(together / results["engine_per_s"], 3),
    }
    with Index.open(index) as opened:
        about = {"items": len(opened), "levels": list(opened.store.widths), "model": opened.encoder.name}
    document = {"environment": machine.environment(), "index": about, **results}
    if args.out is not None:
        cpus = os.cpu_count()
        name = f"serve-{about['items']}-{document['environment']['machine']}-{cpus}cpu.json"
        (args.out / name).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(document))


if __name__ == "__main__":
    main()
