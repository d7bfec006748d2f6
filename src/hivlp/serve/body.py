"""Receives request bodies, limited in bytes and seconds, and read to the end before every answer."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.types import Message, Receive

from hivlp.serve.problems import Problem, busy
from hivlp.serve.settings import ServiceSettings


class BodyBudget:
    """Limit for the bytes of all request bodies in memory at a time."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = 0

    def take(self, count: int) -> None:
        """Counts received bytes. Raises Problem: 429, above the limit."""
        self._bytes += count
        if self._bytes > self._limit:
            raise busy(
                f"the bodies of all requests together have more than {self._limit:,} bytes: try again soon"
            )

    def free(self, count: int) -> None:
        """Counts bytes that were freed."""
        self._bytes -= count


class Body:
    """``receive`` of one request.

    Attributes:
        linger_s: seconds that a refused client may go on sending.
        complete: the whole body was read, or the request has none.
    """

    linger_s = 2.0

    def __init__(
        self, headers: Headers, receive: Receive, settings: ServiceSettings, budget: BodyBudget
    ) -> None:
        self._receive = receive
        self._limit = settings.max_body_bytes
        self._deadline = time.monotonic() + settings.body_timeout_s
        self._budget = budget
        self._bytes = 0
        self.complete = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers

    async def __call__(self) -> Message:
        """The next part.

        Raises:
            Problem: 408, 413 or 429: the body is too slow or too large.
        """
        if self.complete:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, self._deadline - time.monotonic()))
        except (asyncio.TimeoutError, TimeoutError):
            raise Problem(408, "too_slow", "the request took too long to arrive") from None
        self._count(message)
        if self._bytes > self._limit:
            raise too_large(self._limit)
        return message

    async def discard(self) -> None:
        """Reads on for a moment and discards the data.

        Closing the connection while the client still sends would lose the answer.
        """
        with suppress(asyncio.TimeoutError, TimeoutError):
            await asyncio.wait_for(self._read_on(), self.linger_s)

    def free(self) -> None:
        """Called when the request is done: its body no longer counts."""
        self._budget.free(self._bytes)
        self._bytes = 0

    async def _read_on(self) -> None:
        left = self._limit
        while not self.complete and left > 0:
            message = await self._receive()
            left -= len(message.get("body", b""))
            self.complete = not message.get("more_body", False)

    def _count(self, message: Message) -> None:
        count = len(message.get("body", b""))
        self.complete = not message.get("more_body", False)
        self._bytes += count
        try:
            self._budget.take(count)
        except Problem:
            self.free()  # at once, so that other requests have room
            raise


def too_large(limit: int) -> Problem:
    """The answer to a body above the limit."""
    return Problem(413, "too_large", f"the request is larger than {limit:,} bytes: send less at a time")
