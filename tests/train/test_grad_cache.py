"""GradCache: the gradient of the whole batch with the memory of a chunk, dropout and all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hivlp.config import Objective
from hivlp.train import passes
from hivlp.train.batches.batch import Batch, RandomRows
from hivlp.train.gradient_cache import in_chunks, still_statistics
from hivlp.train.step import Task
from micro import TEXTS, micro_model

VIT: dict[str, Any] = {
    "kind": "vit",
    "dropout": 0.1,
    "options": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "patch_size": 16,
        "hidden_dropout_prob": 0.1,
    },
}


def a_batch(count: int = 8) -> tuple[Any, Batch]:
    """Pictures of noise with a caption each."""
    model, tokenizer = micro_model(image=VIT)
    tokens, mask = tokenizer.encode([TEXTS[row % len(TEXTS)] for row in range(count)])
    random = np.random.default_rng(0)
    batch = Batch(
        pixels_BCHW=random.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8),
        boxes_B4=np.tile(np.array([0, 0, 1, 1], np.float32), (count, 1)),
        mirror_B=np.zeros(count, bool),
        tokens_TL=tokens,
        mask_TL=mask,
        picture_B=np.arange(count),
        picture_of_text_T=np.arange(count),
        wording_T=np.arange(count),
        features_BD=np.zeros((count, 0), np.float32),
        has_view_B=np.zeros(count, bool),
        random_rows=RandomRows(seed=(0, 0), whole=count, places_B=np.arange(count)),
    )
    return model, batch


def gradients(task: Task, batch: Batch) -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    task.zero_grad()
    torch.stack(list(task(batch).values())).sum().backward()
    return {name: p.grad.clone() for name, p in task.named_parameters() if p.grad is not None}


def test_the_gradient_is_the_plain_one_with_dropout_on(monkeypatch):
    """Plain: the same chunks, so that the same numbers are dropped, with all activations kept."""
    model, batch = a_batch()
    task = Task(model.train(), Objective(consistency=0.5), grad_cache=3)
    cached = gradients(task, batch)
    monkeypatch.setattr(
        passes, "in_chunks", lambda *args, **options: in_chunks(*args, **{**options, "cache": False})
    )
    plain = gradients(task, batch)
    assert set(cached) == set(plain) and len(plain) > 20
    assert all(torch.equal(cached[name], plain[name]) for name in plain)
    torch.manual_seed(4)
    task.zero_grad()
    other = torch.stack(list(task(batch).values())).sum()
    torch.manual_seed(3)
    assert other != torch.stack(list(task(batch).values())).sum(), "dropout is on"


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_without_dropout_it_is_that_of_the_batch_in_one_piece(chunk: int):
    model, batch = a_batch()
    model.eval()
    plain = gradients(Task(model, Objective()), batch)
    cached = gradients(Task(model, Objective(), grad_cache=chunk), batch)
    for name in plain:
        torch.testing.assert_close(cached[name], plain[name], atol=1e-5, rtol=1e-4)


def test_running_statistics_count_a_chunk_once():
    def tower() -> nn.Sequential:
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten())

    rows = torch.randn(6, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    states = []
    for cache in (False, True):
        one = tower()
        in_chunks(one, [(piece,) for piece in rows.split(2)], module=one, cache=cache).sum().backward()
        states.append(one.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert states[1]["1.num_batches_tracked"] == 3
    norm = tower()
    with still_statistics(norm):
        norm(rows)
    assert norm[1].momentum == 0.1 and norm[1].running_mean.abs().sum() == 0


def test_no_activation_of_a_chunk_waits_for_the_backward_pass():
    tower, rows = nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 2)), torch.randn(12, 4)

    def kept(cache: bool) -> int:
        """Numbers that autograd stores while the rows are computed."""
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            in_chunks(tower, [(piece,) for piece in rows.split(2)], module=tower, cache=cache)
        return sum(sizes)

    assert kept(cache=True) == rows.numel(), "the chunks themselves and nothing that was made of them"
    assert kept(cache=False) > 2 * rows.numel()
