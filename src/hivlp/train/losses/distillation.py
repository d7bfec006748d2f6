"""What dual encoders teach in a training step: their stored embeddings against the student's."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from hivlp.config import Distillation
from hivlp.objectives.distill import from_embeddings
from hivlp.train.batches.batch import Batch
from hivlp.train.distributed import World
from hivlp.train.passes import Passes


def distilled(
    batch: Batch,
    passes: Passes,
    image: Mapping[int, Tensor],
    text: Mapping[int, Tensor],
    logit_scales: Mapping[int, Tensor],
    settings: Distillation,
    world: World,
) -> dict[str, Tensor]:
    """``distil_<width>`` for every level that learns, weighted; nothing where the batch has nothing taught.

    The student is compared among the crops that the teachers saw and the captions of these, of all processes.

    Args:
        image: unit vectors (B, D) by width, of all processes' pictures.
        text: those (T, D) of their texts.
    """
    row_T, seen_B = passes.put(batch.picture_of_text_T), passes.put(batch.taught_B)
    said_T = torch.where(row_T < 0, False, seen_B[row_T])
    own = [(passes.put(pictures), passes.put(texts)) for pictures, texts in batch.lessons]
    seen_B, said_T = (world.gather(known.to(torch.uint8)).bool() for known in (seen_B, said_T))
    if not bool(seen_B.any()) or not bool(said_T.any()):
        return {}
    teachers = [(world.gather(i_BD)[seen_B], world.gather(t_TD)[said_T]) for i_BD, t_TD in own]
    return {
        f"distil_{width}": settings.weight
        / len(image)
        * from_embeddings(
            image[width][seen_B],
            text[width][said_T],
            logit_scales[width],
            teachers,
            teacher_scale=settings.scale,
        )
        for width in image
    }
