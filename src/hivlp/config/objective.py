"""The configuration of losses: the retrieval loss, the terms added to it, and the teachers of a run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hivlp.config.parsing import Settings


class Distillation(Settings):
    """Dual encoders as teachers: the student learns their similarities of images and captions."""

    models: tuple[str, ...] = Field(
        default=(), description="teachers, any `hivlp index --model`; the mean of several is learned"
    )
    weight: float = Field(
        default=1.0, ge=0, description="weight of the distillation, shared among the levels"
    )
    scale: float = Field(default=100.0, gt=0, description="inverse temperature of the teachers")


class BinaryObjective(Settings):
    """Codes of one bit per dimension, learned at the widest level."""

    weight: float = Field(default=0.0, ge=0, description="weight of the loss of sign codes; 0 disables it")


class MaskedObjective(Settings):
    """Masked words or regions, predicted with the help of the other tower. Used in training only."""

    weight: float = Field(
        default=0.0, ge=0, description="weight of the prediction of masked parts; 0 disables it"
    )


class MatchingObjective(Settings):
    """Pairs that the fusion head learns to tell apart: positives and hard negatives (ITM)."""

    weight: float = Field(
        default=0.0,
        ge=0,
        description="weight of image-text matching, which trains model.fusion; 0 disables it",
    )


class RerankerDistillation(Settings):
    """A re-ranker as teacher: the student learns its scores of an image's caption and of hard negatives."""

    model: str | None = Field(
        default=None, description="folder of a model with a fusion head; None: no re-ranker as teacher"
    )
    form: Literal["softmax", "dynamic"] = Field(
        default="softmax",
        description="softmax of its scores, or Dynamic Contrastive Distillation",
    )
    weight: float = Field(
        default=1.0, ge=0, description="weight of the distillation, shared among the levels"
    )
    negatives: int = Field(
        default=7,
        ge=1,
        description="hard negative captions per image: the best scored of four times as many candidates",
    )


class Objective(Settings):
    """Weights of the hierarchical retrieval loss and of the terms that are added to it."""

    form: Literal["softmax", "sigmoid"] = Field(
        default="softmax", description="form of the contrastive loss: CLIP's (softmax) or SigLIP's (sigmoid)"
    )
    level_weights: tuple[float, ...] | None = Field(
        default=None, description="one weight per level, narrowest first; None weighs all levels 1"
    )
    consistency: float = Field(
        default=0.0, ge=0, description="weight of KL(widest level || level) of the similarities"
    )
    binary: BinaryObjective = BinaryObjective()
    vlm: MaskedObjective = Field(
        default=MaskedObjective(), description="masked words, predicted with the image"
    )
    lrm: MaskedObjective = Field(
        default=MaskedObjective(), description="masked regions, predicted with the caption"
    )
    itm: MatchingObjective = Field(
        default=MatchingObjective(), description="image-text matching, by the fusion head"
    )
    reranker: RerankerDistillation = Field(
        default=RerankerDistillation(), description="distillation of a re-ranker's scores"
    )
    class_names: float = Field(
        default=0.0,
        ge=0,
        description="weight of the retrieval loss of ImageNet's class names; needs pretrained.image and "
        "lock_image",
    )
