"""What a frozen picture model teaches: its map in cells, and the heads that learn from it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

import hivlp.train.run
from hivlp.config import Augmentation
from hivlp.data.batches import Mixture, Part
from hivlp.data.pack import pack
from hivlp.data.sources import open_source
from hivlp.errors import ConfigError
from hivlp.registry import TABLES
from hivlp.train.guide import Guide
from hivlp.train.presets import resnet
from hivlp.train.reinforce import Reinforced, view_boxes
from hivlp.train.run import run
from hivlp.train.step import Task
from hivlp.train.teacher import shares
from micro import micro_model, micro_run, model_values

# a map of 2 × 2 regions for pictures of 32 pixels: the stem divides them by 4, each stage but the first by 2
IMAGE = resnet(stem=8, sizes=[8, 16, 16], depths=[1, 1, 1])
OBJECTIVE = {"guide": 1.0, "imitate": 2.0, "feature": 3.0}


class ColourTeacher:
    """Gives the mean colours of the cells of a picture, three times over."""

    def __init__(self, path: Path, *, tensor: int, size: int, cells: int) -> None:
        self.size, self.side, self.key = size, max(1, cells), "colours"
        self.width = self.side**2 * 9

    def features(self, pixels_VCHW: np.ndarray) -> np.ndarray:
        share_SH = shares(self.size, self.side)
        cells_VSSC = np.einsum("ah,bw,vchw->vabc", share_SH, share_SH, pixels_VCHW / 255)
        return np.tile(cells_VSSC, 3).reshape(len(pixels_VCHW), -1).astype(np.float16)


@pytest.mark.parametrize(("length", "cells"), [(7, 4), (7, 7), (7, 1), (6, 3), (3, 5)])
def test_cells_share_places_as_adaptive_pooling_does(length: int, cells: int):
    rows_CN = torch.randn(5, length)
    expected = F.adaptive_avg_pool1d(rows_CN, cells)
    found = rows_CN @ torch.from_numpy(shares(length, cells)).T
    torch.testing.assert_close(found, expected)


def test_a_guide_shows_the_cells_of_mirrored_pictures_mirrored():
    model, _ = micro_model(image=IMAGE)
    known_NF = torch.rand(50, 4 * 4 * 9)
    guide = Guide(model, known_NF, cells=4)
    said_BF, mirror_B = torch.rand(2, 4 * 4 * 9), torch.tensor([False, True])
    cells_BGC = guide.of_cells(said_BF, mirror_B, 16)
    plain_BSSC = guide.of_cells(said_BF, torch.zeros(2, dtype=torch.bool), 16).unflatten(1, (4, 4))
    torch.testing.assert_close(cells_BGC[0], plain_BSSC[0].flatten(0, 1))
    torch.testing.assert_close(cells_BGC[1], torch.flip(plain_BSSC[1], dims=[1]).flatten(0, 1))
    # over what the statistics were taken from, every channel has mean 0 and deviation 1
    cells = guide.of_cells(known_NF, torch.zeros(50, dtype=torch.bool), 16).flatten(0, 1)
    torch.testing.assert_close(cells.mean(0), torch.zeros(9), atol=1e-4, rtol=0)
    torch.testing.assert_close(cells.std(0, correction=0), torch.ones(9), atol=1e-4, rtol=0)
    pooled = guide.pooled(known_NF)
    torch.testing.assert_close(pooled.std(0, correction=0), torch.ones(9), atol=1e-4, rtol=0)
    # the student's map may be coarser, or finer
    coarse = guide.of_cells(said_BF, mirror_B, 4)
    torch.testing.assert_close(coarse[0, 0], plain_BSSC[0, :2, :2].mean(dim=(0, 1)))
    assert guide.of_cells(said_BF, mirror_B, 64).shape == (2, 64, 9)


def test_one_pass_gives_features_and_regions():
    model, _ = micro_model(image=IMAGE)
    pixels_BCHW = torch.randn(3, 3, 32, 32)
    both = model.image_tower.with_regions(pixels_BCHW)
    torch.testing.assert_close(both[:, 0], model.image_tower(pixels_BCHW))
    torch.testing.assert_close(both[:, 1:], model.image_tower.regions(pixels_BCHW))


@pytest.mark.parametrize("cells", [0, 2])
def test_what_a_guided_step_adds_by_hand(tmp_path, cells: int):
    model, tokenizer = micro_model(image=IMAGE)
    source = open_source("scenes:6?size=32")
    packed = pack(source, tmp_path, size=32, key="k")
    packed = replace(packed, captions=[(f"boat {row}",) for row in range(6)])  # of no side, so mirrored
    teacher = ColourTeacher(Path(), tensor=0, size=32, cells=cells)
    features = teacher.features(np.asarray(packed.pixels_NCHW))[:, None]
    views = Reinforced(view_boxes(6, views=1, min_area=1, seed=0), features)
    config = micro_run(objective=OBJECTIVE)
    parts = [Part(pack=packed, views=views), Part(pack=packed)]
    mixture = Mixture(parts, tokenizer, batch_size=8, augmentation=config.augmentation, seed=0)
    batch = mixture.batch(0)
    guide = Guide(model, torch.from_numpy(features[:, 0].astype(np.float32)), cells=cells, hidden=7)
    terms = Task(model, config.objective, guide).eval()(batch)
    assert batch.taught_B.tolist() == [True] * 4 + [False] * 4 and batch.mirror_B[:4].any()
    with torch.no_grad():
        pixels = torch.from_numpy(batch.pixels_BCHW[:4]).float()
        mirror = torch.from_numpy(batch.mirror_B[:4])
        shown = torch.where(mirror[:, None, None, None], pixels.flip(3), pixels)
        said = torch.from_numpy(batch.features_BD[:4])
        regions = model.image_tower.regions(model.normalise(shown))
        states = regions if cells else regions.mean(dim=1, keepdim=True)
        wanted = guide.of_cells(said, mirror, states.shape[1])
        cosines = F.cosine_similarity(guide.predict(states), wanted, dim=-1, eps=1e-6)
        torch.testing.assert_close(terms["feature"], 3 * (1 - cosines).mean(), atol=1e-4, rtol=1e-4)
        led = guide.levels(guide.pooled(said))
        image = model.encode_pixels(shown)
        misses = [1 - (image[width] * led[width]).sum(dim=1) for width in model.config.levels.widths]
        torch.testing.assert_close(terms["imitate"], 2 * torch.stack(misses).mean(), atol=1e-4, rtol=1e-4)


def test_no_words_are_dropped_of_pictures_with_hard_negatives(tmp_path):
    """Without the word that makes it wrong a hard negative would be true."""
    _, tokenizer = micro_model()
    source = open_source("scenes:40?size=32")
    packed = pack(source, tmp_path, size=32, key="k", negatives="near_misses")
    parts = [Part(pack=packed, captions=2, negatives=2)]
    augmentation = Augmentation(word_dropout=0.3)
    mixture = Mixture(parts, tokenizer, batch_size=40, augmentation=augmentation, seed=0)
    batch = mixture.batch(0)
    dropped_T = ((batch.tokens_TT == tokenizer.mask_id) & (batch.mask_TT > 0)).sum(axis=1)
    wrong_T = batch.picture_of_text_T < 0
    has_B = np.array([len(packed.negatives[row]) > 0 for row in mixture.rows(0, 0)])
    own_T = has_B[batch.picture_of_text_T]
    assert wrong_T.sum() > 20 and 0 < has_B.sum() < 40
    assert dropped_T[wrong_T].sum() == dropped_T[~wrong_T & own_T].sum() == 0
    words_T = batch.mask_TT.sum(axis=1)
    plain_T = ~wrong_T & ~own_T
    assert dropped_T[plain_T].sum() / words_T[plain_T].sum() == pytest.approx(0.3, abs=0.1)


def guided(**changes: Any) -> Any:
    values = {
        "model": model_values(image=IMAGE),
        "sources": [
            {"spec": "scenes:20?size=32", "views": 2, "captions": 2, "negatives": "near_misses"},
            {"spec": "scenes:9?size=32", "crop": False},
        ],
        "validation": [],
        "teacher": {"kind": "colours", "path": "none", "tensor": 0, "size": 32, "cells": 2, "hidden": 5},
        "objective": OBJECTIVE,
        "batch_size": 8,
        "steps": 6,
        "optimisation": {"warmup_steps": 1, "decay_steps": 3},
        "log_every": 1,
    }
    return micro_run(**{**values, **changes})


def test_a_plateau_may_end_later_and_a_run_goes_on_as_if_it_had_been_planned_so(tmp_path, monkeypatch):
    monkeypatch.setattr(hivlp.train.run, "export", lambda folder: None)
    monkeypatch.setattr(hivlp.train.run.curves, "draw", lambda *arguments, **options: None)
    monkeypatch.setitem(TABLES["teachers"], "colours", "test_guide:ColourTeacher")
    longer = guided(steps=90, optimisation={"warmup_steps": 1, "decay_steps": 50}, log_every=2)
    run(longer, out=tmp_path / "changed", stop_after=3)
    with pytest.raises(ConfigError, match=r"would begin the decay before step 3, .* give 6 steps or more"):
        run(guided(steps=5), out=tmp_path / "changed", resume=True)
    run(guided(), out=tmp_path / "changed", resume=True)
    with pytest.raises(ConfigError, match="or it has begun"):
        run(longer, out=tmp_path / "changed", resume=True)
    run(guided(), out=tmp_path / "planned")
    one, two = (load_file(tmp_path / name / "model/model.safetensors") for name in ("changed", "planned"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    logged = [json.loads(line) for line in (tmp_path / "planned/metrics.jsonl").read_text().splitlines()]
    assert {"guide", "imitate", "feature"} <= set(logged[0])
    assert json.loads((tmp_path / "changed/train.json").read_text())["steps"] == 6
