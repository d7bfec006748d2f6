"""The configuration of `hivlp fit-levels`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from hivlp.config.parsing import Settings


class FitLevelsConfig(Settings):
    """How levels are learned on the stored vectors of a frozen encoder."""

    widths: tuple[int, ...] = Field(
        default=(32, 64, 128), description="levels to make; the encoder's own width is always added"
    )
    kind: Literal["nested", "separate"] = Field(
        default="separate", description="learned levels are prefixes of one map, or have a map each"
    )
    heads: Literal["linear", "mlp"] = Field(
        default="linear", description="learned maps are linear, or a small MLP around a linear one"
    )
    hidden: int = Field(default=512, ge=1, description="units of each MLP")
    binary: int | None = Field(
        default=None, ge=8, description="width of one more level, made for the signs of its numbers"
    )
    epochs: int = Field(default=20, ge=0, description="passes over the pictures, at most; 0 learns nothing")
    patience: int = Field(
        default=3, ge=1, description="epochs without a higher mean AR of the levels before the end"
    )
    batch_size: int = Field(default=512, ge=2, description="pictures a step, each with one of its captions")
    learning_rate: float = Field(default=3e-4, gt=0, description="of Adam, falling to zero by half a cosine")
    logit_scale: float = Field(default=30.0, gt=0, description="initial inverse temperature of every level")
    consistency: float = Field(
        default=0.0, ge=0, description="weight of KL(fine || level) on the similarities"
    )
    margin: float = Field(
        default=0.2, ge=0, description="points of AR by which a learned level must beat what is free to ship"
    )
    held_out: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="share of the pictures to validate on where there is no split val",
    )
    seed: int = Field(default=0, description="of batches and captions")

    @field_validator("widths")
    @classmethod
    def _positive(cls, widths: tuple[int, ...]) -> tuple[int, ...]:
        if any(width < 1 for width in widths):
            raise ValueError(f"levels are positive, such as 32,64,128; got {widths}")
        return tuple(sorted(set(widths)))
