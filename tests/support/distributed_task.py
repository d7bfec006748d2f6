"""One step of a task with every objective, of one process or of several, over the same batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from hivlp.config import Augmentation, Distillation, Objective, Preprocessing, parse
from hivlp.train.batches.mixture import Mixture, MixturePart
from hivlp.train.batches.pack import Pack
from hivlp.train.batches.targets import StoredEmbeddings, StoredScores, StoredViews
from hivlp.train.distributed import World
from hivlp.train.norm import share_batch_norms
from hivlp.train.step import Task
from hivlp.train.teachers.features import view_boxes
from micro import TEXTS, micro_model

FUSION = {"layers": 1}
OBJECTIVE = {
    "itm": {"weight": 0.5},
    "form": "sigmoid",
    "consistency": 0.3,
    "binary": {"weight": 0.5},
    "vlm": {"weight": 0.7},
    "lrm": {"weight": 0.6},
    "reranker": {"form": "dynamic", "weight": 0.4},
}


def a_pack() -> Pack:
    """Pictures of noise; every fifth has no caption, and every third three wrong ones too."""
    random = np.random.default_rng(0)
    captions: list[tuple[str, ...]] = [(TEXTS[row % 4],) if row % 5 else () for row in range(20)]
    return Pack(
        folder=Path("unused"),
        pixels_NCHW=random.integers(0, 256, (20, 3, 32, 32), dtype=np.uint8),
        captions=captions,
        ids=[str(row) for row in range(20)],
        failures=[],
        preprocessing=Preprocessing(size=32),
        negatives=[("a wrong dog", "a big hat", "no sky") if row % 3 == 0 else () for row in range(20)],
    )


def views_of(pack: Pack) -> StoredViews:
    """Two crops a picture, what two dual encoders of different widths say of them and of the captions, and a
    re-ranker of three wrong captions of each.
    """
    random, captions = np.random.default_rng(1), sum(map(len, pack.captions))
    lessons = [
        StoredEmbeddings(
            *(
                (random.standard_normal((*shape, width)) / width**0.5).astype(np.float16)
                for shape in ((len(pack), 2), (captions,))
            )
        )
        for width in (6, 10)
    ]
    boxes = view_boxes(len(pack), views=2, min_area=0.5, seed=0)
    stored_scores = StoredScores(
        own_NVP=random.standard_normal((len(pack), 2, 1)).astype(np.float16),
        wrong_NVK=random.standard_normal((len(pack), 2, 3)).astype(np.float16),
        wrong_NK=random.integers(0, captions, (len(pack), 3)).astype(np.int32),
        captions=[caption for of_one in pack.captions for caption in of_one],
    )
    return StoredViews(boxes, np.zeros((len(pack), 2, 0), np.float16), tuple(lessons), stored_scores)


def without_dropout(module: nn.Module) -> None:
    """Turns dropout off in training too, also where attention applies it by itself."""
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
        if isinstance(part, nn.MultiheadAttention):
            part.dropout = 0.0


def gradients_of(world: World, *, grad_cache: int = 0) -> dict[str, torch.Tensor]:
    """The loss and every gradient of one step, dropout off.

    `grad_cache` is that of all processes together: batch norm then sees the same pictures at a time.
    """
    model, tokenizer = micro_model(fusion=FUSION)
    if world.size > 1:
        share_batch_norms(model)
    without_dropout(model)
    torch.manual_seed(1)
    task = Task(
        model,
        parse(Objective, OBJECTIVE, where="test"),
        grad_cache=grad_cache // world.size,
        distil=Distillation(models=("one", "other"), weight=0.8, scale=20.0),
        world=world,
    ).train()
    taught, untaught = a_pack(), a_pack()
    mixture = Mixture(
        [
            MixturePart(pack=taught, views=views_of(taught), share=2.0, negatives=2),
            MixturePart(pack=untaught),
        ],
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
