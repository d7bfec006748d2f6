"""Who may ask, and how often: API keys and rates."""

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
_LEAST_LENGTH = 16
_CALLERS = 10_000
_BUCKETS = "CREATE TABLE IF NOT EXISTS buckets(caller TEXT PRIMARY KEY, left REAL, since REAL) WITHOUT ROWID"
_FORGET = """
DELETE FROM buckets WHERE caller IN (SELECT caller FROM buckets ORDER BY since DESC LIMIT -1 OFFSET ?)
"""


def read_keys(value: str) -> tuple[str, ...]:
    """The keys of the environment variable: one or several, with commas between them.

    Raises:
        ConfigError: a key that is too short to be a secret, or that no header can carry.
    """
    keys = tuple(key for key in (part.strip() for part in value.split(",")) if key)
    for number, key in enumerate(keys, start=1):
        if len(key) < _LEAST_LENGTH or not (key.isascii() and key.isprintable()) or " " in key:
            raise ConfigError(
                f"key {number} in {ENVIRONMENT} can't be used: a key is at least {_LEAST_LENGTH} visible "
                "ASCII characters without spaces. Make one with: python -c 'import secrets; "
                "print(secrets.token_urlsafe(24))'"
            )
    return keys


class Keys:
    """The keys of a service. Only their digests are kept."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._digests = [_digest(key) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def caller(self, authorization: str | None) -> str:
        """A short name of the key that a header ``Authorization`` shows, for rates and logs.

        Raises:
            Problem: 401, there is no key or it is not one of these.
        """
        scheme, _, key = (authorization or "").partition(" ")
        shown = _digest(key.strip())
        # All are compared, each in constant time: the time tells neither which key nor how much of it fits.
        fits = [hmac.compare_digest(shown, digest) for digest in self._digests]
        if scheme.lower() != "bearer" or not any(fits):
            raise Problem(
                401,
                "no_key",
                "this service needs a key; send it as the header Authorization: Bearer KEY",
                {"WWW-Authenticate": "Bearer"},
            )
        return f"key {fits.index(True) + 1}"


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


class Rate:
    """So many requests a second for each caller, two seconds' worth of them at once (a token bucket).

    The buckets are a table of SQLite, so that several processes can share them: whichever dies, and when,
    leaves no lock behind.
    """

    def __init__(
        self, per_s: float, path: Path | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Buckets that are full.

        Args:
            per_s: requests a second; 0 for any number.
            path: the table of several processes, made by the first; None for one process.
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
            self._db.execute("PRAGMA synchronous=OFF")  # lost with the machine, as the service is
            self._db.execute(_BUCKETS)

    def take(self, caller: str) -> None:
        """Counts one request. Raises Problem: 429, the caller had too many."""
        if self._per_s and (left := self._left(caller)) < 1:
            wait = max(1, round((1 - left) / self._per_s + 0.5))
            raise Problem(
                429,
                "rate_limited",
                f"more than {self._per_s:g} requests a second; try again in {wait} s",
                {"Retry-After": str(wait)},
            )

    def _left(self, caller: str) -> float:
        """What was left to a caller; if it was enough for a request, there is one less now."""
        self._db.execute("BEGIN IMMEDIATE")
        with self._db:
            now = self._clock()
            row = self._db.execute("SELECT left, since FROM buckets WHERE caller = ?", [caller]).fetchone()
            left, since = row or (self._most, now)
            left = min(self._most, left + (now - since) * self._per_s)
            kept = [caller, left - 1 if left >= 1 else left, now]
            self._db.execute("INSERT OR REPLACE INTO buckets VALUES (?, ?, ?)", kept)
            self._taken += 1
            if self._taken % _CALLERS == 0:
                self._db.execute(_FORGET, [_CALLERS])
        return left
