"""Masked words and regions: what is hidden, what is asked, and a run that learns from it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from test_grad_cache import VIT
from torch.nn import functional as F

from distributed_task import a_pack, gradients_of
from hivlp.config import Augmentation, Objective, parse
from hivlp.train.batches.batch import REGION
from hivlp.train.batches.masking import SPECIAL_TOKENS, drop_words, mask_words
from hivlp.train.batches.mixture import Mixture, MixturePart
from hivlp.train.batches.views import cells, hide
from hivlp.train.distributed import World
from hivlp.train.run import run
from hivlp.train.step import Task
from micro import micro_model, micro_run

MASK = 4


def some_texts(count: int = 400, length: int = 9) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    """Start, words, end, padding; the last text has no word."""
    random = np.random.default_rng(0)
    tokens = random.integers(SPECIAL_TOKENS, 50, (count, length))
    tokens[:, 0], tokens[:, 6], tokens[:, 7:] = 2, 3, 0
    tokens[-1, 1:6] = 1
    mask = (np.arange(length) < 7).astype(np.int64) * np.ones((count, 1), np.int64)
    return tokens, mask, random


def test_masked_words_are_words_and_mostly_masks():
    tokens, mask, random = some_texts()
    masked, chosen = mask_words(
        tokens,
        mask,
        random.random((400, 12)),
        random.random((400, 12)),
        share=0.3,
        mask_id=MASK,
        vocabulary=50,
    )
    assert not chosen[:, [0, 6, 7, 8]].any() and not chosen[-1].any()
    assert chosen[:-1].any(axis=1).all(), "every text with words gives one"
    assert np.array_equal(masked[~chosen], tokens[~chosen])
    became = masked[chosen]
    assert (became == MASK).mean() == pytest.approx(0.8, abs=0.05)
    other = became[(became != MASK) & (became != tokens[chosen])]
    assert len(other) / len(became) == pytest.approx(0.1, abs=0.04)
    assert other.min() >= SPECIAL_TOKENS and other.max() < 50
    # at least one of five words with a share of 0.3 each: 1.5 and what 0.7^5 of the texts are given
    assert chosen.sum() / 399 == pytest.approx(1.5 + 0.7**5, abs=0.15)


def test_dropped_words_leave_no_trace_in_special_tokens():
    tokens, mask, random = some_texts()
    dropped = drop_words(tokens, mask, random.random((400, 12)), share=0.5, mask_id=MASK)
    changed = dropped != tokens
    assert (dropped[changed] == MASK).all() and not changed[:, [0, 6, 7, 8]].any()
    assert changed[:-1, 1:6].mean() == pytest.approx(0.5, abs=0.04)


def test_hidden_cells_are_the_mean_and_the_others_stay():
    rows = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    hidden = torch.tensor([[True, False, False, False], [False, False, False, True]])
    out = hide(rows, hidden)
    assert (out[0, :, :3, :3] == 0).all() and (out[1, :, 3:, 3:] == 0).all()
    assert torch.equal(out[0, :, :, 3:], rows[0, :, :, 3:]) and torch.equal(out[1, :, :3], rows[1, :, :3])


def test_cells_are_the_pixels_of_each_region_standardised():
    rows = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    found = cells(rows, side=2, detail=2)
    small = F.avg_pool2d(rows, 2)
    for number, (top, left) in enumerate([(0, 0), (0, 2), (2, 0), (2, 2)]):
        own = small[0, :, top : top + 2, left : left + 2].reshape(-1)
        expected = (own - own.mean()) / (own.var(unbiased=False) + 1e-5).sqrt()
        torch.testing.assert_close(found[0, number], expected)
    assert cells(rows, side=4).shape == (1, 16, 3 * 2 * 2), "never finer than the pixels"


@pytest.mark.parametrize("changes", [{}, {"image": VIT}])
def test_regions_are_the_grid_behind_the_pooled_vector(changes):
    """The mean over a convolutional grid is the pooled vector; a ViT's summary token is not a region."""
    model, _ = micro_model(**changes)
    pixels = model.normalise(torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 255)
    with torch.no_grad():
        regions = model.image_tower.regions(pixels)
        hidden = model.image_tower.backbone(pixel_values=pixels).last_hidden_state
        if changes:
            assert torch.equal(regions, hidden[:, 1:]) and regions.shape[1] == 4
        else:
            torch.testing.assert_close(regions.mean(dim=1), model.image_tower(pixels))
            torch.testing.assert_close(regions[:, 1], hidden[:, :, 0, 1])


def a_task(**objective: object) -> tuple[Task, Mixture]:
    model, tokenizer = micro_model()
    task = Task(model, parse(Objective, objective, where="test"))
    mixture = Mixture(
        [MixturePart(pack=a_pack())],
        tokenizer,
        batch_size=10,
        augmentation=Augmentation(),
        seed=0,
        mask_share=0.3,
    )
    return task, mixture


def test_the_losses_are_what_a_plain_loop_over_texts_and_pictures_finds():
    task, mixture = a_task(vlm={"weight": 2.0}, lrm={"weight": 3.0})
    batch, model = mixture.batch(0), task.model
    with torch.no_grad():
        terms = task(batch)
        image = model.image_levels(task._passes.pictures(batch))[32]
        text = model.text_levels(task._passes.texts(batch))[32]
        words, regions = [], []
        for row, picture in enumerate(batch.picture_of_text_T):
            if picture < 0:
                assert not batch.chosen_TL[row].any(), "nothing is asked of wrong captions"
                continue
            length = batch.mask_TL[row].sum()
            states = model.text_tower.states(
                torch.from_numpy(batch.masked_TL[row : row + 1, :length]),
                torch.ones(1, length, dtype=torch.long),
            )[0]
            for column in np.flatnonzero(batch.chosen_TL[row]):
                told = task.masked.words(states[column][None], image[picture][None])
                words.append(F.cross_entropy(told, torch.tensor([batch.tokens_TL[row, column]])))
            chance = batch.random_rows.draw(REGION, task.masked.side**2)[picture]
            hidden = (chance < 0.15) | (np.arange(len(chance)) == chance.argmin())
            view = task._passes.view(
                *(
                    torch.from_numpy(a[picture : picture + 1])
                    for a in (batch.pixels_BCHW, batch.boxes_B4, batch.mirror_B)
                )
            )
            pixels = model.normalise(view)
            states = model.image_tower.regions(hide(pixels, torch.from_numpy(hidden)[None]))[0]
            target = cells(pixels, side=task.masked.side)[0]
            for cell in np.flatnonzero(hidden):
                told = task.masked.regions(states[cell][None], text[row][None])[0]
                regions.append((told - target[cell]).square().mean())
    torch.testing.assert_close(terms["vlm"], 2.0 * torch.stack(words).mean(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(terms["lrm"], 3.0 * torch.stack(regions).mean(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("name", "other"), [("vlm", "image_tower"), ("lrm", "text_tower")])
def test_the_gradient_crosses_to_the_other_tower_through_its_global_vector(name: str, other: str):
    task, mixture = a_task(**{name: {"weight": 1.0}})
    task(mixture.batch(0))[name].backward()
    reached = {key for key, p in task.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert {key.split(".")[1] for key in reached if key.startswith("model.")} >= {"image_tower", "text_tower"}
    assert any(other in key for key in reached)
    assert "model.log_scale_L" not in reached


def test_it_works_in_chunks_too():
    """All objectives at once, towers in evaluation so that batch norm does not see the chunks."""
    model, tokenizer = micro_model()
    objective = parse(Objective, {"vlm": {"weight": 1.0}, "lrm": {"weight": 1.0}}, where="test")
    mixture = Mixture(
        [MixturePart(pack=a_pack())],
        tokenizer,
        batch_size=10,
        augmentation=Augmentation(),
        seed=0,
        mask_share=0.3,
    )
    found = []
    for chunk in (0, 3):
        torch.manual_seed(0)
        task = Task(model, objective, grad_cache=chunk).eval()
        terms = task(mixture.batch(0))
        model.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        found.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    for name in found[0]:
        torch.testing.assert_close(found[0][name], found[1][name], atol=1e-5, rtol=1e-3)


def test_nothing_of_the_heads_is_asked_without_weights():
    assert {name for name in gradients_of(World()) if "masked" in name}
    task, _ = a_task()
    assert not list(task.masked.parameters()) and not list(task.offsets.parameters())


def test_a_run_learns_words_and_regions_and_leaves_its_heads_behind(tmp_path):
    objective = {"vlm": {"weight": 0.5}, "lrm": {"weight": 0.5}}
    optimisation = {"learning_rate": 5e-3, "warmup_steps": 2}
    config = micro_run(objective=objective, optimisation=optimisation, steps=24, log_every=1)
    run(config, out=tmp_path / "r", stop_after=10)
    run(config, out=tmp_path / "r", resume=True)
    log = [json.loads(line) for line in (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()]
    for name in ("vlm", "lrm"):
        assert np.mean([line[name] for line in log[-4:]]) < 0.9 * log[0][name]
    names = load_file(tmp_path / "r" / "model" / "model.safetensors")
    assert not any("masked" in name or "words" in name for name in names)
