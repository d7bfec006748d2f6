"""What a run needs before its first step, from its configuration: packs, tokenizer, task and batches.

It trains nothing. Of several processes the one that leads makes what lies on the disk; the others open it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from hivlp.config import SourceConfig, TrainConfig, ValidationSource
from hivlp.data.sources import Source, open_source
from hivlp.data.tokenizer import Tokenizer
from hivlp.encode import Encoder, load
from hivlp.errors import ConfigError, DataError
from hivlp.model.dual import DualEncoder
from hivlp.model.folder import open_model
from hivlp.train.batches.masking import SHARE
from hivlp.train.batches.mixture import Mixture, Part
from hivlp.train.batches.pack import Pack, pack
from hivlp.train.distributed import World
from hivlp.train.losses.kinds import Kinds
from hivlp.train.norm import share_batch_norms
from hivlp.train.starts import linear as linear_start
from hivlp.train.starts import pretrained
from hivlp.train.starts.checkpoint import begun
from hivlp.train.starts.lora import adapt
from hivlp.train.step import Task
from hivlp.train.teachers.embeddings import taught
from hivlp.train.teachers.features import Reinforced
from hivlp.train.teachers.frozen_tower import LockedTower
from hivlp.train.teachers.scores import Judge
from hivlp.types import Failure

Progress = Callable[[str], None]
TOKENIZER, START, LINEAR, WORDS = "tokenizer.json", "start", "linear-start.safetensors", "words.safetensors"
SHOWN = 5  # things that could not be used, of each source, that are named one by one


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Everything that is trained, and what it is trained on.

    Attributes:
        failures: what the sources held and could not be used.
    """

    task: Task
    mixture: Mixture
    tokenizer: Tokenizer
    failures: list[Failure]


def prepare(
    config: TrainConfig, sources: Sequence[Source], out: Path, world: World, progress: Progress
) -> Prepared:
    """Packs the sources below `out`, or finds them packed, and makes the task and its batches.

    Raises:
        DataError: a source gives nothing to train on.
    """
    packs = [
        world.leader_first(partial(_pack, source, settings, config, out / "packs", progress))
        for source, settings in zip(sources, config.sources, strict=True)
    ]
    _check_captions(packs, config)
    model, tokenizer = _model(config, packs, out, world, progress)
    model.to(world.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    if world.size > 1:
        if config.model.image.norm:
            raise ConfigError(
                f"model.image.norm is of one process's pictures and there are {world.size} processes; train "
                "with one, or set model.image.norm=false"
            )
        share_batch_norms(model)
    locked = _locked(model) if config.lock_image else None
    encoders, judge = [load(name) for name in config.distil.models], Judge.of(config.objective.reranker)
    views = [
        world.leader_first(partial(_views, settings, taken, config, encoders, judge, locked, progress))
        for settings, taken in zip(config.sources, packs, strict=True)
    ]
    task = Task(
        model,
        config.objective,
        precision=config.precision,
        grad_cache=config.grad_cache,
        distil=config.distil,
        locked=config.lock_image,
        kinds=_kinds(config, tokenizer),
        world=world,
    )
    mixture = _mixture(config, packs, views, tokenizer, world)
    if config.linear_start:
        looked_at = [source.linear_start for source in config.sources]
        world.leader_first(partial(linear_start.begin, model, mixture, looked_at, out / LINEAR, progress))
    if task.kinds is not None:
        task.kinds.standardise(model.image_tower)
    return Prepared(
        task=task.to(world.device),
        mixture=mixture,
        tokenizer=tokenizer,
        failures=[failure for taken in packs for failure in taken.failures],
    )


def _check_captions(packs: Sequence[Pack], config: TrainConfig) -> None:
    """Raises DataError where there are none."""
    if not any(captions for taken in packs for captions in taken.captions):
        specs = ", ".join(source.spec for source in config.sources)
        raise DataError(
            f"none of the sources has captions ({specs}); training needs pictures with captions, such as a "
            "table of both: see docs/data.md"
        )


def opened(source: ValidationSource) -> Source:
    """A source of the configuration, ready to be read."""
    return open_source(source.spec, split=source.split)


def _model(
    config: TrainConfig, packs: Sequence[Pack], out: Path, world: World, progress: Progress
) -> tuple[DualEncoder, Tokenizer]:
    """What is trained: a new model with a vocabulary of its own, or the one that the run starts from."""
    if config.start is None:
        tokenizer = world.leader_first(partial(_tokenizer, out / TOKENIZER, packs, config))
        torch.manual_seed(config.seed)
        settings = config.model.model_copy(update={"vocabulary": tokenizer.vocabulary_size})
        model = DualEncoder(settings)
        world.leader_first(
            partial(pretrained.give, model, tokenizer, config.pretrained, out / WORDS, progress)
        )
        return model, tokenizer
    start = world.leader_first(partial(begun, config, packs, out / START, progress))
    model = open_model(start)
    torch.manual_seed(config.seed)
    adapt(model, config.lora)
    return model, Tokenizer.open(start / TOKENIZER, max_tokens=model.config.max_tokens)


def _kinds(config: TrainConfig, tokenizer: Tokenizer) -> Kinds | None:
    """The kinds of the classifier that the picture tower was trained with."""
    if not config.objective.class_names or config.pretrained.image is None:
        return None
    return Kinds(pretrained.image_weights(config.pretrained.image)[1], tokenizer)


def _mixture(
    config: TrainConfig,
    packs: Sequence[Pack],
    views: Sequence[Reinforced | None],
    tokenizer: Tokenizer,
    world: World,
) -> Mixture:
    parts = [
        Part(
            pack=taken,
            share=source.share,
            captions=source.captions,
            views=view,
            crop=source.crop,
        )
        for source, taken, view in zip(config.sources, packs, views, strict=True)
    ]
    return Mixture(
        parts,
        tokenizer,
        batch_size=config.batch_size,
        augmentation=config.augmentation,
        seed=config.seed,
        mask_share=SHARE if config.objective.vlm.weight else 0.0,
        rank=world.rank,
        size=world.size,
        pixels=not config.lock_image,
    )


def _pack(
    source: Source, settings: SourceConfig, config: TrainConfig, root: Path, progress: Progress
) -> Pack:
    shown = config.model.preprocessing
    for note in source.notes:
        progress(note)
    taken = pack(
        source,
        root,
        size=config.pack_size or shown.size,
        fit=shown.fit,
        centre=shown.centre,
        key=f"{settings.spec}|{settings.split}",
        negatives=settings.negatives,
        progress=progress,
    )
    for failure in taken.failures[:SHOWN]:
        progress(f"left out: {failure.uri}: {failure.error}")
    if len(taken.failures) > SHOWN:
        progress(f"left out: {len(taken.failures) - SHOWN} more, listed in {taken.folder / 'manifest.json'}")
    return taken


def _views(
    source: SourceConfig,
    taken: Pack,
    config: TrainConfig,
    encoders: Sequence[Encoder],
    judge: Judge | None,
    locked: LockedTower | None,
    progress: Progress,
) -> Reinforced | None:
    if not source.views:
        return None
    return taught(opened(source), taken, source, config, encoders, judge, locked=locked, progress=progress)


def _locked(model: DualEncoder) -> LockedTower:
    """The model's own picture tower, which stays as it is, as what looks at views."""
    model.image_tower.backbone.requires_grad_(False)
    return LockedTower(model)


def _tokenizer(path: Path, packs: Sequence[Pack], config: TrainConfig) -> Tokenizer:
    if not path.is_file():
        texts = [caption for taken in packs for captions in taken.captions for caption in captions]
        if config.pretrained.text is not None:
            known = pretrained.vocabulary(config.pretrained.text, texts, max_tokens=config.model.max_tokens)
            known.save(path)
            return known
        trained = Tokenizer.train(
            texts, vocabulary=config.model.vocabulary, max_tokens=config.model.max_tokens
        )
        trained.save(path)
    return Tokenizer.open(path, max_tokens=config.model.max_tokens)
