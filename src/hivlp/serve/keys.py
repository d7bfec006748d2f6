"""API keys, and request rates per caller."""

from __future__ import annotations

import hashlib
import hmac
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hivlp.errors import ConfigError
from hivlp.serve.problems import Problem

ENVIRONMENT = "HIVLP_API_KEYS"
_MIN_KEY_LENGTH = 16
_CALLERS = 10_000
_BUCKETS = "CREATE TABLE IF NOT EXISTS buckets(caller TEXT PRIMARY KEY, left REAL, since REAL) WITHOUT ROWID"
_FORGET = """
DELETE FROM buckets WHERE caller IN (SELECT caller FROM buckets ORDER BY since DESC LIMIT -1 OFFSET ?)
"""


def read_keys(value: str) -> tuple[str, ...]:
    """The keys in the environment variable: one or several, separated by commas.

    Raises:
        ConfigError: a key is too short, or has characters that a header can't carry.
    """
    keys = tuple(key for key in (part.strip() for part in value.split(",")) if key)
    for number, key in enumerate(keys, start=1):
        if len(key) < _MIN_KEY_LENGTH or not (key.isascii() and key.isprintable()) or " " in key:
            raise ConfigError(
                f"key {number} in {ENVIRONMENT} is invalid: must have at least {_MIN_KEY_LENGTH} visible "
                "ASCII characters and no spaces. Make one with: python -c 'import secrets; "
                "print(secrets.token_urlsafe(24))'"
            )
    return keys


class Keys:
    """The keys of a service, stored as digests."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._digests = [_digest(key) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def caller(self, authorization: str | None) -> str:
        """A short name of the key in a header ``Authorization``, for rates and logs.

        Raises:
            Problem: 401, the key is missing or unknown.
        """
        scheme, _, key = (authorization or "").partition(" ")
        shown = _digest(key.strip())
        # All keys are compared, each in constant time: the time reveals neither the key nor how much of it
        # matches.
        fits = [hmac.compare_digest(shown, digest) for digest in self._digests]
        if scheme.lower() != "bearer" or not any(fits):
            raise Problem(
                401,
                "no_key",
                "this service needs a key: send it as the header Authorization: Bearer KEY",
                {"WWW-Authenticate": "Bearer"},
            )
        return f"key {fits.index(True) + 1}"


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


class Rate:
    """Limits the requests per second of each caller, with bursts of two seconds' worth (a token bucket).

    The buckets are a table of SQLite, so that several processes can share them: a process that dies leaves no
    lock behind.
    """

    def __init__(
        self, per_s: float, path: Path | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """A rate limit with full buckets.

        Args:
            per_s: requests per second; 0 for no limit.
            path: the table that several processes share; None for one process.
            clock: seconds, the same for all processes.
        """
        self._per_s = per_s
        self._most = max(1.0, 2 * per_s)
        self._clock = clock
        self._taken = 0
        if per_s:
            self._db = sqlite3.connect(
                path or ":memory:", timeout=5, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(
                "PRAGMA synchronous=OFF"
            )  # may be lost in a crash of the machine, as the service is
            self._db.execute(_BUCKETS)

    def take(self, caller: str) -> None:
        """Counts one request. Raises Problem: 429, the caller made too many."""
        if self._per_s and (left := self._left(caller)) < 1:
            wait = max(1, round((1 - left) / self._per_s + 0.5))
            raise Problem(
                429,
                "rate_limited",
                f"more than {self._per_s:g} requests per second: try again in {wait} s",
                {"Retry-After": str(wait)},
            )

    def _left(self, caller: str) -> float:
        """The requests left to a caller, before taking one if there is one."""
        self._db.execute("BEGIN IMMEDIATE")
        with self._db:
            now = self._clock()
            row = self._db.execute("SELECT left, since FROM buckets WHERE caller = ?", [caller]).fetchone()
            left, since = row or (self._most, now)
            left = min(self._most, left + (now - since) * self._per_s)
            row = [caller, left - 1 if left >= 1 else left, now]
            self._db.execute("INSERT OR REPLACE INTO buckets VALUES (?, ?, ?)", row)
            self._taken += 1
            if self._taken % _CALLERS == 0:
                self._db.execute(_FORGET, [_CALLERS])
        return left
