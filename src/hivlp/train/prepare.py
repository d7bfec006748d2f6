"""Everything that a run needs before its first step: packs, tokenizer, task and batches.

It trains nothing. Of several processes the leader writes the files, and the others open them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from hivlp.config import SourceConfig, TrainConfig
from hivlp.data.sources import Source
from hivlp.data.tokenizer import Tokenizer
from hivlp.encode import Encoder, load
from hivlp.errors import ConfigError, DataError
from hivlp.model.dual import DualEncoder
from hivlp.model.folder import open_model
from hivlp.train.batches.masking import SHARE
from hivlp.train.batches.mixture import Mixture, MixturePart
from hivlp.train.batches.pack import Pack, pack
from hivlp.train.batches.remarks import remarks
from hivlp.train.batches.targets import StoredViews
from hivlp.train.checks import opened
from hivlp.train.distributed import World
from hivlp.train.losses.class_names import ClassNames
from hivlp.train.norm import share_batch_norms
from hivlp.train.starts import linear as linear_start
from hivlp.train.starts import pretrained
from hivlp.train.starts.lora import adapt
from hivlp.train.starts.trained import starting_model
from hivlp.train.step import Task
from hivlp.train.teachers.embeddings import stored_views
from hivlp.train.teachers.frozen_tower import FrozenTower
from hivlp.train.teachers.scores import RerankerTeacher
from hivlp.types import Failure, Progress

TOKENIZER, START, LINEAR, WORDS = "tokenizer.json", "start", "linear-start.safetensors", "words.safetensors"
SHOWN = 5  # failures of each source that are named one by one


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The task of a run, and its data.

    Attributes:
        failures: images and rows of the sources that could not be used.
    """

    task: Task
    mixture: Mixture
    tokenizer: Tokenizer
    failures: list[Failure]


def prepare(
    config: TrainConfig, sources: Sequence[Source], out: Path, world: World, progress: Progress
) -> Prepared:
    """Packs the sources below `out` unless they are packed, and makes the task and its batches.

    Raises:
        DataError: a source has nothing to train on.
    """
    packs = [
        world.leader_first(partial(_pack, source, settings, config, out / "packs", progress))
        for source, settings in zip(sources, config.sources, strict=True)
    ]
    _check_captions(packs, config)
    model, tokenizer, rows_KF = _model(config, packs, out, world, progress)
    model.to(world.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    if world.size > 1:
        if config.model.image.norm:
            raise ConfigError(
                f"model.image.norm works in one process only, and there are {world.size}; train with one, or "
                "set model.image.norm=false"
            )
        share_batch_norms(model)
    locked = _locked(model) if config.lock_image else None
    encoders, reranker = (
        [load(name) for name in config.distil.models],
        RerankerTeacher.of(config.objective.reranker),
    )
    views = [
        world.leader_first(partial(_views, settings, taken, config, encoders, reranker, locked, progress))
        for settings, taken in zip(config.sources, packs, strict=True)
    ]
    class_names = None
    if config.objective.class_names and rows_KF is not None:
        class_names = ClassNames(rows_KF, tokenizer)
    task = Task(
        model,
        config.objective,
        precision=config.precision,
        grad_cache=config.grad_cache,
        distil=config.distil,
        locked=config.lock_image,
        class_names=class_names,
        world=world,
    )
    mixture = _mixture(config, packs, views, tokenizer, world)
    for remark in remarks([source.spec for source in config.sources], packs, mixture.counts, tokenizer):
        progress(remark)
    if config.linear_start:
        uses = [source.linear_start for source in config.sources]
        world.leader_first(partial(linear_start.initialise, model, mixture, uses, out / LINEAR, progress))
    if task.class_names is not None:
        task.class_names.standardise(model.image_tower)
    return Prepared(
        task=task.to(world.device),
        mixture=mixture,
        tokenizer=tokenizer,
        failures=[failure for taken in packs for failure in taken.failures],
    )


def _check_captions(packs: Sequence[Pack], config: TrainConfig) -> None:
    """Raises DataError for sources without captions."""
    if not any(captions for taken in packs for captions in taken.captions):
        specs = ", ".join(source.spec for source in config.sources)
        raise DataError(
            f"none of the sources has captions ({specs}); training needs images with captions, such as a "
            "table of both: see docs/data.md"
        )


def _model(
    config: TrainConfig, packs: Sequence[Pack], out: Path, world: World, progress: Progress
) -> tuple[DualEncoder, Tokenizer, Tensor | None]:
    """A new model with its vocabulary, or the model that the run starts from.

    The third member is the classifier of a pretrained image tower, its rows (K, F).
    """
    if config.start is None:
        tokenizer = world.leader_first(partial(_tokenizer, out / TOKENIZER, packs, config))
        torch.manual_seed(config.seed)
        settings = config.model.model_copy(update={"vocabulary": tokenizer.vocabulary_size})
        model = DualEncoder(settings)
        rows_KF = world.leader_first(
            partial(pretrained.load_pretrained, model, tokenizer, config.pretrained, out / WORDS, progress)
        )
        return model, tokenizer, rows_KF
    start = world.leader_first(partial(starting_model, config, packs, out / START, progress))
    model = open_model(start)
    torch.manual_seed(config.seed)
    adapt(model, config.lora)
    return model, Tokenizer.open(start / TOKENIZER, max_tokens=model.config.max_tokens), None


def _mixture(
    config: TrainConfig,
    packs: Sequence[Pack],
    views: Sequence[StoredViews | None],
    tokenizer: Tokenizer,
    world: World,
) -> Mixture:
    parts = [
        MixturePart(
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
    reranker: RerankerTeacher | None,
    locked: FrozenTower | None,
    progress: Progress,
) -> StoredViews | None:
    if not source.views:
        return None
    return stored_views(
        opened(source), taken, source, config, encoders, reranker, locked=locked, progress=progress
    )


def _locked(model: DualEncoder) -> FrozenTower:
    """Freezes the image tower of a model, and wraps it for stored features."""
    model.image_tower.backbone.requires_grad_(False)
    return FrozenTower(model)


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
