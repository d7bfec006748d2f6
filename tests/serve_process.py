"""``hivlp serve`` in a process of its own, watched from outside, for the tests that mistreat it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx

from serve_tools import wait_until

# What an answer must never hold: parts of a traceback, and where the code lies.
_LEAKS = (b"Traceback", b'File "', b"site-packages", b"/hivlp/serve", b'.py"', b"Error:")
_MIB = 1 << 20


class Server:
    """A server process; use as a context manager.

    Attributes:
        url: where it listens.
        log: the lines that it wrote to stderr.
    """

    def __init__(self, *command: str | Path, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "HIVLP_API_KEYS": "", **environment},
        )
        assert self.process.stderr is not None
        self.log: list[str] = []
        for line in self.process.stderr:
            self.log.append(line)
            if "serving" in line:
                break
        assert self.log and "serving" in self.log[-1], self.log
        self.url = self.log[-1].split(" at ")[1].split()[0]
        self._reading = threading.Thread(target=lambda: self.log.extend(self.process.stderr or ()))
        self._reading.start()
        self.http = httpx.Client(base_url=self.url, timeout=30)

    def __enter__(self) -> Server:
        wait_until(lambda: self.http.get("/readyz").status_code == 200)
        return self

    def __exit__(self, *error: object) -> None:
        self.http.close()
        self.process.terminate()
        self.process.wait(30)
        self._reading.join(30)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def connect(self) -> socket.socket:
        """A plain connection, to send whatever one likes."""
        host, port = self.url.removeprefix("http://").split(":")
        connection = socket.create_connection((host, int(port)), timeout=30)
        return connection

    def send(self, *parts: bytes, end: bool = False) -> bytes:
        """Sends bytes on a connection of their own, and reads the answer until the server closes it.

        Args:
            parts: what is sent; the server may stop listening in between.
            end: half-close the connection afterwards.
        """
        with self.connect() as connection:
            try:
                for part in parts:
                    connection.sendall(part)
                if end:
                    connection.shutdown(socket.SHUT_WR)
            except (BrokenPipeError, ConnectionResetError):
                pass
            return read_all(connection)

    def memory(self) -> float:
        """The memory that the process holds, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024


def read_all(connection: socket.socket) -> bytes:
    """What comes on a connection until its end."""
    answer = b""
    try:
        while data := connection.recv(_MIB):
            answer += data
    except ConnectionResetError:
        pass
    return answer


def split(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an answer as it came over the wire."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(first.split()[1]), headers, body


def check_error(status: int, headers: Any, body: bytes) -> tuple[int, str]:
    """That a refusal has our form and tells nothing of the inside. Gives its status and code."""
    assert 400 <= status < 500, (status, body[:300])
    assert not any(leak in body for leak in _LEAKS), body[:500]
    assert headers["content-type"] == "application/json"
    assert headers["x-content-type-options"] == "nosniff"
    assert "content-security-policy" in headers
    error = json.loads(body)["error"]
    assert set(error) == {"code", "message", "request_id"}
    assert error["request_id"] == headers["x-request-id"]
    assert error["message"] and len(error["message"]) < 3_000
    return status, error["code"]
