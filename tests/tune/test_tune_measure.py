"""What tuning says of a plan is what the plan does when it is run."""

from __future__ import annotations

import numpy as np
import pytest

from hivlp.index.coarse import faiss_index
from hivlp.search import cascade as search
from hivlp.search.plan import Plan
from hivlp.tune.measure import Measuring
from hivlp.tune.trials import Trial
from hivlp.types import Embeddings
from index_tools import create, items, unit

PLANS = [
    Plan(coarse="ivf", lists=30, nprobe=3),  # three lists hold fewer rows than the most candidates
    Plan(coarse="hnsw", links=4, ef_search=10),  # the walk widens with the candidates
    Plan(coarse="exact", code="int8"),
    Plan(coarse="pq", dims=8),
    Plan(coarse="bits", coarse_width=16, dims=16),  # many equal scores
]


def vectors(count: int, seed: int) -> Embeddings:
    """Long in few directions, as embeddings are."""
    rng = np.random.default_rng(seed)
    rows_ND = unit(rng.standard_normal((count, 16)) * np.linspace(2, 0.1, 16))
    return Embeddings({8: unit(rows_ND[:, :8]), 16: rows_ND})


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.coarse)
def test_the_recall_of_a_plan_is_what_running_it_gives(tmp_path, monkeypatch, plan):
    monkeypatch.setattr(faiss_index.FaissIndex, "scan_up_to", 0)
    queries = vectors(80, seed=1)
    with create(tmp_path / "x.hivlp", widths=(8, 16)) as store:
        store.append(items(1_000), vectors(1_000, seed=0))
        view = store.view()
        measuring = Measuring(view, queries, 10, target=0.3)
        all_measured = list(measuring.screened(Trial(base=plan, candidates=(10, 20, 50, 150, 400))))
        assert all_measured
        true = [set(result.rows) for result in search.run(Plan(candidates="all"), queries, view, 10)]
        for measured in all_measured:
            found = search.run(measured.plan, queries, view, 10)
            shares = [len(right & set(one.rows)) / 10 for right, one in zip(true, found, strict=True)]
            assert measured.recall == pytest.approx(np.mean(shares), abs=1e-6), measured.plan
