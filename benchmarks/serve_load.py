"""Clients for `benchmarks/serve.py`: as little HTTP as they need, so that they take little of the machine."""

from __future__ import annotations

import asyncio
import json
import selectors
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import SplitResult

import numpy as np


class Ask(Protocol):
    """Sends one request and gives the status of its answer."""

    def __call__(self, connection: Connection, /) -> Awaitable[int]: ...


class Run:
    """Statuses and milliseconds of some requests."""

    def __init__(self) -> None:
        self.ms: list[float] = []
        self.statuses: Counter[str] = Counter()
        self.begin = time.perf_counter()

    def add(self, status: str, since: float) -> None:
        """Counts one answer to a request sent at a time of `time.perf_counter`."""
        self.statuses[status] += 1
        if status == "200":
            self.ms.append((time.perf_counter() - since) * 1e3)

    async def wait(self, ask: Awaitable[int], since: float) -> None:
        """Waits for one answer and counts it."""
        try:
            status = str(await ask)
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            status = type(error).__name__
        self.add(status, since)

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


def get(host: SplitResult, path: str) -> bytes:
    """A request as it is sent."""
    return f"GET {path} HTTP/1.1\r\nHost: {host.netloc}\r\n\r\n".encode()


def post(host: SplitResult, path: str, document: Any) -> bytes:
    """A request with a JSON body."""
    body = json.dumps(document).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {host.netloc}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Connection:
    """One kept connection of an event loop."""

    def __init__(self, host: SplitResult) -> None:
        self._host = host

    async def __aenter__(self) -> Connection:
        self._reader, self._writer = await asyncio.open_connection(self._host.hostname, self._host.port)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._writer.close()

    async def get(self, path: str) -> int:
        """The status of an answer."""
        return await self._ask(get(self._host, path))

    async def post(self, path: str, document: Any) -> int:
        """The status of an answer."""
        return await self._ask(post(self._host, path, document))

    async def _ask(self, request: bytes) -> int:
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        await self._reader.readexactly(_length(head))
        return int(head[9:12])


async def open_loop(host: SplitResult, ask: Ask, *, rate: float, seconds: float, connections: int) -> Run:
    """Asks at a rate, late answers or not. A request's time counts from when it should have been sent."""
    run, free = Run(), asyncio.Queue[Connection]()
    opened = [await Connection(host).__aenter__() for _ in range(connections)]
    for connection in opened:
        free.put_nowait(connection)

    async def one(due: float) -> None:
        connection = await free.get()
        await run.wait(ask(connection), since=due)
        free.put_nowait(connection)

    tasks: set[asyncio.Task[None]] = set()
    for number in range(int(rate * seconds)):
        due = run.begin + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        task = asyncio.create_task(one(due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    for connection in opened:
        await connection.__aexit__()
    return run


@dataclass
class _Client:
    """One of the connections of a closed loop."""

    socket: socket.socket
    since: float = 0.0
    answer: bytes = b""

    def send(self, request: bytes) -> None:
        self.since = time.perf_counter()
        self.answer = b""
        self.socket.sendall(request)

    def is_answered(self) -> bool:
        """Takes up what has come; whether that is a whole answer."""
        came = self.socket.recv(1 << 20)
        if not came:
            raise SystemExit("the service closed a connection before its answer")
        self.answer += came
        end = self.answer.find(b"\r\n\r\n")
        return end >= 0 and len(self.answer) >= end + 4 + _length(self.answer[: end + 4])


def closed_loop(host: SplitResult, requests: Callable[[], bytes], *, clients: int, seconds: float) -> Run:
    """A number of clients, each of which sends the next request when it has an answer.

    One thread over plain sockets: an event loop's streams took a tenth of the machine that they measured.
    """
    run = Run()
    with selectors.DefaultSelector() as selector:
        for _ in range(clients):
            client = _Client(socket.create_connection((str(host.hostname), host.port or 80)))
            selector.register(client.socket, selectors.EVENT_READ, client)
            client.send(requests())
        run.begin = time.perf_counter()
        while selector.get_map():
            for key, _ in selector.select():
                client: _Client = key.data
                if not client.is_answered():
                    continue
                run.add(client.answer[9:12].decode(), client.since)
                if time.perf_counter() - run.begin < seconds:
                    client.send(requests())
                else:
                    selector.unregister(client.socket)
                    client.socket.close()
    return run


def _length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
