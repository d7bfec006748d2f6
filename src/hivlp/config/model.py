"""The configuration of a model: its towers, levels and preprocessing, and the files of its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from hivlp.config.parsing import Settings, parse, without_removed
from hivlp.errors import ModelError

SCHEMA_VERSION = 1
# the files of a model folder
CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE = "config.json", "model.safetensors", "tokenizer.json"
MATCH_FILE = "match.json"  # the probability of a match for each score, where a run could fit it


class Preprocessing(Settings):
    """How an image becomes pixels. The model itself applies mean and standard deviation, not the decoder."""

    size: int = Field(default=112, ge=8, le=1024, description="side of the square input, in pixels")
    fit: Literal["squeeze", "crop"] = Field(
        default="squeeze",
        description="squeeze: resize the whole image to a square; crop: scale the short side and cut out the "
        "centre",
    )
    centre: float = Field(
        default=1.0, gt=0, le=1, description="side of the centre crop, as a share of the fitted image"
    )
    interpolation: Literal["bicubic", "bilinear", "box"] = Field(
        default="bilinear", description="resampling filter"
    )
    mean: tuple[float, float, float] = Field(
        default=(0.485, 0.456, 0.406), description="mean of red, green and blue in [0, 1]"
    )
    std: tuple[float, float, float] = Field(
        default=(0.229, 0.224, 0.225), description="standard deviation of red, green and blue in [0, 1]"
    )


class TowerConfig(Settings):
    """Settings that both towers have."""

    kind: str = Field(description="a model type of transformers, or one of HiVLP's own")
    options: dict[str, Any] = Field(
        default_factory=dict, description="arguments of the configuration class of this model type"
    )
    dropout: float = Field(
        default=0.0, ge=0.0, lt=1.0, description="dropout between the tower and its levels"
    )


class ImageTowerConfig(TowerConfig):
    """The image tower: a model type of transformers, or `efficientnet_lite`."""

    kind: str = Field(
        description="a model type of transformers, such as resnet, vit or convnextv2, or efficientnet_lite"
    )
    pooling: Literal["mean", "own", "first", "stages"] = Field(
        default="mean",
        description="mean of the states, the pooler of the model type (own), or the first token; stages "
        "(efficientnet_lite only) adds the means of inner feature maps",
    )
    norm: bool = Field(
        default=False, description="batch norm of the features, without weights: mean 0 and deviation 1"
    )

    @model_validator(mode="after")
    def _kind_fits(self) -> ImageTowerConfig:
        if self.kind == "words":
            raise ValueError("words is a text tower; for images take resnet, vit or efficientnet_lite")
        if self.pooling == "stages" and self.kind != "efficientnet_lite":
            raise ValueError(
                f"pooling=stages needs kind=efficientnet_lite, and the kind is {self.kind}; take pooling=mean"
            )
        if self.pooling in ("own", "first") and self.kind == "efficientnet_lite":
            raise ValueError(
                f"efficientnet_lite has no pooling={self.pooling}; take pooling=mean or pooling=stages"
            )
        return self


class TextTowerConfig(TowerConfig):
    """The text tower: a model type of transformers, or `words`."""

    kind: str = Field(description="a model type of transformers, such as bert, or words")
    pooling: Literal["mean", "own", "first"] = Field(
        default="mean",
        description="mean of the states, the pooler of the model type (own), or the first token",
    )
    bag: int = Field(
        default=0,
        ge=0,
        description="width of a bag of words with learned vectors beside the pooled states; 0 disables it; "
        "a words tower needs it",
    )

    @field_validator("bag", mode="before")
    @classmethod
    def _width(cls, bag: Any) -> Any:
        if bag is True:
            raise ValueError("bag is the width of its word vectors; give a number, such as 256")
        return bag

    @model_validator(mode="after")
    def _kind_fits(self) -> TextTowerConfig:
        if self.kind == "efficientnet_lite":
            raise ValueError("efficientnet_lite is an image tower; for texts take bert or words")
        if self.kind == "words" and not self.bag:
            raise ValueError("a words tower needs the width of its learned vectors; set bag, such as bag=256")
        if self.kind == "words" and self.pooling != "mean":
            raise ValueError(f"a words tower has no pooling={self.pooling}; leave pooling out")
        return self


class Levels(Settings):
    """The widths of the embeddings, narrowest first, and how they are made."""

    kind: Literal["nested", "separate"] = Field(
        default="nested",
        description="nested: each level is a prefix of the widest embedding; separate: each has its own head",
    )
    widths: tuple[int, ...] = Field(
        default=(32, 64, 128, 512), description="dimensions of each level, narrowest first"
    )
    hidden: int = Field(
        default=0, ge=0, description="hidden units of a small MLP added to each linear head; 0 disables it"
    )
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0, description="dropout of these hidden units")

    @field_validator("widths")
    @classmethod
    def _ascending(cls, widths: tuple[int, ...]) -> tuple[int, ...]:
        if not widths or any(width < 1 for width in widths) or list(widths) != sorted(set(widths)):
            raise ValueError(
                f"levels must be positive, different and ascending, such as 32,64,128,512; got {widths}"
            )
        return widths


class Fusion(Settings):
    """A re-ranker in the model: a head that scores an image and a text jointly. Trained by objective.itm."""

    layers: int = Field(
        default=2, ge=1, description="layers of self-attention over words and cross-attention to regions"
    )


class ModelConfig(Settings):
    """Everything that is needed to build a dual encoder, apart from its weights."""

    REMOVED: ClassVar[Mapping[str, Any]] = {
        **{
            f"{side}.{name}": None
            for side in ("image", "text")
            for name in ("pairs", "detail", "detail_dropout")
        },
        "image.bag": None,
        "text.norm": None,
        "levels.places": None,
        "fusion.width": 192,
        "fusion.heads": 6,
        "fusion.dropout": 0.1,
    }

    schema_version: int = Field(default=SCHEMA_VERSION, description="version of this file format")
    name: str = Field(default="unnamed", description="a name for people")
    image: ImageTowerConfig
    text: TextTowerConfig
    levels: Levels = Levels()
    fusion: Fusion | None = None
    preprocessing: Preprocessing = Preprocessing()
    vocabulary: int = Field(default=6000, ge=64, description="largest size of the tokenizer's vocabulary")
    max_tokens: int = Field(default=40, ge=4, le=4096, description="longer texts are cut to this length")
    logit_scale: float = Field(default=14.3, gt=0, description="initial inverse temperature of every level")

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
        raise ModelError(f"{path} cannot be read ({error}); copy the model folder again") from None
    try:
        values = without_removed(ModelConfig, values)
    except ValueError as error:
        raise ModelError(f"{path}: {error}") from None
    return parse(ModelConfig, values, where=str(path))
