from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from hivlp.errors import IndexFolderError, QueryError
from hivlp.search.plan import Plan
from hivlp.stores.base import Store
from hivlp.stores.local import LocalStore
from hivlp.types import Embeddings, Hits, Item
from index_tools import WIDTHS, create, embeddings, items

SUPPORT = Path(__file__).parents[1] / "support"
PLANS = [None, Plan(candidates=7), Plan(candidates="all")]


def answers(store: LocalStore, queries: Embeddings, plan: Plan | None = None, k: int = 10) -> list[list]:
    """Everything that a search says but what it cost."""
    return [[hit.as_dict() for hit in hits] for hits in store.search(queries, k=k, plan=plan)]


def test_hits_carry_items_scores_and_ranks(tmp_path):
    with create(tmp_path / "x.hivlp", 30) as store:
        (hits,) = store.search(embeddings(30).take([12]), k=3)
    assert isinstance(hits, Hits)
    best = hits[0]
    assert (best.rank, best.id, best.uri, best.caption) == (1, "id-12", "photos/12.jpg", "picture 12")
    assert best.meta == {"n": 12}
    assert best.coarse_rank == 1
    assert best.score == pytest.approx(1, abs=2e-3)
    assert best.coarse_score == pytest.approx(1, abs=2e-3)
    assert [hit.rank for hit in hits] == [1, 2, 3]
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert all(-1 <= score <= 1 for hit in hits for score in (hit.score, hit.coarse_score))
    assert hits.plan["candidates"] == "all"
    document = json.loads(json.dumps(hits.as_dict()))
    assert document["timings_ms"]["total"] > 0
    assert {"score", "coarse_score", "rank", "coarse_rank"} <= set(document["hits"][0])


@pytest.mark.parametrize("plan", PLANS)
def test_an_index_answers_the_same_after_it_was_opened_again(tmp_path, plan):
    queries = embeddings(9, seed=1)
    with create(tmp_path / "x.hivlp", 60) as store:
        store.delete(["id-5", "id-6"])
        before = answers(store, queries, plan)
    (tmp_path / "x.hivlp").rename(tmp_path / "y.hivlp")
    with LocalStore.open(tmp_path / "y.hivlp") as store:
        assert answers(store, queries, plan) == before
        assert store.widths == WIDTHS
        assert (store.model_name, store.model_fingerprint) == ("mini", "f1")


@pytest.mark.parametrize("plan", PLANS)
def test_one_item_at_a_time_is_all_at_once(tmp_path, plan):
    queries, vectors = embeddings(5, seed=1), embeddings(15)
    with create(tmp_path / "a.hivlp") as whole, create(tmp_path / "b.hivlp") as grown:
        assert answers(grown, queries, plan) == [[]] * 5
        whole.append(items(15), vectors)
        for n, item in enumerate(items(15)):
            grown.append([item], vectors.take([n]))
            grown.search(queries, k=1, plan=plan)
        assert answers(grown, queries, plan) == answers(whole, queries, plan)


def test_deleted_items_are_never_found_and_replaced_ones_once(tmp_path):
    vectors = embeddings(30)
    with create(tmp_path / "x.hivlp", 30) as store:
        for plan in PLANS:
            store.search(vectors, k=5, plan=plan)  # coarse indexes exist before the changes
        store.delete(f"id-{n}" for n in range(0, 30, 3))
        store.append(items(1, first=1, version="v2"), vectors.take([0]))
        for plan in PLANS:
            (hits,) = store.search(vectors.take([0]), k=100, plan=plan)
            ids = [hit.id for hit in hits]
            assert ids[0] == "id-1"
            assert len(ids) == len(set(ids)) == (20 if plan is None or plan.candidates == "all" else 7)
            assert not set(ids) & {f"id-{n}" for n in range(0, 30, 3)}
        assert store.count() == 20


def test_everything_deleted_is_an_empty_index(tmp_path):
    with create(tmp_path / "x.hivlp", 5) as store:
        store.delete(item.id for item in items(5))
        assert store.count() == 0
        assert [len(hits) for plan in PLANS for hits in store.search(embeddings(2), k=3, plan=plan)] == [
            0
        ] * 6


def test_a_reader_in_another_process_sees_what_is_committed(tmp_path):
    program = f"""
import sys
sys.path.insert(0, {str(SUPPORT)!r})
from index_tools import embeddings
from hivlp.search.plan import Plan
from hivlp.stores.local import LocalStore
with LocalStore.open(sys.argv[1]) as store:
    for line in sys.stdin:
        new = store.refresh()
        (hits,) = store.search(embeddings(1, seed=2), k=1, plan=Plan(candidates=3))
        print(store.count(), new, hits[0].id if hits.hits else None, flush=True)
"""
    with create(tmp_path / "x.hivlp") as store:
        reader = subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "x.hivlp")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        questions, answers = reader.stdin, reader.stdout
        assert questions is not None
        assert answers is not None

        def ask() -> str:
            questions.write("?\n")
            questions.flush()
            return answers.readline().strip()

        assert ask() == "0 False None"
        store.append(items(50), embeddings(50))
        assert ask().startswith("50 True")
        store.append([Item(id="it", uri="it")], embeddings(1, seed=2))
        assert ask() == "51 True it"
        store.delete(["it"])
        assert ask().startswith("50 True id-")
        assert ask().startswith("50 False id-")
        reader.communicate("")


def test_a_second_writer_is_refused_and_readers_are_not(tmp_path):
    with create(tmp_path / "x.hivlp", 4):
        with pytest.raises(IndexFolderError, match=rf"being written by process {os.getpid()} on "):
            LocalStore.open(tmp_path / "x.hivlp", writable=True)
        with LocalStore.open(tmp_path / "x.hivlp") as reader:
            assert reader.count() == 4
    with LocalStore.open(tmp_path / "x.hivlp", writable=True) as writer:
        assert writer.append(items(1, first=9), embeddings(1)).added == 1


def test_stored_embeddings_find_their_own_item(tmp_path):
    with create(tmp_path / "x.hivlp", 40) as store:
        mine = store.embeddings(["id-7", "id-3"])
        assert mine.widths == WIDTHS
        for width in WIDTHS:
            np.testing.assert_allclose(np.linalg.norm(mine[width], axis=1), 1, atol=1e-6)
            np.testing.assert_allclose(mine[width], embeddings(40)[width][[7, 3]], atol=1e-3)
        assert [hits[0].id for hits in store.search(mine, k=1)] == ["id-7", "id-3"]
        store.delete(["id-3"])
        with pytest.raises(QueryError, match="no item 'id-3'"):
            store.embeddings(["id-7", "id-3"])


def test_scores_never_leave_their_range(tmp_path):
    """Rounding to half precision makes some stored vectors a little longer than 1."""
    with create(tmp_path / "x.hivlp", 300, widths=(16, 64)) as store:
        queries = embeddings(300, widths=(16, 64))
        raw = np.einsum("nd,nd->n", store.view().level(64).astype(np.float32), queries.fine)
        assert raw.max() > 1
        hits = [result[0] for result in store.search(queries, k=1)]
        assert all(hit.score <= 1 and hit.coarse_score <= 1 for hit in hits)


def test_searches_in_threads_while_it_grows(tmp_path):
    queries, wrong, stop = embeddings(60).take([4]), [], threading.Event()
    with create(tmp_path / "x.hivlp", 60) as store:

        def search():
            while not stop.is_set():
                for plan in PLANS:
                    (hits,) = store.search(queries, k=2, plan=plan)
                    if hits[0].id != "id-4":
                        wrong.append(hits)

        threads = [threading.Thread(target=search) for _ in range(3)]
        for thread in threads:
            thread.start()
        for first in range(60, 260, 20):
            store.append(items(20, first=first), embeddings(20, seed=first))
        stop.set()
        for thread in threads:
            thread.join()
        assert not wrong
        assert store.count() == 260


def test_a_closed_store_says_so(tmp_path):
    store = create(tmp_path / "x.hivlp", 3)
    store.close()
    store.close()
    with pytest.raises(IndexFolderError, match="was closed"):
        store.search(embeddings(1), k=1)


def test_info_and_verify(tmp_path):
    with create(tmp_path / "x.hivlp", 30) as store:
        assert store.info()["coarse_bytes"] == {}
        store.search(embeddings(1), k=1, plan=Plan(candidates=5))
        assert store.info()["coarse_bytes"] == {"exact-4-float16": 30 * 4 * 2}
        assert store.verify() == []


def test_a_local_store_is_a_store(tmp_path):
    with create(tmp_path / "x.hivlp") as store:
        promised: Store = store
        for name in [name for name in vars(Store) if not name.startswith("_")]:
            assert hasattr(promised, name), name


def test_importing_and_searching_load_no_torch():
    program = """
import sys
import hivlp.index.folder, hivlp.search.cascade, hivlp.stores.local
assert not {"torch", "transformers", "faiss"} & set(sys.modules), "loaded too early"
"""
    subprocess.run([sys.executable, "-c", program], check=True)
