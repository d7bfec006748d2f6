"""HTTP/1.1 on one connection, by uvicorn, with limits that uvicorn lacks.

uvicorn waits for ever for the head of a request, stores a head of any length, and keeps an answer as long as
the client does not read it. Here a client that stalls, or sends an endless head, loses its connection, and
invalid HTTP gets an error response in the form of the API.
"""

from __future__ import annotations

import asyncio
import secrets
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from hivlp.serve.guard import HEADERS
from hivlp.serve.problems import Problem

_NO_HTTP = Problem(400, "bad_request", "not a valid HTTP/1.1 request")
_LONG_HEAD = Problem(
    431, "too_large", "the head of the request is too long: send a long query by POST /v1/search"
)
_SLOW_HEAD = Problem(408, "too_slow", "the head of the request took too long to arrive")


class Protocol(HttpToolsProtocol):
    """One connection.

    Attributes:
        head_s: seconds that the head of a request may take; the guard limits those of the body.
        head_bytes: largest size of an incomplete head.
        linger_s: seconds that a refused client has to read the error.
        read_s: seconds within which a client must read some part of a waiting answer.
    """

    head_s = 20.0
    head_bytes = 1 << 17
    linger_s = 2.0
    read_s = 30.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head = 0
        self._refused = False
        self._running: RequestResponseCycle | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._read_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop(self._head_timer)
        self._stop(self._read_timer)
        if self._running is not None:  # uvicorn notifies only the last of several requests
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        super().data_received(data)
        if self._refused or self.transport.is_closing():
            return
        if self._at_work():
            self._stop(self._head_timer)
            self._head_timer, self._head = None, 0
            return
        self._head += len(data)
        if self._head > self.head_bytes:
            self._refuse(_LONG_HEAD)
        elif self._head_timer is None:
            self._wait_for_head()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stop(self._read_timer)
        self._watch_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop(self._read_timer)

    def send_400_response(self, msg: str) -> None:
        self._refuse(_NO_HTTP)

    def _at_work(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait_for_head(self) -> None:
        self._head_timer = self.loop.call_later(self.head_s, self._head_is_late)

    def _head_is_late(self) -> None:
        if self._head:
            self._refuse(_SLOW_HEAD)
        else:  # a browser opened the connection in advance, or the client is idle
            self.transport.close()

    def _watch_reader(self) -> None:
        waiting = self.transport.get_write_buffer_size()

        def look() -> None:
            if self.transport.get_write_buffer_size() >= waiting:
                self.transport.abort()
            else:
                self._watch_reader()

        self._read_timer = self.loop.call_later(self.read_s, look)

    def _refuse(self, problem: Problem) -> None:
        """Answers an invalid request with an error, and closes the connection.

        If an earlier request on the connection is complete, it gets its answer instead, as the last one.
        """
        self._refused = True
        self._stop(self._head_timer)
        if self._at_work():
            if self.pipeline or self.cycle.response_started or not self.cycle.more_body:
                self.cycle.keep_alive = False
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write(_as_bytes(problem))
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        # A client that is still sending needs a moment to read the answer.
        self._head_timer = self.loop.call_later(self.linger_s, self.transport.close)

    @staticmethod
    def _stop(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()


def _as_bytes(problem: Problem) -> bytes:
    request_id = secrets.token_hex(8)
    response = problem.response(request_id)
    response.headers.update({**HEADERS, "X-Request-Id": request_id, "Connection": "close"})
    first = f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}\r\n".encode()
    head = b"".join(name + b": " + value + b"\r\n" for name, value in response.raw_headers)
    return first + head + b"\r\n" + bytes(response.body)
