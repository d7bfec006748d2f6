"""The configuration of `hivlp fit-levels`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from hivlp.config.parsing import Settings


class FitLevelsConfig(Settings):
    """How levels are learned on the stored embeddings of a frozen encoder."""

    widths: tuple[int, ...] = Field(
        default=(32, 64, 128), description="widths of the levels; the encoder's own width is always added"
    )
    kind: Literal["nested", "separate"] = Field(
        default="separate",
        description="nested: learned levels are prefixes of one map; separate: each has its own map",
    )
    heads: Literal["linear", "mlp"] = Field(
        default="linear", description="linear maps, or linear maps with a small MLP added to each"
    )
    binary: int | None = Field(
        default=None, ge=8, description="width of one more level, trained for its sign codes"
    )
    epochs: int = Field(
        default=20, ge=0, description="largest number of passes over the images; 0 learns nothing"
    )
    patience: int = Field(
        default=3, ge=1, description="epochs without a higher mean AR of the levels before learning ends"
    )
    batch_size: int = Field(default=512, ge=2, description="images per step, each with one of its captions")
    learning_rate: float = Field(
        default=3e-4, gt=0, description="learning rate of Adam, with a decay to zero by half a cosine"
    )
    consistency: float = Field(
        default=0.0, ge=0, description="weight of KL(widest level || level) of the similarities"
    )
    margin: float = Field(
        default=0.2, ge=0, description="AR points that a learned level must gain over the best unlearned one"
    )
    held_out: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="share of the images to validate on where the source has no split val",
    )
    seed: int = Field(default=0, description="seed of batches and captions")

    @field_validator("widths")
    @classmethod
    def _positive(cls, widths: tuple[int, ...]) -> tuple[int, ...]:
        if any(width < 1 for width in widths):
            raise ValueError(f"levels must be positive, such as 32,64,128; got {widths}")
        return tuple(sorted(set(widths)))
