"""Whoever searches while an index changes gets answers of one moment: ids with their own vectors."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from test_index_kill import new_index

import index_model
from hivlp.errors import QueryError
from hivlp.search.cascade import Plan
from hivlp.stores.local import LocalStore
from hivlp.types import Hits
from index_model import Model, changed, make, random_change, vectors
from processes import until_patience_ends

PLANS = [Plan(candidates="all"), Plan(candidates=5)]
QUERIES = vectors([(1_000 + n, 0) for n in range(3)])


def assert_of_one_moment(found: list[Hits]) -> None:
    """Each hit says its number and version, so what its scores must be is known."""
    for query, hits in enumerate(found):
        assert len({hit.id for hit in hits}) == len(hits)
        for hit in hits:
            assert hit.caption is not None
            mine = vectors([(int(hit.id.removeprefix("id-")), int(hit.caption.removeprefix("version ")))])
            assert hit.score == pytest.approx(float(QUERIES.fine[query] @ mine.fine[0]), abs=2e-3)
            assert hit.coarse_score == pytest.approx(float(QUERIES.coarse[query] @ mine.coarse[0]), abs=2e-3)


def searches(store: LocalStore, k: int = 30) -> Iterator[list[Hits]]:
    while True:
        for plan in PLANS:
            yield store.search(QUERIES, k=k, plan=plan)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that adds to ``x.hivlp``, updates, deletes and compacts until it is killed."""
    new_index(tmp_path / "x.hivlp").close()
    command = [sys.executable, index_model.__file__, str(tmp_path / "x.hivlp"), "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    drain = threading.Thread(target=process.stdout.read)  # else it stops when the pipe is full
    drain.start()
    yield process
    process.kill()
    process.wait()
    drain.join()
    process.stdout.close()


def test_readers_beside_a_writing_process(tmp_path, writer):
    generations, counts = set[int](), set[int]()
    with LocalStore.open(tmp_path / "x.hivlp") as store:
        for number, found in zip(until_patience_ends(), searches(store), strict=False):
            assert_of_one_moment(found)
            generations.add(store.folder.state().generation)
            counts.add(store.count())
            if number % 3 == 0:
                store.refresh()
            if number % 7 == 0:
                with LocalStore.open(tmp_path / "x.hivlp") as another:
                    assert_of_one_moment(another.search(QUERIES, k=3))
            if number > 60 and len(generations) > 5 and len(counts) > 10:
                break
            assert writer.poll() is None, "the writer failed"


def test_verifying_beside_a_writing_process(tmp_path, writer):
    with LocalStore.open(tmp_path / "x.hivlp") as store:
        generations = set[int]()
        for _ in until_patience_ends():
            if len(generations) >= 8:
                break
            assert store.verify() == []
            store.refresh()
            generations.add(store.folder.state().generation)
            assert writer.poll() is None, "the writer failed"


def test_stored_vectors_belong_to_their_ids_beside_a_writing_process(tmp_path, writer):
    generations, compared = set[int](), 0
    with LocalStore.open(tmp_path / "x.hivlp") as store:
        for _ in until_patience_ends():
            if len(generations) >= 8 and compared >= 40:
                break
            store.refresh()
            generations.add(store.folder.state().generation)
            (hits,) = store.search(QUERIES.take([0]), k=1)
            if not hits.hits:
                continue
            number = int(hits[0].id.removeprefix("id-"))
            try:
                found = store.embeddings([hits[0].id])
            except QueryError:  # deleted or replaced since
                continue
            versions = vectors([(number, version) for version in range(200)])
            assert np.isclose(versions.fine, found.fine, atol=2e-3).all(axis=1).any()
            compared += 1


def test_threads_of_the_writing_process(tmp_path):
    wrong: list[BaseException] = []
    done = threading.Event()
    with new_index(tmp_path / "x.hivlp") as store:

        def read() -> None:
            try:
                for found in searches(store):
                    assert_of_one_moment(found)
                    if done.is_set():
                        return
            except BaseException as error:
                wrong.append(error)

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        rng, model = np.random.default_rng(0), Model()
        for _ in range(120):
            change = random_change(rng, model)
            make(store, change)
            model = changed(model, change)
        done.set()
        for thread in threads:
            thread.join()
        assert not wrong, wrong
        assert store.folder.state().generation > 5
        assert index_model.held(store) == model
