"""The parts of the service: batches, gate, cache, keys, rates, facets, and the command that starts it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from hivlp.errors import ConfigError
from hivlp.index.summary import fields
from hivlp.retriever import Index
from hivlp.serve.batching import Batcher, RequestLimit
from hivlp.serve.cache import LeastRecentlyUsed
from hivlp.serve.keys import Keys, Rate, read_keys
from hivlp.serve.problems import Problem
from hivlp.serve.run import is_loopback, local_names, open_socket
from hivlp.types import Item
from ran import Ran
from serve_tools import client, colour_index, wait_until

Hivlp = Callable[..., Ran]
KEY = "a-key-of-enough-letters"


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def test_tasks_that_wait_are_done_together_each_with_its_result(pool: ThreadPoolExecutor) -> None:
    begun, go = threading.Event(), threading.Event()
    batches: list[list[int]] = []

    def work(tasks: list[int]) -> list[int]:
        batches.append(tasks)
        begun.set()
        assert go.wait(10)
        return [task * 10 for task in tasks]

    async def ask() -> list[int]:
        batcher: Batcher[int, int] = Batcher(work, pool, most=3)
        first = asyncio.create_task(batcher.do(0))
        await asyncio.to_thread(begun.wait, 10)
        others = [asyncio.create_task(batcher.do(n)) for n in range(1, 6)]
        await asyncio.sleep(0)
        go.set()
        return await asyncio.gather(first, *others)

    assert asyncio.run(ask()) == [0, 10, 20, 30, 40, 50]
    assert batches == [[0], [1, 2, 3], [4, 5]], "one starts at once; the others as many as may be together"


def test_a_failing_task_fails_alone_and_a_failing_batch_whole(pool: ThreadPoolExecutor) -> None:
    def some_fail(tasks: list[int]) -> list[int | Exception]:
        if 13 in tasks:
            raise ZeroDivisionError
        return [ValueError(f"{task} is odd") if task % 2 else task for task in tasks]

    async def ask(*tasks: int) -> list[int | BaseException]:
        batcher: Batcher[int, int] = Batcher(some_fail, pool, most=8)
        return await asyncio.gather(*(batcher.do(task) for task in tasks), return_exceptions=True)

    even, odd, six = asyncio.run(ask(2, 3, 6))
    assert (even, six, str(odd)) == (2, 6, "3 is odd")
    assert isinstance(asyncio.run(ask(13))[0], ZeroDivisionError)
    assert asyncio.run(ask(4)) == [4], "work goes on"


def test_a_task_that_nobody_waits_for_is_not_done(pool: ThreadPoolExecutor) -> None:
    begun, go = threading.Event(), threading.Event()
    done: list[int] = []

    def work(tasks: list[int]) -> list[int]:
        begun.set()
        assert go.wait(10)
        done.extend(tasks)
        return tasks

    async def ask() -> None:
        batcher: Batcher[int, int] = Batcher(work, pool, most=1)
        first, second, third = (asyncio.create_task(batcher.do(n)) for n in range(3))
        await asyncio.to_thread(begun.wait, 10)
        second.cancel()
        await asyncio.sleep(0)
        go.set()
        await asyncio.gather(first, third)

    asyncio.run(ask())
    assert done == [0, 2]


def test_the_gate_lets_so_many_in() -> None:
    refused: list[int] = []
    gate = RequestLimit(2, refused=lambda: refused.append(1))
    with gate, gate, pytest.raises(Problem, match="2 requests are at work") as caught, gate:
        pass
    assert (caught.value.status, caught.value.headers, refused) == (429, {"Retry-After": "1"}, [1])
    with gate:
        assert gate.active == 1


def test_the_cache_forgets_what_was_not_used_the_longest() -> None:
    cache: LeastRecentlyUsed[str] = LeastRecentlyUsed(5, size=len)
    cache.put("a", "aa")
    cache.put("b", "bb")
    assert cache.get("a") == "aa"
    cache.put("c", "cc")
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == ("aa", None, "cc")
    cache.put("d", "too large for it")
    assert len(cache) == 0
    cache.put("a", "a")
    cache.put("a", "aaaa")
    cache.put("b", "b")
    assert (cache.get("a"), cache.get("b")) == ("aaaa", "b"), "a value that was replaced does not count"


def test_keys_are_compared_whole() -> None:
    keys = Keys([KEY, "another-key-of-letters"])
    assert keys.caller(f"Bearer {KEY}") == "key 1"
    assert keys.caller("bearer  another-key-of-letters") == "key 2"
    for shown in (
        None,
        "",
        KEY,
        f"Basic {KEY}",
        f"Bearer {KEY}x",
        f"Bearer {KEY[:-1]}",
        "Bearer ",
        "Bearer ké\udcff",
    ):
        with pytest.raises(Problem, match="this service needs a key") as caught:
            keys.caller(shown)
        assert caught.value.status == 401
    assert not Keys([])


def test_keys_that_are_no_secrets_are_refused() -> None:
    assert read_keys(f" {KEY} , another-key-of-letters,") == (KEY, "another-key-of-letters")
    assert read_keys("") == ()
    for value in ("short", f"{KEY},two words and a space", "ключ-из-многих-букв"):
        with pytest.raises(ConfigError, match="at least 16 visible ASCII characters"):
            read_keys(value)


def test_a_rate_is_each_caller_s_own() -> None:
    now = [0.0]
    rate = Rate(2.0, clock=lambda: now[0])
    for _ in range(4):
        rate.take("a")
    with pytest.raises(Problem, match="more than 2 requests per second") as caught:
        rate.take("a")
    assert caught.value.headers == {"Retry-After": "1"}
    rate.take("b")
    now[0] += 0.5
    rate.take("a")
    with pytest.raises(Problem):
        rate.take("a")
    Rate(0).take("a")


def test_facets_are_what_a_person_can_choose_from() -> None:
    items = [
        Item(
            id=str(n),
            uri="",
            width=100 + n,
            height=80,
            meta={"color": "red" if n % 3 else "blue", "title": f"no {n}"},
        )
        for n in range(30)
    ]
    assert fields(items) == {
        "color": {"type": "text", "values": ["red", "blue"]},
        "width": {"type": "number", "min": 100, "max": 129},
    }
    mixed = [
        Item(id="1", uri="", meta={"a": 1, "b": True}),
        Item(id="2", uri="", meta={"a": "x", "b": False}),
    ]
    assert fields(mixed) == {}


def test_loopback_is_what_only_this_machine_reaches() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.9.9.9", "::1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.5", "example.org")))
    assert local_names("127.0.0.1") == ("127.0.0.1", "localhost", "[::1]")


def test_a_port_that_is_taken_is_told() -> None:
    with open_socket("127.0.0.1", 0) as taken, pytest.raises(ConfigError, match="Give another --port"):
        open_socket("127.0.0.1", taken.getsockname()[1])


def test_a_public_address_needs_a_key(tmp_path: Path, hivlp: Hivlp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HIVLP_API_KEYS", raising=False)
    ran = hivlp("serve", tmp_path, "--host", "0.0.0.0")
    assert ran.code == 2
    assert "other machines can reach 0.0.0.0, and no API key is set" in ran.err
    assert "make an index first" in hivlp("serve", tmp_path / "nope.hivlp").err


def test_requests_beyond_the_queue_are_told_to_come_again(tmp_path: Path) -> None:
    index = colour_index(tmp_path)
    slow, go = index.encoder.encode_texts, threading.Event()
    with client(index, queue=2) as api, ThreadPoolExecutor(2) as people:
        index.encoder.encode_texts = lambda texts: go.wait(10) and slow(texts)  # type: ignore[method-assign]
        waiting = [people.submit(api.get, "/v1/search", params={"q": word}) for word in ("red", "blue")]
        wait_until(lambda: "hivlp_in_flight 2.0" in api.get("/metrics").text)
        refused = api.get("/v1/search", params={"q": "pink"})
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert refused.json()["error"]["code"] == "busy"
        go.set()
        assert [answer.result().status_code for answer in waiting] == [200, 200]
        assert 'hivlp_refused_total{reason="queue"} 1.0' in api.get("/metrics").text


def test_a_request_that_takes_too_long_ends(tmp_path: Path) -> None:
    index = colour_index(tmp_path)
    quick, go = index.encoder.encode_texts, threading.Event()
    with client(index, timeout_s=0.2) as api:
        index.encoder.encode_texts = lambda texts: go.wait(10) and quick(texts)  # type: ignore[method-assign]
        late = api.get("/v1/search", params={"q": "red"})
        assert (late.status_code, late.json()["error"]["code"]) == (504, "timeout")
        go.set()
        wait_until(lambda: api.get("/v1/search", params={"q": "blue"}).status_code == 200)


def test_a_rate_is_kept_by_the_service(tmp_path: Path) -> None:
    with client(colour_index(tmp_path), rate_per_s=0.001, keys=[KEY]) as api:
        headers = {"Authorization": f"Bearer {KEY}"}
        assert api.get("/v1/search", params={"q": "red"}, headers=headers).status_code == 200
        refused = api.get("/v1/search", params={"q": "red"}, headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limited")
        shown = api.get("/v1/items/red.png/thumbnail", headers=headers)
        assert shown.status_code == 200, "pictures of results do not count"


def test_pages_of_other_sites_are_refused(tmp_path: Path) -> None:
    shop = "https://shop.example"
    with client(colour_index(tmp_path), hosts=["testserver"], cors_origins=[shop]) as api:
        ask = {"q": "red"}
        assert api.get("/v1/search", params=ask, headers={"Origin": "http://testserver"}).status_code == 200
        assert (
            api.get("/v1/search", params=ask, headers={"Origin": "https://evil.example"}).status_code == 403
        )
        assert api.get("/v1/search", params=ask, headers={"Host": "evil.example:80"}).status_code == 403
        allowed = api.get("/v1/search", params=ask, headers={"Origin": shop})
        assert allowed.headers["access-control-allow-origin"] == shop
    with client(colour_index(tmp_path / "2")) as api:
        answer = api.get("/v1/search", params=ask, headers={"Origin": "http://testserver"})
        assert "access-control-allow-origin" not in answer.headers


class Server:
    """``hivlp serve`` in a process of its own."""

    def __init__(self, *arguments: str | Path, **environment: str) -> None:
        command = [sys.executable, "-m", "hivlp", "serve", *map(str, arguments), "--port", "0"]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
        )
        assert self.process.stderr is not None
        self.url = ""
        for line in self.process.stderr:
            if "serving" in line:
                self.url = line.split(" at ")[1].split()[0]
                break
        self.log: list[str] = []
        self._reading = threading.Thread(target=lambda: self.log.extend(self.process.stderr or ()))
        self._reading.start()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def ended(self) -> int:
        """The exit code, once the process has ended and its log was read."""
        code = self.process.wait(30)
        self._reading.join(30)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A real index of drawn scenes: the process must load its model by its name."""
    with Index.create(tmp_path / "scenes.hivlp", "mini") as index:
        index.add("scenes:6")
    return tmp_path / "scenes.hivlp"


def test_the_command_serves_and_stops_when_told(photos: Path) -> None:
    server = Server(photos, HIVLP_API_KEYS=KEY)
    try:
        headers = {"Authorization": f"Bearer {KEY}"}
        wait_until(lambda: httpx.get(f"{server.url}/readyz").status_code == 200)
        assert httpx.get(f"{server.url}/v1/search?q=secretword").status_code == 401
        answer = httpx.get(f"{server.url}/v1/search?q=secretword", headers=headers)
        assert len(answer.json()["hits"]) == 6
        assert (
            httpx.get(f"{server.url}/v1/search?q=red", headers={**headers, "Host": "a.b"}).status_code == 200
        )
    finally:
        code = server.stop()
    assert code in (0, -signal.SIGTERM)
    log = "".join(server.log)
    assert "GET /v1/search -> 200" in log
    assert answer.headers["x-request-id"] in log
    assert "secretword" not in log and KEY not in log
    assert "Traceback" not in log


def test_without_keys_only_local_names_are_answered(photos: Path) -> None:
    server = Server(photos, HIVLP_API_KEYS="")
    try:
        wait_until(lambda: httpx.get(f"{server.url}/readyz").status_code == 200)
        refused = httpx.get(f"{server.url}/v1/search?q=red", headers={"Host": "evil.example"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "foreign_host")
    finally:
        server.stop()


def test_requests_at_work_are_answered_before_it_stops(photos: Path) -> None:
    server = Server(photos, HIVLP_API_KEYS="")
    wait_until(lambda: httpx.get(f"{server.url}/readyz").status_code == 200)
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        body = b'{"query": "a red boat"}'
        head = f"POST /v1/search HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
        time.sleep(0.2)  # the request has begun, and its body is still to come
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        connection.sendall(body)
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200")
    assert b'"hits"' in answer
    assert server.ended() in (0, -signal.SIGTERM)
