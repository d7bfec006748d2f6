"""Distillation of dual encoders in a training step: their stored embeddings against the student's."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from hivlp.config import Distillation
from hivlp.objectives.distill import from_embeddings
from hivlp.train.batches.batch import Batch
from hivlp.train.distributed import World
from hivlp.train.passes import Passes


def distillation_loss(
    batch: Batch,
    passes: Passes,
    image: Mapping[int, Tensor],
    text: Mapping[int, Tensor],
    logit_scales: Mapping[int, Tensor],
    settings: Distillation,
    world: World,
) -> dict[str, Tensor]:
    """``distil_<width>`` for every level, weighted; nothing for a batch without stored views.

    Only the crops that are stored views, and their captions, are compared, those of all processes.

    Args:
        image: unit vectors (B, D) by width, of all processes' images.
        text: those (T, D) of their texts.
    """
    row_T, has_view_B = passes.put(batch.picture_of_text_T), passes.put(batch.has_view_B)
    has_view_T = torch.where(row_T < 0, False, has_view_B[row_T])
    own = [(passes.put(images), passes.put(texts)) for images, texts in batch.teacher_embeddings]
    has_view_B, has_view_T = (world.gather(rows.to(torch.uint8)).bool() for rows in (has_view_B, has_view_T))
    if not bool(has_view_B.any()) or not bool(has_view_T.any()):
        return {}
    teachers = [(world.gather(i_BD)[has_view_B], world.gather(t_TD)[has_view_T]) for i_BD, t_TD in own]
    return {
        f"distil_{width}": settings.weight
        / len(image)
        * from_embeddings(
            image[width][has_view_B],
            text[width][has_view_T],
            logit_scales[width],
            teachers,
            teacher_scale=settings.scale,
        )
        for width in image
    }
