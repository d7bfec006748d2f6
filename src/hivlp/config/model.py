"""The configuration of a model: its towers, levels and preprocessing, and the files of its folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from hivlp.config.parsing import Settings, parse, without_removed
from hivlp.errors import ModelError

SCHEMA_VERSION = 1
# the files of a model folder
CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE = "config.json", "model.safetensors", "tokenizer.json"
MATCH_FILE = "match.json"  # how scores become probabilities, where a run had captions to learn it from


class Preprocessing(Settings):
    """How a picture becomes pixels. Mean and deviation are applied inside the model, not by the decoder."""

    size: int = Field(default=112, ge=8, le=1024, description="side of the square input, pixels")
    fit: Literal["squeeze", "crop"] = Field(
        default="squeeze", description="squeeze the whole frame, or scale the short side and crop the centre"
    )
    centre: float = Field(
        default=1.0, gt=0, le=1, description="share of each side that is kept of that, around the centre"
    )
    interpolation: Literal["bicubic", "bilinear", "box"] = Field(
        default="bilinear", description="filter of the resizing"
    )
    mean: tuple[float, float, float] = Field(
        default=(0.485, 0.456, 0.406), description="of red, green, blue in [0, 1]; taken off inside the model"
    )
    std: tuple[float, float, float] = Field(
        default=(0.229, 0.224, 0.225),
        description="of red, green, blue in [0, 1]; divided by inside the model",
    )


class Tower(Settings):
    """One tower, built by transformers from its configuration class, or one of HiVLP's own."""

    kind: str = Field(
        description="a model type of transformers, such as resnet, vit, convnextv2, bert; or "
        "efficientnet_lite for pictures, words for texts"
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="arguments of that type's configuration"
    )
    pooling: Literal["mean", "own", "first", "stages"] = Field(
        default="mean",
        description="how states become one vector: their mean, the type's own pooler, or the first token; of "
        "efficientnet_lite also stages, means of inner maps beside that of the last",
    )
    bag: int = Field(
        default=0,
        ge=0,
        description="of texts: numbers of a weighted bag of words, with vectors of its own, beside what the "
        "states become; 0: there is none",
    )
    norm: bool = Field(
        default=False,
        description="each number that comes out is brought to mean 0 and deviation 1 over pictures, or texts",
    )
    dropout: float = Field(
        default=0.0, ge=0.0, lt=1.0, description="dropout between the tower and its levels"
    )

    @field_validator("bag", mode="before")
    @classmethod
    def _width(cls, bag: Any) -> Any:
        if bag is True:
            raise ValueError("a bag has vectors of its own now; give their width, such as 256")
        return bag


class Levels(Settings):
    """The widths of the embeddings, narrowest first, and how they are made."""

    kind: Literal["nested", "separate"] = Field(
        default="nested", description="prefixes of the widest vector, or a head of its own for each level"
    )
    widths: tuple[int, ...] = Field(
        default=(32, 64, 128, 512), description="numbers in a vector at each level, narrowest first"
    )
    hidden: int = Field(
        default=0, ge=0, description="units of a small MLP around each linear head; 0: heads are linear"
    )
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0, description="dropout of these units")

    @field_validator("widths")
    @classmethod
    def _ascending(cls, widths: tuple[int, ...]) -> tuple[int, ...]:
        if not widths or any(width < 1 for width in widths) or list(widths) != sorted(set(widths)):
            raise ValueError(
                f"levels must be positive, different and ascending, such as 32,64,128,512; got {widths}"
            )
        return widths


class Fusion(Settings):
    """A head that scores pairs jointly, for re-ranking; the objective itm teaches it."""

    layers: int = Field(default=2, ge=1, description="layers of words looking at words and regions")
    width: int = Field(default=192, ge=8, description="numbers in its states")
    heads: int = Field(default=6, ge=1, description="of its attention; they share the width evenly")
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0, description="inside of its layers")

    @model_validator(mode="after")
    def _divides(self) -> Fusion:
        if self.width % self.heads:
            raise ValueError(f"fusion.width={self.width} can't be shared evenly by {self.heads} heads")
        return self


class ModelConfig(Settings):
    """Everything that is needed to build a dual encoder, apart from its weights."""

    REMOVED: ClassVar[Sequence[str]] = (
        *(f"{side}.{name}" for side in ("image", "text") for name in ("pairs", "detail", "detail_dropout")),
        "levels.places",
    )

    schema_version: int = Field(default=SCHEMA_VERSION, description="of this file format")
    name: str = Field(default="unnamed", description="for people")
    image: Tower
    text: Tower
    levels: Levels = Levels()
    fusion: Fusion | None = None
    preprocessing: Preprocessing = Preprocessing()
    vocabulary: int = Field(default=6000, ge=64, description="entries of the tokenizer, at most")
    max_tokens: int = Field(default=40, ge=4, le=4096, description="longer texts are cut here")
    logit_scale: float = Field(default=14.3, gt=0, description="initial inverse temperature of every level")

    @field_validator("image", "text")
    @classmethod
    def _has_stages(cls, tower: Tower) -> Tower:
        if tower.pooling == "stages" and tower.kind != "efficientnet_lite":
            raise ValueError(
                f"pooling=stages is for efficientnet_lite, and the kind is {tower.kind}; take mean"
            )
        return tower

    @field_validator("image")
    @classmethod
    def _of_pictures(cls, image: Tower) -> Tower:
        if image.bag:
            raise ValueError("bag is of words, for text towers; leave it out")
        return image

    @field_validator("text")
    @classmethod
    def _of_texts(cls, text: Tower) -> Tower:
        if text.kind == "words" and not text.bag:
            raise ValueError("a words tower has vectors that learn; give their width as bag, such as 256")
        if text.norm:
            raise ValueError("norm is for picture towers, since texts are encoded in groups of like length")
        return text

    @field_validator("schema_version")
    @classmethod
    def _known(cls, version: int) -> int:
        if version > SCHEMA_VERSION:
            raise ValueError(
                f"this model folder has schema version {version}, this HiVLP reads up to {SCHEMA_VERSION}; "
                "upgrade HiVLP"
            )
        return version


def read_model_config(folder: Path) -> ModelConfig:
    """The configuration of a model folder. Raises ModelError or ConfigError."""
    path = folder / CONFIG_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"{folder} is not a model folder: it has no {CONFIG_FILE}; give a folder that `hivlp train` made"
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} can't be read ({error}); copy the model folder again") from None
    try:
        values = without_removed(ModelConfig, values)
    except ValueError as error:
        raise ModelError(f"{path}: {error}") from None
    return parse(ModelConfig, values, where=str(path))
