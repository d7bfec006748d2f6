"""Checks every request before anything reads its body.

It gives each request an id, a log entry and its metrics; checks host, origin, key and rate; limits the body
(see ``body``); and puts the security headers on every answer, errors included.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterable, Iterator
from itertools import count
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hivlp.serve.body import Body, BodyBudget, too_large
from hivlp.serve.keys import Keys, Rate
from hivlp.serve.metrics import Metrics
from hivlp.serve.problems import Problem, internal
from hivlp.serve.settings import ServiceSettings

_log = logging.getLogger("hivlp.serve")

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_RAW_HEADERS = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
# The page itself contains nothing of an index, and health checks have no key.
_OPEN = ("/", "/healthz", "/readyz", "/favicon.ico")
_OPEN_UNDER = "/page/"
# A page of results loads dozens of these; once cached they cost almost nothing.
_NOT_COUNTED = ("/thumbnail", "/original")


class Guard:
    """ASGI middleware; see the module."""

    def __init__(self, app: ASGIApp, *, settings: ServiceSettings, metrics: Metrics, rate: Rate) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._keys = Keys(settings.keys)
        self._rate = rate
        # one random prefix, instead of system randomness for every request
        self._ids, self._numbers = secrets.token_hex(4), count()
        self._budget = BodyBudget(settings.max_bodies_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method, scope = scope["method"], _as_get(scope)
        request_id = f"{self._ids}{next(self._numbers):08x}"
        scope.setdefault("state", {})["request_id"] = request_id
        headers = Headers(scope=scope)
        body = Body(headers, receive, self._settings, self._budget)
        answer = _Answer(send, request_id, body, private=scope["path"].startswith("/v1/"))
        start = time.perf_counter()
        try:
            self._admit(scope, headers)
            _forget_range(scope)
            await self._app(scope, body, answer)
        except Problem as problem:
            await self._refuse(problem, answer, scope)
        except ClientDisconnect:
            answer.status = 499  # as nginx counts clients that left
        except Exception:
            _log.exception("request %s failed", request_id)
            self._metrics.errors.inc()
            await self._refuse(internal(), answer, scope)
        finally:
            body.free()
            self._record(method, scope, answer.status, request_id, time.perf_counter() - start)

    def _admit(self, scope: Scope, headers: Headers) -> None:
        host = headers.get("host", "")
        if self._settings.hosts and _name_of(host) not in self._settings.hosts:
            raise Problem(
                403,
                "foreign_host",
                f"this service does not answer to the host name {_name_of(host)[:80]!r}: use the address "
                "that it printed, or start it with --allowed-host for the name of a proxy",
            )
        origin = headers.get("origin")
        if origin is not None and not _is_of(origin, host) and origin not in self._settings.cors_origins:
            raise Problem(403, "foreign_origin", "pages of other sites may not use this service")
        path = scope["path"]
        caller = scope["client"][0] if scope.get("client") else "unknown"
        if self._keys and path not in _OPEN and not path.startswith(_OPEN_UNDER):
            caller = self._keys.caller(headers.get("authorization"))
        if path.startswith("/v1/") and not path.endswith(_NOT_COUNTED):
            try:
                self._rate.take(caller)
            except Problem:
                self._metrics.refused.labels("rate").inc()
                raise
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._settings.max_body_bytes:
            raise too_large(self._settings.max_body_bytes)

    async def _refuse(self, problem: Problem, answer: _Answer, scope: Scope) -> None:
        if (
            answer.status is None
        ):  # else part of an answer was sent, and only closing the connection can signal the error
            await problem.response(answer.request_id)(scope, _nothing, answer)

    def _record(self, method: str, scope: Scope, status: int | None, request_id: str, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        self._metrics.requests.labels(route, str(status or 500)).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
        # Neither the query string nor an item's id is logged: searches are private.
        _log.info("%s %s %s -> %s in %.1f ms", request_id, method, route, status or 500, seconds * 1e3)


class _Answer:
    """``send`` of one request, with our headers; remembers the status.

    Where the body was not read to its end, the connection can't be reused: the answer says so, and the rest
    of the body is discarded for a moment before the connection closes.
    """

    def __init__(self, send: Send, request_id: str, body: Body, *, private: bool) -> None:
        self._send = send
        self._body = body
        self._private = private
        self.request_id = request_id
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message["headers"], *self._headers(message["headers"])]}
        elif not (self._body.complete or message.get("more_body", False)):
            await self._send({**message, "more_body": True})
            await self._body.discard()
            message = {"type": "http.response.body"}
        await self._send(message)

    def _headers(self, given: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        """Our headers, beside the given ones."""
        yield from _RAW_HEADERS
        yield b"x-request-id", self.request_id.encode()
        # No cache may store answers of an index; the files of the page are revalidated, so that they match.
        if not any(name == b"cache-control" for name, _ in given):
            yield b"cache-control", b"no-store" if self._private else b"no-cache"
        if not self._body.complete:
            yield b"connection", b"close"


def _as_get(scope: Scope) -> Scope:
    """HEAD is answered as GET; the server leaves the body out, as its own scope still says HEAD."""
    return {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope


def _forget_range(scope: Scope) -> None:
    """Drops range requests: files of the page are small, and thousands of ranges would waste work."""
    scope["headers"] = [header for header in scope["headers"] if header[0] != b"range"]


def _name_of(host: str) -> str:
    """The host without its port, as ``127.0.0.1`` or ``[::1]``."""
    if host.startswith("["):
        return host[: host.find("]") + 1].lower()
    return host.partition(":")[0].lower()


def _is_of(origin: str, host: str) -> bool:
    """Whether an origin is the service itself; False for an invalid address."""
    try:
        return urlsplit(origin).netloc == host
    except ValueError:
        return False


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
