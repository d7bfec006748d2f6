"""Runs that begin where pictures and words agree most."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from hivlp.config import TrainConfig
from hivlp.errors import ConfigError, DataError, HivlpError
from hivlp.model.folder import open_model
from hivlp.model.levels import unit
from hivlp.train.optim import make_optimizer
from hivlp.train.prepare import LINEAR, Prepared, opened, prepare
from hivlp.train.run import fit_task, run
from hivlp.train.starts import cca
from hivlp.train.starts import linear as linear_start
from hivlp.train.step import ALONE
from micro import micro_run, model_values, with_bag

SCENES = "scenes:96?size=32"


def starting_model(**changes: Any) -> TrainConfig:
    values: dict[str, Any] = {
        "model": model_values(**with_bag()),
        "lock_image": True,
        "linear_start": True,
        "augmentation": {"mirror": False, "min_area": 0.5},
        "sources": [{"spec": SCENES, "views": 1, "captions": 2}],
        "batch_size": 16,
        "steps": 4,
        **changes,
    }
    return micro_run(**values)


def prepared(config: TrainConfig, out: Path) -> Prepared:
    return prepare(config, [opened(source) for source in config.sources], out, ALONE, lambda line: None)


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("kind", ["nested", "separate"])
def test_pictures_begin_at_the_directions_and_words_at_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, norm: bool
):
    """The slow twin: the analysis itself, asked for the same pictures and captions."""
    monkeypatch.setattr(linear_start, "_NOISE", 0.0)
    monkeypatch.setattr(linear_start, "PAIRS", 200)
    changes = with_bag(kind=kind, hidden=4)
    changes["image"] = {**changes["image"], "norm": norm}
    config = starting_model(model=model_values(**changes))
    parts = prepared(config, tmp_path)
    model = parts.task.model.eval()
    image_NF, tokens_NL, words_NL = linear_start._pairs(parts.mixture, np.array([0]))
    assert 200 <= len(image_NF) < 240
    std_F = image_NF.std(dim=0).clamp(min=1e-4)
    standard_NF = (image_NF - image_NF.mean(dim=0)) / std_F
    rarity_V = cca.rarity(torch.where(words_NL, tokens_NL, 0), model.config.vocabulary)
    floor = cca.fit(standard_NF, cca.tf_idf(tokens_NL, words_NL, rarity_V), components=5)
    batch = parts.mixture.batch(0)
    with torch.no_grad():
        seen_BS = torch.from_numpy(batch.features_BD)
        found = model.image_levels(model.image_tower.behind(seen_BS))
        standard_BF = (seen_BS - image_NF.mean(dim=0)) / std_F
    for level in found:  # five directions, for a bag of five, and nothing behind them
        expected_BD = unit(F.pad(standard_BF @ floor.image_FD, (0, level - 5)))
        torch.testing.assert_close(found[level], expected_BD, atol=2e-3, rtol=2e-3)
    bag = model.text_tower.bag
    assert bag is not None
    tokens_TL, mask_TL = torch.from_numpy(batch.tokens_TL), torch.from_numpy(batch.mask_TL)
    with torch.no_grad():
        texts = model.encode_tokens(tokens_TL, mask_TL)
        counts_TV = F.one_hot(tokens_TL, model.config.vocabulary) * mask_TL[:, :, None]
        weighed_TV = counts_TV.sum(dim=1) * rarity_V.clamp(min=0.05)
        mean_D = floor.text_mean_V @ floor.text_VD
        bags_TD = weighed_TV @ floor.text_VD / weighed_TV.sum(dim=1, keepdim=True).sqrt() - mean_D
    for level, rows_TD in texts.items():
        torch.testing.assert_close(rows_TD, unit(F.pad(bags_TD, (0, level - 5))), atol=2e-3, rtol=2e-3)


def test_such_a_start_finds_what_random_weights_do_not(tmp_path: Path):
    def recall(**changes: Any) -> float:
        out = tmp_path / str(changes)
        config = starting_model(
            validation=[{"spec": SCENES}],
            optimisation={"learning_rate": 1e-6, "warmup_steps": 1},
            steps=1,
            **changes,
        )
        return run(config, out=out)["eval"][0]["AR"]

    assert recall() > 2 * recall(linear_start=False)


def test_what_it_gave_has_a_rate_of_its_own_and_the_rest_has_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = starting_model(
        model=model_values(**with_bag(hidden=4)),
        optimisation={"learning_rate": 1e-3, "linear_start_rate": 0.25},
    )
    parts = prepared(config, tmp_path)
    model = parts.task.model
    given = linear_start.initialised_rates(model, 0.25)
    assert set(given.values()) == {0.25}
    slow = {name for name, weight in model.named_parameters() if any(weight is one for one in given)}
    heads = {
        f"{side}_levels.head.{part}"
        for side in ("image", "text")
        for part in ("weight", "bias", "first.weight", "first.bias", "second.weight")
    }
    assert slow == heads | {"text_tower.bag.words.weight", "text_tower.bag.log_weight.weight"}
    seen = list[dict[Any, float]]()

    def noted(*args: Any, shares: dict[Any, float]) -> torch.optim.Optimizer:
        seen.append({id(parameter): share for parameter, share in shares.items()})
        return make_optimizer(*args, shares=shares)

    monkeypatch.setattr("hivlp.train.loop.make_optimizer", noted)
    fit_task(parts, config, tmp_path, resume=False)
    shares = {name: seen[0].get(id(weight), 1.0) for name, weight in model.named_parameters()}
    assert {name for name, share in shares.items() if share == 0.25} == slow
    assert set(shares.values()) == {0.25, 1.0}


def test_a_run_that_was_cut_off_goes_on_from_its_own_start(tmp_path: Path):
    whole, again = tmp_path / "whole", tmp_path / "again"
    run(starting_model(), out=whole)
    run(starting_model(), out=again, stop_after=2)
    kept = (again / LINEAR).stat().st_mtime_ns
    run(starting_model(), out=again, resume=True)
    assert (again / LINEAR).stat().st_mtime_ns == kept  # found once
    expected, found = (open_model(out / "model").state_dict() for out in (whole, again))
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    log = [json.loads(line) for line in (again / "metrics.jsonl").read_text().splitlines()]
    assert all(np.isfinite(line["loss"]) for line in log if "loss" in line)


def test_a_damaged_start_is_named(tmp_path: Path):
    run(starting_model(), out=tmp_path / "r", stop_after=1)
    (tmp_path / "r" / LINEAR).write_bytes(b"not tensors")
    with pytest.raises(HivlpError, match=r"linear-start\.safetensors cannot be read"):
        run(starting_model(), out=tmp_path / "r", resume=True)


def test_only_sources_that_count_are_looked_at(tmp_path: Path):
    sources = [
        {"spec": SCENES, "views": 1, "captions": 2},
        {"spec": "scenes:30?size=32", "views": 1, "linear_start": False},
    ]
    config = starting_model(sources=sources)
    parts = prepared(config, tmp_path)
    each = [np.asarray(part.views.features_NVD[:, 0]) for part in parts.mixture._parts if part.views]
    for number, features_NF in enumerate(each):
        seen_NF, _, _ = linear_start._pairs(parts.mixture, np.array([number]))
        known = {row.tobytes() for row in features_NF.astype(np.float32)}
        assert {row.tobytes() for row in seen_NF.numpy()} <= known
    (first,), (second,) = ([{**source, "linear_start": False}] for source in sources)
    with pytest.raises(ConfigError, match=r"linear_start needs a source"):
        starting_model(sources=[first, second])


def test_sources_without_captions_give_no_start(tmp_path: Path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(6):
        Image.new("RGB", (40, 40), (40 * number, 0, 0)).save(folder / f"{number}.png")
    sources = [
        {"spec": str(folder), "views": 1},
        {"spec": SCENES, "views": 1, "linear_start": False},
    ]
    with pytest.raises(DataError, match=r"linear_start found no captions"):
        run(starting_model(sources=sources), out=tmp_path / "r")


@pytest.mark.parametrize(
    "changes",
    [
        {"lock_image": False, "sources": [{"spec": SCENES}]},
        {"model": model_values()},
        {"start": "mini"},
    ],
)
def test_it_needs_a_new_model_over_a_locked_tower(changes: dict[str, Any]):
    with pytest.raises(ConfigError, match=r"linear_start needs a new model"):
        starting_model(**changes)
