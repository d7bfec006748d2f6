"""What the tables of speed and accuracy measure: each part runs, nothing is learned from what is scored.

Every test here fails when a part is left out, halved, or fitted to the wrong split.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from torch import nn  # noqa: E402

from flickr8k_scenes import drawn as drawn_table  # noqa: E402
from hivlp.data.sources import open_source  # noqa: E402
from hivlp.encode import load  # noqa: E402
from hivlp.search.plan import Plan  # noqa: E402
from hivlp_lab.flickr8k.corpus import TRAIN  # noqa: E402
from hivlp_lab.flickr8k.features import Scaling  # noqa: E402
from hivlp_lab.flickr8k.materials import Materials  # noqa: E402
from hivlp_lab.flickr8k.recipes import SMALL  # noqa: E402
from hivlp_lab.speed import fusion, pools, towers  # noqa: E402
from hivlp_lab.speed.clock import TimeLimit  # noqa: E402
from hivlp_lab.speed.fusion import TimedFusion  # noqa: E402
from hivlp_lab.speed.pool_runs import PoolRun  # noqa: E402
from hivlp_lab.speed.pools import WIDE, PoolSource  # noqa: E402
from hivlp_lab.speed.towers import QueryTower, QueryTowers  # noqa: E402
from index_tools import unit  # noqa: E402


def some(count: int, *, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((count, 128)).astype(np.float32))


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> PoolSource:
    monkeypatch.setattr(PoolSource, "_pictures", lambda *_, unseen: some(300))
    monkeypatch.setattr(PoolSource, "_captions", lambda *_, unseen: some(300, seed=1))
    monkeypatch.setattr(pools, "_TUNING", 60)
    return PoolSource(work=tmp_path, queries=50)


@pytest.mark.parametrize("system", ["lightningdot", "hivlp", "hivlp-compact"])
def test_a_row_encodes_and_searches_a_query_in_every_round(source: PoolSource, system: str) -> None:
    encoded = list[int]()
    tower = QueryTower(encode=encoded.append, runtime="torch", precision="float32", macs=1)
    suite: Any = SimpleNamespace(
        tower=lambda name, direction, device: tower,
        effort=TimeLimit(most=5, seconds=60),
        source=source,
        ledger=SimpleNamespace(get=lambda name, measure, retries: measure()),
    )
    row = PoolRun(suite, "text_to_image", 200, 200, "cpu").row(system, "")
    assert row["rounds"] == 5
    assert encoded[-5:] == [0, 1, 2, 3, 4], "the timed rounds encode a query each"
    assert row["total_ms"] >= row["encode_ms"] > 0
    assert row["search_ms"] > 0


@pytest.mark.parametrize(("count", "batch"), [(10, 4), (8, 4), (3, 4), (1, 1)])
def test_a_whole_pool_scores_every_pair(count: int, batch: int) -> None:
    scored = list[int]()

    def pairs(model: nn.Module, size: int) -> Any:
        def run() -> torch.Tensor:
            scored.append(size)
            return torch.zeros(size)

        return run

    timed = TimedFusion(about="", make=lambda: nn.Linear(1, 1), pairs=pairs)
    assert fusion.whole_ms(timed, "cpu", count, batch=batch, precision="float32") > 0
    warm_up, *run = scored
    assert warm_up == min(batch, count)
    assert sum(run) == count


def test_timed_queries_are_others_than_those_that_chose_the_plan(
    source: PoolSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned = list[np.ndarray]()

    def fastest(store: Any, queries: Any) -> Plan:
        tuned.append(queries[WIDE])
        return Plan(candidates=50)

    monkeypatch.setattr(pools, "_fastest", fastest)
    timed_QD = source.pool("text_to_image", 200).queries[WIDE]
    assert (len(timed_QD), len(tuned[0])) == (50, 60)
    assert (timed_QD @ tuned[0].T).max() < 0.999


@pytest.mark.parametrize("faster", ["torch", "onnxruntime"])
def test_the_faster_runtime_counts(monkeypatch: pytest.MonkeyPatch, faster: str) -> None:
    runs = {"torch": lambda turn: None, "onnxruntime": lambda turn: None}
    took = {run: 1.0 if name == faster else 2.0 for name, run in runs.items()}
    monkeypatch.setattr(towers, "_torch", lambda *_: runs["torch"])
    monkeypatch.setattr(towers, "_onnx", lambda *_: runs["onnxruntime"])
    monkeypatch.setattr(towers, "medians", lambda steps, effort: ([], took[steps[0]], 3))
    tower = QueryTowers("cpu", base="tiny").lightningdot("text_to_image")
    assert tower.runtime == faster
    assert tower.encode is runs[faster]


@pytest.mark.parametrize("direction", pools.DIRECTIONS)
def test_a_pool_of_pairs_is_encoded_by_the_shipped_model(
    direction: pools.Direction, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pools, "_TUNING", 60)
    source = PoolSource(work=tmp_path, sources=["scenes:110?size=32"], queries=50)
    pool = source.pool(direction, 100)
    encoder = load("mini")
    made: dict[str, np.ndarray] = {}
    for split in ("train", "val"):
        samples = list(open_source("scenes:110?size=32", split=split))
        images = np.concatenate([encoder.encode_images([sample.image for sample in samples]).fine])
        texts = encoder.encode_texts([text for sample in samples for text in sample.captions]).fine
        made[split] = images if (direction == "text_to_image") == (split == "train") else texts
    items_NW, queries_QW = pool.wide()[:100], pool.queries[WIDE]
    same = pools._levels(made["train"])[WIDE] @ items_NW.T
    assert (same.max(axis=0) > 0.999).all(), "every item is a picture or caption of the source"
    asked = pools._levels(made["val"])[WIDE] @ queries_QW.T
    assert (asked.max(axis=0) > 0.999).all(), "every query is of the split val"


def _with_other_val(materials: Materials, folder: Path) -> Materials:
    """The same materials, but the images and words outside of train are noise."""
    changed = Materials(data=materials.data, path=None, work=folder, sizes=SMALL)
    rng = np.random.default_rng(0)
    others = np.setdiff1d(np.arange(len(materials.corpus.samples)), materials.corpus.images(TRAIN))
    grids = [grid.copy() for grid in materials._grids]
    for grid in grids:
        grid[others] = rng.integers(-100, 100, grid[others].shape)
    words_TV = materials.words_TV.to_dense()
    texts = materials.corpus.texts(others)
    words_TV[torch.from_numpy(texts)] = torch.rand(len(texts), words_TV.shape[1])
    changed.__dict__.update(_grids=grids, words_TV=words_TV.to_sparse_coo().coalesce())
    return changed


def test_scaling_and_floor_learn_nothing_from_what_is_scored(tmp_path: Path) -> None:
    table = drawn_table(tmp_path)
    materials = Materials(data=str(table), path=None, work=tmp_path / "one", sizes=SMALL)
    changed = _with_other_val(materials, tmp_path / "two")
    for name in ("mean_F", "std_F"):
        assert torch.equal(getattr(materials.scaling, name), getattr(changed.scaling, name))
    for name in ("image_mean_F", "text_mean_V", "correlation_D"):
        torch.testing.assert_close(getattr(materials.floor, name), getattr(changed.floor, name))
    everything = np.arange(len(materials.corpus.samples))
    leaking = Scaling.of(changed._grids[0], everything, changed.backbone)
    assert not torch.allclose(leaking.mean_F, changed.scaling.mean_F), "a leak would be seen"
