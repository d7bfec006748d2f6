"""A service over a small index of colours, for the tests of the HTTP interface."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from fakes import ColourEncoder, gallery
from hivlp.retriever import Index
from hivlp.serve import ServiceSettings, create_app


def colour_index(folder: Path, *, writable: bool = False) -> Index:
    """Pictures of all colours with captions and metadata, and two texts."""
    encoder = ColourEncoder()
    path = folder / "colours.hivlp"
    with Index.create(path, encoder) as index:
        index.add(gallery(folder / "pictures"))
        index.add_texts(
            ["a red thing", "a blue thing"], ids=["note/red", "note/blue"], meta=[{"pages": 3}] * 2
        )
    return Index.open(path, encoder, writable=writable)


@contextmanager
def client(index: Index, *more: Index, **settings: Any) -> Iterator[TestClient]:
    """A client of the running service; the indexes are named ``colours``, ``index2``, …"""
    names = ["colours", *(f"index{number}" for number in range(2, 2 + len(more)))]
    app = create_app(dict(zip(names, (index, *more), strict=True)), ServiceSettings(**settings))
    with TestClient(app, raise_server_exceptions=False) as opened:
        wait_until(lambda: opened.get("/readyz").status_code == 200)
        yield opened


def wait_until(true: Any, *, seconds: float = 30.0) -> None:
    """Waits for something that other threads or processes bring about; fails when it does not come."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)
