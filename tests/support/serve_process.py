"""``hivlp serve`` in a process of its own, watched from outside, for the tests that mistreat it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from hivlp.retriever import Index
from hivlp.scenes import describe, render
from serve_tools import wait_until

QUERY = {"q": "a red boat on the sea", "k": "5", "index": "quiet"}
# What no answer may hold: parts of a traceback, and where the code lies.
_LEAKS = (b"Traceback", b'File \\"', b"site-packages", b"hivlp/serve", b".py", b"Exception")


class Answer(NamedTuple):
    """One answer, as it came over the wire."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def code(self) -> str:
        """The code of a refusal, once it is seen to have our form and to tell nothing of the inside."""
        assert 400 <= self.status < 500, (self.status, self.body[:300])
        assert not any(leak in self.body for leak in _LEAKS), self.body[:500]
        assert self.headers["content-type"] == "application/json"
        assert self.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in self.headers["content-security-policy"]
        error = json.loads(self.body)["error"]
        assert set(error) == {"code", "message", "request_id"}
        assert error["request_id"] == self.headers["x-request-id"]
        assert 0 < len(error["message"]) < 3_000
        return error["code"]


class Server:
    """A server process; use as a context manager.

    Attributes:
        url: where it listens.
        log: the lines that it wrote to stderr.
        usual: the hits of an ordinary search, as they were at first.
    """

    def __init__(self, *command: str | Path, key: str = "") -> None:
        self.process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "HIVLP_API_KEYS": key},
        )
        assert self.process.stderr is not None
        self.log: list[str] = []
        self._checked = 0
        for line in self.process.stderr:
            self.log.append(line)
            if "serving" in line:
                break
        self.url = self.log[-1].split(" at ")[1].split()[0]
        self._reading = threading.Thread(target=lambda: self.log.extend(self.process.stderr or ()))
        self._reading.start()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.http = httpx.Client(base_url=self.url, timeout=30, headers=headers)

    def __enter__(self) -> Server:
        wait_until(lambda: self.http.get("/readyz").status_code == 200)
        self.usual = self._search()
        assert self.usual
        return self

    def __exit__(self, *error: object) -> None:
        self.http.close()
        self.process.terminate()
        self.process.wait(30)
        self._reading.join(30)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def check(self) -> None:
        """That it lives, answers an ordinary search as ever, and met no fault of its own."""
        assert self.process.poll() is None
        assert self._search() == self.usual
        log = "".join(self.log[self._checked :])
        self._checked = len(self.log)
        assert "Traceback" not in log, log[log.find("Traceback") :][:5_000]

    def ask(self, method: str, path: str, **how: Any) -> Answer:
        """One request by a client that keeps to the rules."""
        response = self.http.request(method, path, **how)
        return Answer(response.status_code, response.headers, response.content)

    def connect(self) -> socket.socket:
        """A plain connection, to send whatever one likes."""
        host, port = self.url.removeprefix("http://").split(":")
        return socket.create_connection((host, int(port)), timeout=30)

    def send(self, *parts: bytes) -> list[Answer]:
        """Sends bytes on a connection of their own, and reads the answers until the server closes it."""
        with self.connect() as connection:
            with suppress(BrokenPipeError, ConnectionResetError):  # it may stop listening in between
                for part in parts:
                    connection.sendall(part)
            return read_all(connection)

    def memory(self) -> float:
        """The memory that the process holds, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def _search(self) -> list[dict[str, Any]]:
        return self.http.get("/v1/search", params=QUERY).raise_for_status().json()["hits"]


def scenes(path: Path, *, count: int = 6) -> Path:
    """An index of drawn scenes and the folder ``pictures`` that it was made of, beside it."""
    folder = path.parent / f"{path.stem}-pictures"
    folder.mkdir(parents=True)
    for number in range(count):
        render(describe(number), size=64).save(folder / f"{number}.png")
    with Index.create(path, "mini") as index:
        index.add(folder)
    return path


def request(target: str, *lines: str, method: str = "GET", body: bytes = b"", close: bool = True) -> bytes:
    """A request as bytes; ``lines`` are more lines of its head."""
    head = [f"{method} {target} HTTP/1.1", *(["Connection: close"] if close else []), *lines]
    if not any(line.lower().startswith("host:") for line in lines):
        head.append("Host: 127.0.0.1")
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body


def read_all(connection: socket.socket) -> list[Answer]:
    """All answers that come on a connection until its end."""
    data = b""
    with suppress(ConnectionResetError):
        while more := connection.recv(1 << 20):
            data += more
    answers: list[Answer] = []
    while data:
        answer, data = _first(data)
        answers.append(answer)
    return answers


def _first(data: bytes) -> tuple[Answer, bytes]:
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    length = int(headers.get("content-length", 0))
    return Answer(int(first.split()[1]), headers, rest[:length]), rest[length:]
