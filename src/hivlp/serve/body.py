"""The body of a request on its way in: bounded in bytes and seconds, and read to its end by every answer."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.types import Message, Receive

from hivlp.serve.problems import Problem, busy
from hivlp.serve.settings import Settings


class Held:
    """Bytes of all bodies that a service holds at a time."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = 0

    def take(self, count: int) -> None:
        """Counts bytes that came. Raises Problem: 429, there are too many."""
        self._bytes += count
        if self._bytes > self._limit:
            raise busy(
                f"the bodies of all requests together have more than {self._limit:,} bytes; try again soon"
            )

    def free(self, count: int) -> None:
        """Counts bytes that are not needed any more."""
        self._bytes -= count


class Body:
    """``receive`` of one request.

    Attributes:
        linger_s: seconds that a refused client may go on sending.
        whole: all of it was read, or there is none.
    """

    linger_s = 2.0

    def __init__(self, headers: Headers, receive: Receive, settings: Settings, held: Held) -> None:
        self._receive = receive
        self._limit = settings.max_body_bytes
        self._deadline = time.monotonic() + settings.body_timeout_s
        self._held = held
        self._bytes = 0
        self.whole = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers

    async def __call__(self) -> Message:
        """The next part.

        Raises:
            Problem: 408, 413 or 429: it takes too long, or it is too much.
        """
        if self.whole:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, self._deadline - time.monotonic()))
        except (asyncio.TimeoutError, TimeoutError):
            raise Problem(408, "too_slow", "the request took too long to arrive") from None
        self._took(message)
        if self._bytes > self._limit:
            raise too_large(self._limit)
        return message

    async def discard(self) -> None:
        """Reads on for a moment and keeps nothing.

        Closing the connection of a client that still sends would take the answer with it.
        """
        with suppress(asyncio.TimeoutError, TimeoutError):
            await asyncio.wait_for(self._read_on(), self.linger_s)

    def free(self) -> None:
        """The request is done: nothing of its body is held any more."""
        self._held.free(self._bytes)
        self._bytes = 0

    async def _read_on(self) -> None:
        left = self._limit
        while not self.whole and left > 0:
            message = await self._receive()
            left -= len(message.get("body", b""))
            self.whole = not message.get("more_body", False)

    def _took(self, message: Message) -> None:
        count = len(message.get("body", b""))
        self.whole = not message.get("more_body", False)
        self._bytes += count
        try:
            self._held.take(count)
        except Problem:
            self.free()  # at once: those that go on need the room
            raise


def too_large(limit: int) -> Problem:
    """The answer to a body of more bytes than that."""
    return Problem(413, "too_large", f"the request is larger than {limit:,} bytes; send less at a time")
