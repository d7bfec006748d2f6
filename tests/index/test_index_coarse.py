from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hivlp.errors import QueryError
from hivlp.index.coarse import CODES, CoarseSpec, Effort, faiss_index, kinds, make, principal_directions
from hivlp.index.mask import RowMask
from index_tools import unit

WIDTH = 16
EVERYTHING = Effort(nprobe=1_000, ef_search=1_000)
SPECS = [
    *(CoarseSpec(kind=kind, width=WIDTH, code=code) for kind, codes in CODES.items() for code in codes),
    CoarseSpec(kind="exact", width=WIDTH, dims=5, code="int8"),
    CoarseSpec(kind="ivf", width=WIDTH, dims=6, code="int8", lists=3),
    CoarseSpec(kind="ivf", width=WIDTH, dims=7, code="pq4", lists=5),
    CoarseSpec(kind="hnsw", width=WIDTH, dims=16, code="float16", links=4),
    CoarseSpec(kind="bits", width=WIDTH, dims=13, code="bits"),
]
# How far the estimate of a cosine may be off where no direction is left out. Vectors of length 1.
TOLERANCE = {"float16": 2e-3, "int8": 0.03, "pq4": 0.6, "bits": 2.0}


def named(spec: CoarseSpec) -> str:
    return spec.name


def level(count: int, width: int = WIDTH, seed: int = 0, copies: bool = False) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows_ND = rng.standard_normal((count, width)) * np.linspace(2, 0.5, width)
    if copies and count:
        rows_ND = rows_ND[rng.integers(0, count, count)]
    return unit(rows_ND + 1e-9).astype(np.float16)


@pytest.fixture
def no_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small indexes are answered by the structures themselves, not by comparing all rows."""
    monkeypatch.setattr(faiss_index.FaissIndex, "scan_up_to", 0)
    monkeypatch.setattr(kinds.HnswIndex, "least_share", 0.0)


@st.composite
def cases(draw):
    """Any sizes, growth in parts, deletions and filters, duplicates and so ties, queries that are rows."""
    count, seed = draw(st.integers(1, 120)), draw(st.integers(0, 999))
    level_ND = level(count, seed=seed, copies=draw(st.booleans()))
    rng = np.random.default_rng(seed)
    mask = RowMask(count, np.flatnonzero(rng.random(count) < draw(st.sampled_from([0, 0.1, 0.6, 1]))))
    if draw(st.booleans()):
        mask = mask.only(np.flatnonzero(rng.random(count) < draw(st.sampled_from([0, 0.1, 0.9]))))
    queries_QD = unit(rng.standard_normal((3, WIDTH)))
    queries_QD[0] = unit(level_ND[:1])
    return level_ND, mask, queries_QD, draw(st.integers(1, 150)), draw(st.integers(1, 4))


def grown(spec: CoarseSpec, level_ND: np.ndarray, parts: int = 1):
    index = make(spec)
    for part in range(1, parts + 1):
        index.extend(level_ND[: len(level_ND) * part // parts])
    assert len(index) == len(level_ND)
    return index


@pytest.mark.usefixtures("no_scans")
@pytest.mark.parametrize("spec", SPECS, ids=named)
@settings(max_examples=25, deadline=None)
@given(case=cases())
def test_every_kind_returns_allowed_rows_in_order_and_as_many_as_there_are(spec, case):
    level_ND, mask, queries_QD, count, parts = case
    index = grown(spec, level_ND, parts)
    for effort in (Effort(nprobe=1, ef_search=1), EVERYTHING):
        scores_QK, rows_QK = index.search(queries_QD, count, mask=mask, effort=effort)
        assert scores_QK.shape == rows_QK.shape == (3, count)
        assert scores_QK.dtype == np.float32 and rows_QK.dtype == np.int64
        found, allowed = min(count, mask.live), set(mask.live_rows().tolist())
        for scores_K, rows_K in zip(scores_QK, rows_QK, strict=True):
            assert len(set(rows_K[:found].tolist()) & allowed) == found, "allowed rows, each once"
            assert (rows_K[found:] == -1).all() and (scores_K[found:] == -np.inf).all()
            order = np.lexsort((rows_K[:found], -scores_K[:found]))
            assert order.tolist() == list(range(found)), "descending, equal scores by the lower row"


@pytest.mark.usefixtures("no_scans")
@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec.dims is None], ids=named)
@settings(max_examples=25, deadline=None)
@given(case=cases())
def test_scores_estimate_the_cosine_with_the_level(spec, case):
    level_ND, mask, queries_QD, count, parts = case
    # Codes learned from a handful of rows say little of the rows that come later.
    index = grown(spec, level_ND, parts if spec.code in ("float16", "bits") else 1)
    scores_QK, rows_QK = index.search(queries_QD, count, mask=mask, effort=EVERYTHING)
    true_QN = queries_QD @ level_ND.astype(np.float32).T
    for scores_K, rows_K, true_N in zip(scores_QK, rows_QK, true_QN, strict=True):
        found = rows_K >= 0
        np.testing.assert_allclose(scores_K[found], true_N[rows_K[found]], atol=TOLERANCE[spec.code])


@pytest.mark.usefixtures("no_scans")
@pytest.mark.parametrize(
    "spec",
    [spec for spec in SPECS if spec.code == "float16" and spec.kind in ("exact", "ivf") and not spec.dims],
    ids=named,
)
@settings(max_examples=50, deadline=None)
@given(case=cases())
def test_kinds_without_loss_equal_a_plain_scan(spec, case):
    level_ND, mask, queries_QD, count, parts = case
    index = grown(spec, level_ND, parts)
    scores_QK, _ = index.search(queries_QD, count, mask=mask, effort=EVERYTHING)
    true_QN = queries_QD @ level_ND.astype(np.float32).T
    true_QN[:, mask.hidden_rows()] = -np.inf
    found = min(count, mask.live)
    for scores_K, true_N in zip(scores_QK, true_QN, strict=True):
        np.testing.assert_allclose(scores_K[:found], np.sort(true_N)[::-1][:found], atol=1e-6)


# What each finds of the ten nearest among its first 100 of 4,000 rows, at least; whatever the seed.
@pytest.mark.parametrize(
    "spec, effort, recall",
    [
        (CoarseSpec(kind="exact", width=64, code="int8"), Effort(), 0.99),
        (CoarseSpec(kind="exact", width=64, dims=16, code="int8"), Effort(), 0.9),
        (CoarseSpec(kind="pq", width=64, dims=32, code="pq4"), Effort(), 0.95),
        (CoarseSpec(kind="bits", width=64, dims=64, code="bits"), Effort(), 0.6),
        (CoarseSpec(kind="ivf", width=64, dims=32, code="int8"), Effort(nprobe=32), 0.9),
        (CoarseSpec(kind="ivf", width=64, dims=32, code="pq4"), Effort(nprobe=32), 0.9),
        (CoarseSpec(kind="hnsw", width=64, dims=32, code="int8"), Effort(ef_search=100), 0.9),
    ],
    ids=lambda value: value.name if isinstance(value, CoarseSpec) else "",
)
@pytest.mark.parametrize("share", [1.0, 0.5, 0.12])
def test_approximate_kinds_find_most_of_the_nearest_also_through_a_filter(spec, effort, recall, share):
    rng = np.random.default_rng(3)
    rows_ND = unit(rng.standard_normal((4_000, 64)) * 0.8 ** np.arange(64))
    queries_QD = unit(rows_ND[:50] + 0.2 * unit(rng.standard_normal((50, 64)) * 0.8 ** np.arange(64)))
    level_ND = rows_ND.astype(np.float16)
    mask = RowMask(4_000)
    if share < 1:
        mask = mask.only(np.flatnonzero(rng.random(4_000) < share))
    oracle = grown(CoarseSpec(kind="exact", width=64), level_ND)
    index = grown(spec, level_ND)
    index.scan_up_to = 0
    _, true_QK = oracle.search(queries_QD, 10, mask=mask, effort=effort)
    _, rows_QK = index.search(queries_QD, 100, mask=mask, effort=effort)
    found = [
        len(set(true) & set(rows)) for true, rows in zip(true_QK.tolist(), rows_QK.tolist(), strict=True)
    ]
    assert np.mean(found) / 10 >= recall


@pytest.mark.parametrize("spec", SPECS, ids=named)
def test_few_allowed_rows_are_compared_exactly(spec):
    level_ND, rng = level(3_000), np.random.default_rng(0)
    mask = RowMask(3_000).only(rng.choice(3_000, 40, replace=False))
    queries_QD = unit(rng.standard_normal((2, WIDTH)))
    index = grown(spec, level_ND)
    index._rather_scans = lambda mask: True
    scores_QK, rows_QK = index.search(queries_QD, 7, mask=mask, effort=Effort())
    oracle = grown(CoarseSpec(kind="exact", width=WIDTH), level_ND)
    true_QK, true_rows_QK = oracle.search(queries_QD, 7, mask=mask, effort=Effort())
    assert rows_QK.tolist() == true_rows_QK.tolist()
    np.testing.assert_allclose(scores_QK, true_QK, atol=1e-6)


@pytest.mark.usefixtures("no_scans")
@pytest.mark.parametrize("spec", SPECS, ids=named)
def test_a_restored_index_answers_and_grows_the_same(spec):
    level_ND = level(200)
    index, other = grown(spec, level_ND[:150]), make(spec)
    other.restore(index.serialise(), trained_rows=index.trained_rows)
    other.extend(level_ND[:150])
    assert (len(other), other.trained_rows, other.nbytes()) == (150, index.trained_rows, index.nbytes())
    queries_QD = unit(np.random.default_rng(1).standard_normal((4, WIDTH)))
    for size in (150, 200):
        index.extend(level_ND[:size])
        other.extend(level_ND[:size])
        mask = RowMask(size, np.array([3, 4]))
        both = [one.search(queries_QD, 20, mask=mask, effort=Effort(nprobe=2)) for one in (index, other)]
        assert np.array_equal(both[0][0], both[1][0])
        assert np.array_equal(both[0][1], both[1][1])


@pytest.mark.parametrize("spec", SPECS, ids=named)
def test_what_is_no_such_index_is_not_restored(spec):
    narrower = CoarseSpec(kind=spec.kind, width=8, code=spec.code)
    for content in (b"", b"nonsense", grown(narrower, level(50, 8)).serialise()):
        with pytest.raises(ValueError, match=r"faiss can't read it|numbers or bits a row"):
            make(spec).restore(content, trained_rows=1)


@pytest.mark.parametrize("spec", SPECS, ids=named)
def test_an_empty_index_finds_nothing(spec):
    scores_QK, rows_QK = make(spec).search(
        np.ones((2, WIDTH), np.float32) / 4, 5, mask=RowMask(0), effort=Effort()
    )
    assert (rows_QK == -1).all() and (scores_QK == -np.inf).all()


@pytest.mark.usefixtures("no_scans")
@pytest.mark.parametrize("spec", SPECS, ids=named)
def test_an_older_mask_does_not_see_newer_rows(spec):
    level_ND = level(50)
    index = grown(spec, level_ND)
    query_QD = unit(level_ND[40:41])
    for mask in (RowMask(30), RowMask(30, np.array([3, 4]))):
        _, rows_QK = index.search(query_QD, 50, mask=mask, effort=EVERYTHING)
        assert sorted(rows_QK[0][rows_QK[0] >= 0].tolist()) == mask.live_rows().tolist()


@pytest.mark.parametrize("spec", SPECS, ids=named)
def test_a_small_index_is_built_without_a_word(spec, capfd):
    """faiss would warn, on the output of the process, of what it takes for too few rows to learn from."""
    grown(spec, level(300))
    assert capfd.readouterr() == ("", "")


def test_extending_by_an_older_level_changes_nothing():
    index = make(CoarseSpec(kind="exact", width=8))
    index.extend(level(20, 8))
    index.extend(level(10, 8))
    assert len(index) == 20
    assert index.nbytes() == 20 * 8 * 2


def test_bytes_in_memory_are_those_of_codes_and_row_numbers():
    level_ND = level(1_000)
    held = {spec.name: grown(spec, level_ND).nbytes() / 1_000 for spec in SPECS}
    assert held["exact-16-int8"] == 16
    assert held["ivf-16-int8"] == 16 + 8
    assert held["ivf-16-d6-int8-l3"] == 6 + 8
    assert held["ivf-16-pq4"] == held["pq-16-pq4"] == 16 / 2 + 8
    assert held["bits-16-bits"] == held["bits-16-d13-bits"] == 2
    assert held["hnsw-16-int8-m16"] == 16 + 4 * 2 * 16 + 12


def test_principal_directions_keep_cosines_and_come_longest_first():
    rows_ND = level(500).astype(np.float32)
    directions_DD = principal_directions(rows_ND, WIDTH)
    np.testing.assert_allclose(directions_DD @ directions_DD.T, np.eye(WIDTH), atol=1e-5)
    rotated_ND = rows_ND @ directions_DD.T
    np.testing.assert_allclose(rotated_ND @ rotated_ND.T, rows_ND @ rows_ND.T, atol=1e-5)
    lengths_D = (rotated_ND**2).sum(axis=0)
    assert (np.diff(lengths_D) <= 1e-3).all()
    assert np.array_equal(principal_directions(rows_ND, 4), directions_DD[:4])


def test_impossible_dims_are_refused():
    with pytest.raises(QueryError, match=r"dims=17 is invalid for a level of width 16.*\[1, 16\]"):
        CoarseSpec(kind="ivf", width=16, dims=17)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "spec", [CoarseSpec(kind="exact", width=8), CoarseSpec(kind="ivf", width=8, lists=4)], ids=named
)
@pytest.mark.usefixtures("no_scans")
def test_searches_go_on_while_the_index_grows(spec):
    level_ND, index = level(20_000, 8), make(spec)
    index.extend(level_ND[:100])
    stop, wrong = threading.Event(), []

    def search():
        while not stop.is_set():
            scores_QK, rows_QK = index.search(
                level_ND[7:8].astype(np.float32), 5, mask=RowMask(100), effort=EVERYTHING
            )
            if rows_QK[0, 0] != 7 or rows_QK.max() >= 100 or scores_QK[0, 0] < 0.99:
                wrong.append((scores_QK, rows_QK))

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for size in range(200, 20_001, 200):
        index.extend(level_ND[:size])
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(index) == 20_000
