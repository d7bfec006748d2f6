"""What users of other libraries stumbled over, tried on every kind of plan.

Each test names the public issue that it comes from. Other tests go deeper; these are short on purpose.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fakes import ColourEncoder, gallery
from hivlp.errors import IndexFolderError, QueryError
from hivlp.index.coarse import CODES, CoarseShelf, faiss_index
from hivlp.retriever import Index
from hivlp.search.plan import Plan
from hivlp.stores.local import LocalStore
from hivlp.types import Embeddings, Hits
from index_tools import WIDTHS, create, embeddings, items, unit

CASCADES = [
    *(Plan(coarse=kind, code=code) for kind, codes in CODES.items() for code in codes),
    Plan(name="turned", coarse="ivf", coarse_width=16, dims=6, lists=2),
    Plan(name="staged", stages=((8, 200),)),
]
PLANS = [None, Plan(candidates="all"), *CASCADES]


def named(plan: Plan | None) -> str:
    return "usual" if plan is None else f"{plan.name}-{plan.coarse}-{plan.code}-{plan.candidates}"


def narrowed(plan: Plan, candidates: int) -> Plan:
    stages = tuple((width, candidates) for width, _ in plan.stages)
    return Plan.from_dict({**plan.as_dict(), "candidates": candidates, "stages": stages})


def bits_of(answers: list[Hits]) -> list[list[dict]]:
    """Everything that is said of the hits; equal floats have equal bits here, since there is no -0."""
    return [[hit.as_dict() for hit in hits] for hits in answers]


@pytest.fixture(autouse=True)
def structures_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows are else compared one by one, whatever the kind."""
    monkeypatch.setattr(faiss_index.FaissIndex, "scan_up_to", 0)


@pytest.mark.parametrize("plan", CASCADES[:-2], ids=named)
def test_quantised_candidates_are_scored_as_floats(tmp_path, plan):
    # sentence-transformers PR #4058: query [1, 3, 2], documents [4, 0, 2] and [0, 1, 2]. The scores are 8 and
    # 7, so document 0 is first; re-scoring with quantised vectors turned them round.
    documents_ND, query_D = np.array([[4, 0, 2], [0, 1, 2]]), np.array([1, 3, 2])
    assert (documents_ND @ query_D).tolist() == [8, 7]
    # Our vectors have length 1. Divided by the longest one, 20 ** 0.5, and filled up to length 1 with a
    # number that meets a 0 in the query, documents keep the order of their products: 8 and 7 over 280 ** 0.5.
    scaled_ND = documents_ND / 20**0.5
    filled_ND = np.column_stack([scaled_ND, np.sqrt(1 - (scaled_ND**2).sum(axis=1).round(12))])
    others_ND = np.array([[-1, -3, -2, 0], [-3, -1, -2, 0], [-1, -1, -1, -1], [0, -2, -1, 0]])
    query = Embeddings({4: unit(np.append(query_D, 0)[None])})
    vectors = Embeddings({4: np.concatenate([filled_ND.astype(np.float32), unit(others_ND)])})
    with create(tmp_path / "x.hivlp", widths=(4,)) as store:
        store.append(items(6), vectors)
        (hits,) = store.search(query, k=2, plan=narrowed(plan, 5))
        assert [hit.id for hit in hits] == ["id-0", "id-1"]
        assert [hit.score for hit in hits] == pytest.approx([8 / 280**0.5, 7 / 280**0.5], abs=1e-3)
    # As cosines, which scores are here, document 1 is nearer: 7/70**0.5 = 0.837 and 8/280**0.5 = 0.478.
    with create(tmp_path / "y.hivlp", widths=(4,)) as store:
        as_cosines = np.concatenate([unit(np.column_stack([documents_ND, [0, 0]])), unit(others_ND)])
        store.append(items(6), Embeddings({4: as_cosines}))
        (hits,) = store.search(query, k=2, plan=narrowed(plan, 5))
        assert [hit.id for hit in hits] == ["id-1", "id-0"]
        assert [hit.score for hit in hits] == pytest.approx([7 / 70**0.5, 8 / 280**0.5], abs=1e-3)


@pytest.mark.parametrize("plan", CASCADES, ids=named)
def test_candidates_are_a_budget_of_the_whole_search(tmp_path, plan):
    # Qdrant #7159: with shards or lists each of them brought so many candidates.
    with create(tmp_path / "x.hivlp", 300) as store:
        for candidates in (1, 3):
            for hits in store.search(embeddings(4, seed=1), k=10, plan=narrowed(plan, candidates)):
                assert len(hits) == candidates
                assert sorted(hit.coarse_rank for hit in hits) == list(range(1, candidates + 1))
                assert hits.plan["candidates"] == candidates


@pytest.mark.parametrize("plan", PLANS, ids=named)
def test_a_hit_tells_both_scores_and_both_ranks(tmp_path, plan):
    # Qdrant #10282: after re-scoring nobody could see what the first stage had said.
    with create(tmp_path / "x.hivlp", 300) as store:
        (hits,) = store.search(embeddings(1, seed=1), k=10, plan=plan)
    document = json.loads(json.dumps(hits.as_dict()))
    assert [hit["rank"] for hit in document["hits"]] == list(range(1, 11))
    scores = [hit["score"] for hit in document["hits"]]
    assert scores == sorted(scores, reverse=True)
    by_coarse_rank = sorted(document["hits"], key=lambda hit: hit["coarse_rank"])
    coarse_scores = [hit["coarse_score"] for hit in by_coarse_rank]
    assert coarse_scores == sorted(coarse_scores, reverse=True)
    assert len({hit["coarse_rank"] for hit in by_coarse_rank}) == 10


def test_a_level_that_was_not_trained_is_an_error(tmp_path):
    # infinity #519: any number of dimensions was taken, and the vectors were cut without a word.
    with pytest.raises(KeyError, match=r"no level of width 12: this model has \[4, 8, 16\]"):
        embeddings(1)[12]
    with create(tmp_path / "x.hivlp", 20) as store:
        for plan in (Plan(coarse_width=12, candidates=5), Plan(candidates=5, stages=((12, 3),))):
            with pytest.raises(QueryError, match=r"needs level 12, but the index has \[4, 8, 16\]"):
                store.search(embeddings(1), k=1, plan=plan)


def test_every_level_has_length_1_and_what_was_only_cut_is_refused(tmp_path, colours: ColourEncoder):
    # infinity #519: a cut vector is shorter than 1, and scores of it are no cosines.
    cut = Embeddings({16: embeddings(3)[16], 4: embeddings(3)[16][:, :4], 8: embeddings(3)[8]})
    with create(tmp_path / "x.hivlp", 30) as store:
        with pytest.raises(IndexFolderError, match=r"length 0\.\d+ at level 4; .* Normalise"):
            store.append(items(3, first=30), cut)
        with pytest.raises(QueryError, match=r"length 0\.\d+ at level 4: .* Normalise"):
            store.search(cut, k=1, plan=Plan(candidates=5))
        stored = store.embeddings([f"id-{n}" for n in range(30)])
        for width in WIDTHS:
            assert np.linalg.norm(stored[width], axis=1) == pytest.approx(1, abs=1e-6)
    for encoded in (colours.encode_texts(["red", "blue"]), colours.encode_pixels(np.zeros((2, 3, 8, 8)))):
        for width in colours.widths:
            assert np.linalg.norm(encoded[width], axis=1) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_numbers_are_checked_before_they_are_packed_into_bits(tmp_path, value):
    # infinity #519: a sign has no room for NaN, so what is wrong must be seen before.
    bad = embeddings(1, seed=5)
    for width in WIDTHS:
        bad[width][0, 1] = value
    with create(tmp_path / "x.hivlp", 30) as store:
        with pytest.raises(IndexFolderError, match="finite and of length 1"):
            store.append(items(1, first=30), bad)
        with pytest.raises(QueryError, match="finite and of length 1"):
            store.search(bad, k=1, plan=Plan(coarse="bits", candidates=5))
        assert store.count() == 30


@pytest.mark.parametrize("plan", PLANS, ids=named)
def test_a_reloaded_index_answers_to_the_bit_wherever_it_lies(tmp_path, plan, monkeypatch):
    # faiss #1278: a reloaded index had lost its parameters. clip-retrieval #286: paths inside of an index
    # broke when it was moved.
    queries = embeddings(6, seed=1)
    monkeypatch.chdir(tmp_path)
    with create(tmp_path / "x.hivlp", 300) as store:
        if plan is not None and plan.candidates != "all":
            spec, state = plan.spec(WIDTHS), store.folder.state()
            CoarseShelf(store.folder.path).keep(spec, state.levels[spec.width], generation=0)
            plan = narrowed(plan, 40)
        before = bits_of(store.search(queries, k=10, plan=plan))
    for path in (tmp_path / "x.hivlp", Path("x.hivlp")):
        with LocalStore.open(path) as store:
            assert bits_of(store.search(queries, k=10, plan=plan)) == before
    (tmp_path / "x.hivlp").rename(tmp_path / "y.hivlp")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    with LocalStore.open("../y.hivlp") as store:
        assert bits_of(store.search(queries, k=10, plan=plan)) == before


@pytest.mark.parametrize("plan", PLANS, ids=named)
def test_fewer_than_k_none_and_everything_filtered_away(tmp_path, plan):
    # vicinity #67: fewer results than asked for, or none, were a crash or were filled up with wrong ones.
    with create(tmp_path / "x.hivlp") as store:
        assert [len(hits) for hits in store.search(embeddings(2), k=10, plan=plan)] == [0, 0]
        store.append(items(5), embeddings(5))
        for hits in store.search(embeddings(2), k=10, plan=plan):
            assert sorted(hit.id for hit in hits) == [f"id-{n}" for n in range(5)]
        store.append(items(295, first=5), embeddings(295, seed=2))
        (hits,) = store.search(embeddings(1), k=10, plan=plan, where="n between 7 and 9")
        assert sorted(hit.id for hit in hits) == ["id-7", "id-8", "id-9"]
        assert hits.notes == ("only 3 items passed the filter",)
        (hits,) = store.search(embeddings(1), k=10, plan=plan, where="n > 1000")
        assert len(hits) == 0
        assert hits.notes == ("no item passes the filter; check its values, or search without it",)
        store.delete(f"id-{n}" for n in range(300))
        assert [len(hits) for hits in store.search(embeddings(2), k=10, plan=plan)] == [0, 0]


def test_an_index_of_another_model_is_refused(tmp_path, colours: ColourEncoder):
    # immich #4839, clip-retrieval #286: queries of one model against vectors of another gave nonsense.
    with Index.create(tmp_path / "x.hivlp", "mini") as index:
        index.add(gallery(tmp_path / "pictures"))
    same_name = ColourEncoder("mini", fingerprint="retrained")
    for other in ("other", same_name):
        with pytest.raises(IndexFolderError, match=r"made with the model 'mini' \(colours-1\).*two models"):
            Index.open(tmp_path / "x.hivlp", other)
    with Index.open(tmp_path / "x.hivlp", ColourEncoder("renamed")) as index:
        assert len(index.search("red", k=3)) == 3, "the weights decide, not the name"
