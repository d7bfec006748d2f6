"""Several processes behind one socket: one service from outside, whichever of them answers or dies."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from hivlp.errors import ConfigError
from hivlp.serve import ServiceSettings
from hivlp.serve.keys import Rate
from hivlp.serve.problems import Problem
from hivlp.serve.processes import check, settings_of_each
from hivlp.serve.shared_folder import SharedFolder
from ran import Ran
from serve_process import QUERY, Server, read_all, request, scenes
from serve_tools import wait_until

BOTH = 2


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenes(tmp_path_factory.mktemp("processes") / "quiet.hivlp")


@pytest.fixture
def service(index: Path) -> Iterator[Server]:
    with serving(index) as server:
        yield server


def serving(index: Path, *options: str) -> Server:
    return Server("-m", "hivlp", "serve", index, "--port", "0", "--processes", str(BOTH), *options)


def workers(server: Server) -> set[int]:
    """The processes that answer."""
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()}


def is_there(pid: int) -> bool:
    with suppress(FileNotFoundError):
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


def ask_until_both_answer(server: Server, path: str) -> list[httpx.Response]:
    """Answers on connections of their own, until each process gave some; an id begins with its process."""
    answers: list[httpx.Response] = []
    with ThreadPoolExecutor(8) as people:
        for _ in range(50):
            answers += people.map(lambda _: httpx.get(server.url + path, timeout=30), range(16))
            if len({answer.headers["x-request-id"][:8] for answer in answers}) == BOTH:
                return answers
    pytest.fail("one process answers all")


def count_of(server: Server, metric: str) -> float:
    lines = server.http.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(metric))


def test_metrics_are_those_of_all_processes_and_stay_when_one_is_killed(service: Server) -> None:
    answers = ask_until_both_answer(service, "/v1/items/nothing")
    assert {answer.status_code for answer in answers} == {404}
    asked = 'hivlp_requests_total{route="/v1/items/{item_id:path}",status="404"}'
    assert count_of(service, asked) == len(answers)
    assert count_of(service, "hivlp_items") == 6, "of the index, not of each process"

    before = workers(service)
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    for _ in range(20):
        assert httpx.get(f"{service.url}/v1/search", params=QUERY, timeout=30).json()["hits"] == service.usual
    wait_until(lambda: len(workers(service)) == BOTH and victim not in workers(service))
    service.http.close()  # its connection may have been the victim's
    service.http = httpx.Client(base_url=service.url, timeout=30)
    wait_until(lambda: service.http.get("/readyz").status_code == 200)
    assert len(workers(service) - before) == 1
    assert count_of(service, asked) == len(answers), "what the killed one had counted is kept"
    assert count_of(service, "hivlp_in_flight") == 0
    assert count_of(service, "hivlp_items") == 6


def test_a_rate_holds_over_all_processes(index: Path) -> None:
    with serving(index, "--rate", "0.001") as server:  # one request at once, and the start has made it
        answers = ask_until_both_answer(server, "/v1/stats")
    assert {answer.status_code for answer in answers} == {429}


def test_a_stop_answers_what_is_at_work_first(service: Server) -> None:
    body = b'{"query": "a red boat", "index": "quiet"}'
    head = request(
        "/v1/search", "Content-Type: application/json", f"Content-Length: {len(body)}", method="POST"
    )
    pids = workers(service)
    with service.connect() as connection:
        connection.sendall(head)
        time.sleep(0.3)  # the request has begun, and its body is still to come
        service.process.send_signal(signal.SIGTERM)
        time.sleep(1.0)
        connection.sendall(body)
        (answer,) = read_all(connection)
    assert answer.status == 200 and b'"hits"' in answer.body
    assert service.process.wait(30) == 0
    assert not any(map(is_there, pids))


def test_no_process_outlives_the_one_that_started_it(service: Server) -> None:
    pids = workers(service)
    assert len(pids) == BOTH
    service.process.kill()
    wait_until(lambda: not any(map(is_there, pids)))


def test_one_writer_means_one_process(index: Path, hivlp: Callable[..., Ran]) -> None:
    ran = hivlp("serve", index, "--processes", "3", "--writable", "--port", "0")
    assert ran.code == 2
    assert "--writable and --processes 3 exclude each other: an index has one writer" in ran.err
    check(ServiceSettings(writable=True), 1)
    with pytest.raises(ConfigError, match="another --port"):
        check(ServiceSettings(writable=True), 2)


def test_limits_of_the_whole_service_are_divided() -> None:
    part = settings_of_each(
        ServiceSettings(queue=5, max_body_bytes=10, max_bodies_bytes=15, cached_thumbnail_bytes=9), 2
    )
    assert (part.queue, part.max_bodies_bytes, part.cached_thumbnail_bytes) == (3, 10, 4)
    assert part.search_threads <= ServiceSettings().search_threads


def test_processes_take_from_the_same_buckets(tmp_path: Path) -> None:
    now = [0.0]
    one, other = (Rate(2.0, tmp_path / "rates", clock=lambda: now[0]) for _ in range(2))
    for rate in (one, other, one, other):
        rate.take("a")
    for rate in (one, other):
        with pytest.raises(Problem, match="more than 2 requests per second"):
            rate.take("a")
    other.take("b")
    now[0] += 0.5
    one.take("a")
    with pytest.raises(Problem):
        other.take("a")


def test_all_are_ready_when_each_is_and_lives(tmp_path: Path) -> None:
    two = SharedFolder(tmp_path, 2)
    two.mark_ready()
    assert not two.all_ready()
    assert SharedFolder(tmp_path, 1).all_ready()
    (tmp_path / "999999999.ready").touch()  # of a process that is gone
    assert not two.all_ready()
