"""The configuration of a training run; it reads values and checks them, and builds nothing.

Presets live in `hivlp.train.presets`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from hivlp.config.model import ModelConfig
from hivlp.config.parsing import Settings


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

    REMOVED: ClassVar[Sequence[str]] = (
        *(f"model.{name}" for name in ModelConfig.REMOVED),
        "teacher",
        "stages",
        *(f"objective.{name}" for name in ("guide", "imitate", "feature")),
        "optimisation.top_rate",
        "augmentation.synonyms",
        "augmentation.mixing",
    )

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
