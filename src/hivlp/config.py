"""Typed configuration of models and training runs; it reads values and checks them, and builds nothing.

A configuration is frozen. An unknown key or a value out of range is a ConfigError that names the key, the
rule and the nearest thing that would have been right. Presets live in `hivlp.train.presets`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from hivlp.errors import ConfigError, ModelError
from hivlp.registry import suggestion
from hivlp.wording import plain

SCHEMA_VERSION = 1
# the files of a model folder
CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE = "config.json", "model.safetensors", "tokenizer.json"
MATCH_FILE = "match.json"  # how scores become probabilities, where a run had captions to learn it from


class Settings(BaseModel):
    """Parent of every configuration: frozen, and strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


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


class SourceConfig(Settings):
    """One source of training pictures and its share of every batch."""

    spec: str = Field(description="what `hivlp train --data` accepts; {data} stands for the value of --data")
    split: str | None = Field(default=None, description="the split to train on; None takes everything")
    share: float = Field(
        default=1.0, gt=0, description="weight of this source in a batch, against the others"
    )
    captions: int = Field(
        default=1, ge=1, description="captions of each picture in a batch, right answers together"
    )
    crop: bool = Field(default=True, description="false where a crop or a mirror could make captions wrong")
    negatives: str | None = Field(
        default=None, description="a column whose texts look right for their picture and are not"
    )
    negatives_each: int = Field(
        default=1, ge=1, description="how many of them of each picture are in a batch, where it has so many"
    )
    views: int = Field(
        default=0, ge=0, le=64, description="views a picture for teachers or a locked tower; 0: none"
    )
    linear_start: bool = Field(
        default=True, description="whether a linear_start looks at it; false for captions made by a rule"
    )


def _check_views(sources: Sequence[SourceConfig]) -> None:
    """Raises ValueError where a source that must stay whole is to be shown in several crops."""
    for source in sources:
        if source.views > 1 and not source.crop:
            raise ValueError(
                f"{source.spec} is not to be cropped and asks for {source.views} views; "
                "give it crop=true, or views=1, which is the whole picture"
            )


class Distillation(Settings):
    """Dual encoders that teach by the embeddings that they give of pictures and captions."""

    models: tuple[str, ...] = Field(
        default=(), description="what `hivlp index --model` accepts; of several the mean is learned"
    )
    weight: float = Field(default=1.0, ge=0, description="of this loss, which is divided among the levels")
    scale: float = Field(default=100.0, gt=0, description="inverse temperature of the teachers")
    widths: tuple[int, ...] | None = Field(default=None, description="levels that learn from them; None: all")


class BinaryLevel(Settings):
    """Codes of one bit a number, learned at one of the levels."""

    weight: float = Field(default=0.0, ge=0, description="of the loss of its sign codes; 0 does without it")
    width: int | None = Field(default=None, description="the level it belongs to; None takes the widest")
    balance: float = Field(
        default=0.1, ge=0, description="weight of the imbalance of the bits, which lies in [0, 1]"
    )


class Masking(Settings):
    """What is masked on one side and told with the help of the other; used in training only."""

    weight: float = Field(default=0.0, ge=0, description="of this loss; 0 does without it")
    share: float = Field(default=0.15, gt=0, lt=1, description="share that is masked; at least one of each")
    fusion: Literal["add", "multiply"] = Field(
        default="add", description="how states meet the other side's global vector"
    )


class PairMatching(Settings):
    """Pairs that the fusion head learns to tell: right ones, and wrong ones that look right (ITM)."""

    weight: float = Field(default=0.0, ge=0, description="of this loss; 0 does without it")
    negatives: int = Field(
        default=1, ge=1, description="wrong partners of each picture and of each text, the most similar ones"
    )


class Reranker(Settings):
    """A fusion head that teaches by its scores of captions: the right one, and wrong ones that look right."""

    model: str | None = Field(
        default=None, description="folder of a model with a fusion head; None: there is no such teacher"
    )
    form: Literal["softmax", "dynamic"] = Field(
        default="softmax",
        description="learn the softmax of its scores, or by Dynamic Contrastive Distillation",
    )
    weight: float = Field(default=1.0, ge=0, description="of this loss, which is divided among the levels")
    widths: tuple[int, ...] | None = Field(default=None, description="levels that learn from it; None: all")
    negatives: int = Field(
        default=7, ge=1, description="wrong captions of each picture: of the pool, those that it likes best"
    )
    pool: int = Field(
        default=28, ge=1, description="wrong captions that it scores, the most similar by its own embeddings"
    )
    temperature: float = Field(default=1.0, gt=0, description="scores are divided by it")
    imitation: float = Field(
        default=0.2, ge=0, le=1, description="weight of its scores, of the dynamic form; labels get the rest"
    )

    @model_validator(mode="after")
    def _enough(self) -> Reranker:
        if self.pool < self.negatives:
            raise ValueError(
                f"objective.reranker.pool={self.pool} is less than the {self.negatives} negatives taken from "
                "it; raise pool, or lower negatives"
            )
        return self


class Objective(Settings):
    """Weights of the hierarchical retrieval loss and of what is added to it."""

    form: Literal["softmax", "sigmoid"] = Field(
        default="softmax", description="of the contrastive loss: CLIP's or SigLIP's"
    )
    bias: float = Field(
        default=-10.0, description="initial bias of every level's logits; of the sigmoid form only"
    )
    level_weights: tuple[float, ...] | None = Field(
        default=None, description="one a level; None gives all of them 1"
    )
    consistency: float = Field(
        default=0.0, ge=0, description="weight of KL(fine || level) on the similarities"
    )
    binary: BinaryLevel = BinaryLevel()
    vlm: Masking = Field(default=Masking(), description="masked words, told with the picture")
    lrm: Masking = Field(default=Masking(), description="masked regions, told with the caption")
    itm: PairMatching = Field(default=PairMatching(), description="matching, of the fusion head")
    reranker: Reranker = Field(default=Reranker(), description="scores of a fusion head, learned")
    kinds: float = Field(
        default=0.0,
        ge=0,
        description="weight of the retrieval loss of a classifier's rows and the names of its kinds; needs "
        "pretrained.image and lock_image",
    )


class Optimisation(Settings):
    """AdamW with a linear warm-up, and a decay to zero: half a cosine, or a plateau and a steep end."""

    learning_rate: float = Field(default=1e-3, gt=0, description="at the end of the warm-up")
    weight_decay: float = Field(default=0.05, ge=0, description="of matrices and kernels, not of biases")
    betas: tuple[float, float] = Field(default=(0.9, 0.98), description="AdamW's decay of its two moments")
    warmup_steps: int = Field(default=100, ge=0, description="steps of linear rise to the learning rate")
    decay_steps: int = Field(
        default=0,
        ge=0,
        description="last steps, in which the rate falls from its plateau; 0: half a cosine all along. A run "
        "with a plateau may be resumed with other steps",
    )
    clip_norm: float = Field(default=1.0, gt=0, description="gradients are scaled down to this norm")
    tower_rate: float = Field(
        default=1.0, gt=0, le=1, description="rate of the towers, as a share of the learning rate"
    )
    layer_decay: float = Field(
        default=1.0, gt=0, le=1, description="rate of a tower's block, as a share of that of the next one"
    )
    given_rate: float = Field(
        default=0.3, gt=0, le=1, description="rate of what linear_start gave, as a share of the learning rate"
    )


class EarlyStopping(Settings):
    """A run ends where its evaluations stop getting better, and gives the weights of the best one."""

    patience: int = Field(
        default=0,
        ge=0,
        description="evaluations without a higher AR before the run ends, with the best weights; 0: never",
    )


class Augmentation(Settings):
    """Random views of training pictures. Mirrored only when no caption says left or right."""

    min_area: float = Field(
        default=0.5, gt=0, le=1, description="smallest share of the frame that a crop keeps"
    )
    mirror: bool = Field(default=True, description="mirror half of the pictures whose captions allow it")
    word_dropout: float = Field(
        default=0.0, ge=0, lt=1, description="chance that a word of a caption is masked"
    )


class Phase(Settings):
    """What is trained during a part of a run; the rest of the towers is frozen."""

    until: float = Field(gt=0, le=1, description="share of the steps at which it ends; of the last one 1")
    trained: Literal["heads", "last_blocks", "all"] = Field(
        description="the levels only, also the last blocks of the towers, or everything"
    )
    blocks: int = Field(default=2, ge=1, description="how many blocks of each tower, with last_blocks")


class Lora(Settings):
    """Low-rank updates of the towers' linear layers in place of their weights (arXiv 2106.09685)."""

    rank: int = Field(default=0, ge=0, description="of the update of each layer; 0 trains the weights")
    alpha: float = Field(default=16.0, gt=0, description="the update is scaled by alpha / rank")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="of what goes into the update")


class Pretrained(Settings):
    """Weights that packages of the extra `mini` carry, with which towers of a new model begin."""

    image: str | None = Field(
        default=None, description="of an efficientnet_lite tower: efficientnet-lite0 or efficientnet-lite2"
    )
    text: str | None = Field(
        default=None, description="vectors and vocabulary of a words tower: all-minilm-l6-v2"
    )


class TrainConfig(Settings):
    """One training run. Unknown keys are refused; the resolved configuration is kept beside the result."""

    preset: str = Field(default="none", description="name of the preset that the run started from")
    start: str | None = Field(
        default=None,
        description="model whose weights the run begins with: mini, a folder, hf:owner/name; None: random",
    )
    model: ModelConfig
    sources: tuple[SourceConfig, ...] = Field(description="what is trained on; a list of sources")
    validation: tuple[SourceConfig, ...] = Field(
        default=(), description="what the model is evaluated on at the end; a list of sources"
    )
    pretrained: Pretrained = Pretrained()
    lock_image: bool = Field(
        default=False,
        description="the picture tower stays as it is; its features of each view are computed once",
    )
    linear_start: bool = Field(
        default=False,
        description="words and pictures begin where they agree most by a linear analysis; needs lock_image "
        "and model.text.bag",
    )
    distil: Distillation = Distillation()
    objective: Objective = Objective()
    optimisation: Optimisation = Optimisation()
    freeze: tuple[Phase, ...] = Field(
        default=(), description="what is trained when; a list of phases; an empty one trains everything"
    )
    lora: Lora = Lora()
    augmentation: Augmentation = Augmentation()
    early_stopping: EarlyStopping = EarlyStopping()
    pack_size: int | None = Field(
        default=None, ge=8, description="side at which pictures are kept; None: the input's"
    )
    grad_cache: int = Field(
        default=0,
        ge=0,
        description="pictures, or texts, whose activations are in memory at a time; 0: those of all",
    )
    gather_group: int = Field(
        default=0,
        ge=0,
        description="processes that share their pictures and texts in the loss; 0: all of them",
    )
    data_workers: int = Field(
        default=1, ge=1, le=64, description="threads that prepare batches; the result does not depend on it"
    )
    steps: int = Field(default=1000, ge=1, description="updates of the whole run")
    batch_size: int = Field(default=256, ge=2, description="pictures a step, of all sources together")
    seed: int = Field(default=0, description="of weights, batches and views")
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="in which the towers compute; levels and losses stay in float32"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="auto takes a GPU where there is one"
    )
    threads: int = Field(default=0, ge=0, description="compute threads; 0 leaves the choice to torch")
    checkpoint_every: int = Field(default=500, ge=1, description="steps")
    evaluate_every: int = Field(default=0, ge=0, description="steps; 0 evaluates at the end only")
    log_every: int = Field(default=20, ge=1, description="steps")
    half_weights: bool = Field(default=False, description="store the finished weights in float16")

    @model_validator(mode="after")
    def _agrees(self) -> TrainConfig:
        weights = self.objective.level_weights
        if weights is not None and len(weights) != len(self.model.levels.widths):
            raise ValueError(
                f"objective.level_weights has {len(weights)} numbers and the model "
                f"{len(self.model.levels.widths)} levels; give one weight a level"
            )
        if self.objective.itm.weight and self.model.fusion is None:
            raise ValueError(
                "objective.itm.weight trains a fusion head, and the model has none; set model.fusion={}, or "
                "objective.itm.weight=0"
            )
        binary, widths = self.objective.binary.width, self.model.levels.widths
        if binary is not None and binary not in widths:
            raise ValueError(
                f"objective.binary.width={binary} is not a level of the model; take one of "
                f"{', '.join(map(str, widths))}"
            )
        _check_views(self.sources)
        self._check_teachers()
        if self.model.image.norm and self.grad_cache and not self.lock_image:
            raise ValueError(
                f"model.image.norm needs all pictures of a step at once, and grad_cache={self.grad_cache} "
                "shows a part; set one of them to 0 or false"
            )
        if self.early_stopping.patience and not self.evaluate_every:
            raise ValueError(
                f"early_stopping.patience={self.early_stopping.patience} counts evaluations and there "
                "are none; set evaluate_every"
            )
        ends = [phase.until for phase in self.freeze]
        if ends and (ends != sorted(set(ends)) or ends[-1] != 1):
            raise ValueError(
                f"the phases of freeze end at {ends}; give ascending shares of the run, the last one 1"
            )
        self._check_pretrained()
        if self.lora.rank and self.start is None:
            raise ValueError("lora.rank adapts a model that is there; give --model, such as --model mini")
        if len(self.sources) < 1:
            raise ValueError("a run needs at least one source; give --data")
        return self

    def _check_pretrained(self) -> None:
        """Raises ValueError where pretrained weights are asked for a tower that can't take them."""
        for side, name, tower, kind in (
            ("image", self.pretrained.image, self.model.image, "efficientnet_lite"),
            ("text", self.pretrained.text, self.model.text, "words"),
        ):
            if name is not None and tower.kind != kind:
                raise ValueError(
                    f"pretrained.{side}={name} is for a tower of the kind {kind}, and model.{side}.kind is "
                    f"{tower.kind}; change the one or the other"
                )
            if name is not None and self.start is not None:
                raise ValueError(
                    f"pretrained.{side}={name} is for a new model, and the run starts from {self.start}; "
                    "leave one of them out"
                )

    def _check_teachers(self) -> None:
        """Raises ValueError where teachers have nothing to look at, or levels that are not there."""
        has_views, reranker = any(source.views for source in self.sources), self.objective.reranker
        named = {"distil.models": self.distil.models, "objective.reranker.model": reranker.model}
        if has_views and not self.lock_image and not any(named.values()):
            raise ValueError(
                "a source asks for views and nothing looks at them; set distil.models, "
                "objective.reranker.model or lock_image, or leave views out"
            )
        for name, teacher in named.items():
            if teacher and not has_views:
                raise ValueError(
                    f"what {name} names is shown views of pictures and no source has views; give it "
                    "views=4, or views=1, which is the whole picture"
                )
        self._check_locked()
        self._check_needs_locked()
        levels = self.model.levels.widths
        for name, taught in (("distil", self.distil.widths), ("objective.reranker", reranker.widths)):
            unknown = sorted(set(taught or ()) - set(levels))
            if unknown:
                raise ValueError(
                    f"{name}.widths has {unknown[0]}, which is not a level of the model; take some of "
                    f"{', '.join(map(str, levels))}"
                )

    def _check_needs_locked(self) -> None:
        """Raises ValueError where what goes with a locked picture tower lacks it, or something else."""
        if self.linear_start and not any(source.linear_start for source in self.sources):
            raise ValueError(
                "linear_start has no source to look at; set linear_start=true for one of them, or for none"
            )
        if self.objective.kinds and not (self.lock_image and self.pretrained.image and self.model.image.norm):
            raise ValueError(
                "objective.kinds takes the rows of a classifier for pictures, as a locked tower with a norm "
                "sees them; set pretrained.image, lock_image=true and model.image.norm=true, or "
                "objective.kinds=0"
            )
        if self.linear_start and not (self.lock_image and self.model.text.bag and self.start is None):
            raise ValueError(
                "linear_start is for words of a new model that meet what a locked tower sees; set "
                "lock_image=true and model.text.bag, leave --model out, or set linear_start=false"
            )

    def _check_locked(self) -> None:
        """Raises ValueError where something asks for more of a locked picture tower than its features."""
        if not self.lock_image:
            return
        without = [source.spec for source in self.sources if not source.views]
        if without:
            raise ValueError(
                f"lock_image computes the features of stored views and {without[0]} has none; give it "
                "views=4, or views=1, which is the whole picture"
            )
        objective = self.objective
        asking = {"lrm.weight": objective.lrm.weight, "itm.weight": objective.itm.weight}
        for name, weight in asking.items():
            if weight:
                raise ValueError(
                    f"objective.{name} needs more of the picture tower than its features; set it to 0, or "
                    "lock_image=false"
                )
        if self.augmentation.mirror:
            raise ValueError("lock_image knows no mirrored views; set augmentation.mirror=false")


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


# what older versions wrote and this one lacks
_GONE_OF_MODELS = (
    *(f"{side}.{name}" for side in ("image", "text") for name in ("pairs", "detail", "detail_dropout")),
    "levels.places",
)
REMOVED: Mapping[type[Settings], Sequence[str]] = {
    ModelConfig: _GONE_OF_MODELS,
    TrainConfig: (
        *(f"model.{name}" for name in _GONE_OF_MODELS),
        "teacher",
        "stages",
        *(f"objective.{name}" for name in ("guide", "imitate", "feature")),
        "optimisation.top_rate",
        "augmentation.synonyms",
        "augmentation.mixing",
    ),
}


def without_removed(kind: type[Settings], values: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values without the settings of older versions that did nothing where they were written.

    Raises:
        ValueError: names those that did something.
    """
    left, used = deepcopy(dict(values)), list[str]()
    for name in REMOVED.get(kind, ()):
        *groups, last = name.split(".")
        place: Any = left
        for group in groups:
            place = cast("dict[str, Any]", place).get(group) if isinstance(place, dict) else None
        if isinstance(place, dict) and _in_use(cast("dict[str, Any]", place).pop(last, None)):
            used.append(name)
    if used:
        raise ValueError(
            f"an older version of HiVLP had the settings {', '.join(used)}, and this one does not; train or "
            "export again what was made with them, or use the version that made it"
        )
    return left


def _in_use(value: Any) -> bool:
    """Whether a setting does something; a group does where its first setting does."""
    if isinstance(value, dict):
        return bool(next(iter(cast("dict[str, Any]", value).values()), None))
    return bool(value)


ConfigT = TypeVar("ConfigT", bound=Settings)


def parse(kind: type[ConfigT], values: Mapping[str, Any], *, where: str) -> ConfigT:
    """A configuration from plain values.

    Raises:
        ConfigError: names every key that is unknown or wrong, and where it was read.
    """
    try:
        return kind.model_validate(without_removed(kind, values))
    except ValidationError as error:
        problems = "; ".join(_explain(kind, problem) for problem in error.errors(include_url=False))
        raise ConfigError(f"{where}: {problems}") from None
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def _explain(kind: type[Settings], problem: Mapping[str, Any]) -> str:
    path = [str(part) for part in problem["loc"]]
    name = ".".join(path) or kind.__name__
    if problem["type"] == "extra_forbidden":
        return f"unknown key {name!r}: {suggestion(path[-1], _keys_beside(kind, path))}"
    message = plain(str(problem["msg"]).removeprefix("Value error, "))
    return f"{name}: {message} (got {problem.get('input')!r:.80})"


def _keys_beside(kind: type[Settings], path: Sequence[str]) -> list[str]:
    """The keys that were allowed where an unknown one stood."""
    for part in path[:-1]:
        field = kind.model_fields.get(part)
        kind = (_settings_in(field.annotation) if field is not None else None) or kind
    return list(kind.model_fields)


def _settings_in(annotation: Any) -> type[Settings] | None:
    """The group of settings that a field holds, also where it holds a list of them or none."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return annotation
    return next(filter(None, map(_settings_in, get_args(annotation))), None)


def apply_overrides(values: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Plain values with ``a.b=v`` applied; v is read as JSON where it is JSON, else as text.

    Raises:
        ConfigError: an override has no ``=`` or goes through something that is not a group.
    """
    result: dict[str, Any] = json.loads(json.dumps(dict(values)))
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise ConfigError(
                f"--set {override!r} is not of the form name=value, such as optimisation.learning_rate=0.001"
            )
        *groups, last = key.split(".")
        place: dict[str, Any] | None = result
        for group in groups:
            inner: Any = place.setdefault(group, {}) if place is not None else None
            place = cast("dict[str, Any]", inner) if isinstance(inner, dict) else None
        if place is None:
            raise ConfigError(f"--set {override!r}: {key!r} goes through a value that has no parts")
        place[last] = _value(text)
    return result


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
