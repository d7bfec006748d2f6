"""One step of a task with every objective, of one process or of several, over the same batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from hivlp.config import Augmentation, Objective, parse
from hivlp.data.batches import Mixture, Part
from hivlp.data.pack import Pack
from hivlp.train.distributed import World
from hivlp.train.norm import share_batch_norms
from hivlp.train.step import Task
from micro import TEXTS, micro_model, model_values

OBJECTIVE = {
    "form": "sigmoid",
    "bias": -2.0,
    "consistency": 0.3,
    "binary": {"weight": 0.5},
    "vlm": {"weight": 0.7, "share": 0.3},
    "lrm": {"weight": 0.6, "fusion": "multiply"},
}


def a_pack() -> Pack:
    """Pictures of noise; every fifth has no caption, and every third a wrong one too."""
    random = np.random.default_rng(0)
    captions: list[tuple[str, ...]] = [(TEXTS[row % 4],) if row % 5 else () for row in range(20)]
    return Pack(
        folder=Path("unused"),
        pixels_NCHW=random.integers(0, 256, (20, 3, 32, 32), dtype=np.uint8),
        captions=captions,
        ids=[str(row) for row in range(20)],
        failures=[],
        negatives=[("a wrong caption",) if row % 3 == 0 else () for row in range(20)],
    )


def gradients_of(world: World, *, grad_cache: int = 0) -> dict[str, torch.Tensor]:
    """The loss and every gradient of one step, dropout off.

    `grad_cache` is that of all processes together: batch norm then sees the same pictures at a time.
    """
    text = {**model_values()["text"], "dropout": 0.0}
    text["options"] = {**text["options"], "hidden_dropout_prob": 0.0}
    model, tokenizer = micro_model(text=text)
    if world.size > 1:
        share_batch_norms(model)
    torch.manual_seed(1)
    task = Task(
        model,
        parse(Objective, OBJECTIVE, where="test"),
        None,
        grad_cache=grad_cache // world.size,
        world=world,
    ).train()
    mixture = Mixture(
        [Part(pack=a_pack())],
        tokenizer,
        batch_size=14,
        augmentation=Augmentation(),
        seed=0,
        mask_share=0.3,
        rank=world.rank,
        size=world.size,
    )
    loss = torch.stack(list(task(mixture.batch(3)).values()))
    loss.sum().backward()
    world.average_gradients(task.parameters())
    gradients = {f"{grad_cache}.{name}": p.grad for name, p in task.named_parameters() if p.grad is not None}
    return {f"{grad_cache}.losses": world.mean(loss.detach()), **gradients}
