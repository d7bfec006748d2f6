"""Slow clients, too many bytes at a time, and keys: whoever breaks a rule loses its own connection only."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serve_process import Answer, Server, read_all, request, scenes
from serve_tools import wait_until

KEY = "a-key-of-enough-letters"
JSON_TYPE = "Content-Type: application/json"
# As the command does it, with limits that a test can wait for.
SHORT = """
import sys
from hivlp.retriever import Index
from hivlp.serve import ServiceSettings, create_app
from hivlp.serve.body import Body
from hivlp.serve.protocol import Protocol
from hivlp.serve.run import open_socket, run, url_of

Protocol.head_s = Protocol.read_s = Protocol.linger_s = Body.linger_s = 0.4
listener = open_socket("127.0.0.1", 0)
settings = ServiceSettings(body_timeout_s=0.4, max_bodies_bytes=3_000_000)
app = create_app({"quiet": Index.open(sys.argv[1])}, settings)
say = lambda: print(f"serving at {url_of(listener)} now", file=sys.stderr, flush=True)
run(app, listener, started=say)
"""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenes(tmp_path_factory.mktemp("limits") / "quiet.hivlp")


@pytest.fixture(scope="module")
def short(index: Path) -> Iterator[Server]:
    with Server("-c", SHORT, index) as server:
        yield server


@pytest.fixture(scope="module")
def locked(index: Path) -> Iterator[Server]:
    with Server("-m", "hivlp", "serve", index, "--port", "0", key=KEY) as server:
        yield server


def drip(connection: socket.socket, data: bytes) -> list[Answer]:
    """Sends byte after byte, and waits a moment after each for an answer."""
    connection.settimeout(0.02)
    for place in range(len(data)):
        try:
            connection.sendall(data[place : place + 1])
            if connection.recv(1, socket.MSG_PEEK) or True:
                break
        except TimeoutError:
            continue
        except (BrokenPipeError, ConnectionResetError):
            break
    else:
        pytest.fail("the server listened to the end")
    connection.settimeout(30)
    return read_all(connection)


def test_a_connection_that_says_nothing_is_closed(short: Server) -> None:
    with short.connect() as connection:
        assert read_all(connection) == []
    short.check()


def test_a_head_that_drips_is_cut_off(short: Server) -> None:
    with short.connect() as connection:
        (answer,) = drip(connection, request("/healthz", "X: " + "a" * 1_000))
    assert (answer.status, answer.code()) == (408, "too_slow")
    with short.connect() as connection:  # also the second head on a connection
        connection.sendall(request("/healthz", close=False))
        assert b"200 OK" in connection.recv(12)[:12] + connection.recv(1 << 16)
        (answer,) = drip(connection, request("/healthz", "X: " + "a" * 1_000))
    assert answer.status == 408
    short.check()


def test_a_body_that_drips_is_cut_off(short: Server) -> None:
    head = request("/v1/search", JSON_TYPE, "Content-Length: 2000", method="POST", close=False)
    with short.connect() as connection:
        connection.sendall(head)
        (answer,) = drip(connection, b" " * 2_000)
    assert (answer.status, answer.code()) == (408, "too_slow")
    assert answer.headers["connection"] == "close"
    short.check()


def test_the_body_of_a_refused_request_is_not_waited_for(short: Server) -> None:
    head = request("/nowhere", "Content-Length: 2000", method="POST", close=False)
    with short.connect() as connection:
        connection.sendall(head)
        (answer,) = read_all(connection)
    assert (answer.status, answer.headers["connection"]) == (404, "close")
    short.check()


def sockets(server: Server) -> int:
    folder = Path(f"/proc/{server.process.pid}/fd")
    names = [str(entry.readlink()) for entry in list(folder.iterdir()) if entry.is_symlink()]
    return sum(name.startswith("socket:") for name in names)


def test_answers_that_nobody_reads_are_given_up(short: Server) -> None:
    short.check()
    before = sockets(short)
    one = request("/v1/openapi.json", close=False)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        host, port = short.url.removeprefix("http://").split(":")
        connection.connect((host, int(port)))
        connection.sendall(one * 500)  # some 20 MB of answers
        wait_until(lambda: sockets(short) > before)
        wait_until(lambda: sockets(short) == before)
        short.check()


def test_bodies_together_are_bounded(short: Server) -> None:
    """Each is below the limit of one request, and both together are above that of all."""
    head = request("/v1/search", JSON_TYPE, "Content-Length: 2500000", method="POST", close=False)

    def almost(_: int) -> Answer:
        (answer,) = short.send(head, b" " * 2_000_000)
        return answer

    with ThreadPoolExecutor() as threads:
        answers = list(threads.map(almost, range(2)))
    assert {answer.code() for answer in answers} == {"busy", "too_slow"}
    (busy,) = [answer for answer in answers if answer.status == 429]
    assert busy.headers["retry-after"] == "1"
    alone = short.ask(
        "POST", "/v1/search", content=b" " * 2_500_000, headers={"Content-Type": "application/json"}
    )
    assert alone.status == 422, "the others are forgotten"
    short.check()


NO_KEY: dict[str, list[str]] = {
    "none": [],
    "empty": ["Authorization:"],
    "no word": ["Authorization: Bearer"],
    "spaces": ["Authorization: Bearer    "],
    "wrong": ["Authorization: Bearer a-key-of-enough-letterz"],
    "half": [f"Authorization: Bearer {KEY[:-1]}"],
    "twice": [f"Authorization: Bearer {KEY}{KEY}"],
    "more": [f"Authorization: Bearer {KEY} {KEY}"],
    "list": [f"Authorization: Bearer x,{KEY}"],
    "other scheme": [f"Authorization: Basic {KEY}"],
    "other header": [f"X-API-Key: {KEY}", f"Cookie: key={KEY}"],
    "long": ["Authorization: Bearer " + "a" * 60_000],
    "not ASCII": ["Authorization: Bearer \xe9\xff\x80"],
    "first of two": ["Authorization: Bearer wrong", f"Authorization: Bearer {KEY}"],
}


@pytest.mark.parametrize("name", list(NO_KEY))
@pytest.mark.parametrize(
    "target", ["/v1/search?q=red", f"/v1/stats?key={KEY}", "/metrics", "/v1/openapi.json"]
)
def test_who_has_no_key_gets_nothing(locked: Server, target: str, name: str) -> None:
    (answer,) = locked.send(request(target, *NO_KEY[name]))
    assert (answer.status, answer.code()) == (401, "no_key")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert KEY.encode() not in answer.body
    locked.check()


@pytest.mark.parametrize(
    "target",
    ["/page/../v1/stats", "/page/%2e%2e/v1/stats", "//v1/stats", "/V1/stats", "/page/%2e%2e/metrics"],
)
def test_no_path_leads_around_the_key(locked: Server, target: str) -> None:
    (answer,) = locked.send(request(target))
    assert answer.code() in ("no_key", "not_found")


def test_the_page_and_health_need_no_key(locked: Server) -> None:
    for target in ("/", "/page/index.html", "/healthz", "/readyz"):
        (answer,) = locked.send(request(target))
        assert answer.status == 200


def test_with_a_key_names_are_free_and_origins_are_not(locked: Server) -> None:
    key = f"Authorization: Bearer {KEY}"
    (answer,) = locked.send(request("/v1/stats", key, "Host: search.example"))
    assert answer.status == 200
    (answer,) = locked.send(
        request("/v1/stats", key, "Host: search.example", "Origin: https://search.example")
    )
    assert answer.status == 200
    (answer,) = locked.send(request("/v1/stats", key, "Host: search.example", "Origin: https://evil.example"))
    assert (answer.status, answer.code()) == (403, "foreign_origin")


def test_a_key_stands_in_no_log(locked: Server) -> None:
    locked.check()
    assert KEY not in "".join(locked.log)
