"""The picture tower, learned before the run from a frozen model's inner maps, one stage after the other.

A stage is some of the tower's parts. It is given the teacher's map before it and learns to give the one
behind it, so each stage is shallow, has a lesson at every place of every picture, and depends on no other
(blockwise distillation, as in DNA, arXiv 1911.13053, section 3.2; the maps as hints after FitNets, arXiv
1412.6550). Put together, the stages are a tower that begins where the teacher is.

Shapes: N pictures of a source, V views of each, R = N · V rows of stored maps, B views of a batch, C
channels.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hivlp.config import Optimisation, SourceConfig, Stages, TrainConfig
from hivlp.data.batches import apportion
from hivlp.data.pack import Pack, digest
from hivlp.errors import ConfigError, HivlpError
from hivlp.model.dual import DualEncoder
from hivlp.model.towers import chain
from hivlp.registry import resolve
from hivlp.train import checkpoint
from hivlp.train.optim import learning_rate, make_optimizer
from hivlp.train.reinforce import view_boxes
from hivlp.train.stored import stored
from hivlp.train.teacher import Maps
from hivlp.train.views import crop

Progress = Callable[[str], None]
_AT_ONCE, _STATISTICS, _SAVE_EVERY, _SAY_EVERY = 16, 256, 200, 50


def learn_stages(
    model: DualEncoder, config: TrainConfig, packs: Sequence[Pack], out: Path, progress: Progress
) -> None:
    """Trains the stages of the picture tower, or finds them trained below `out`, and puts them in place.

    Raises:
        ConfigError: stages and tower do not fit together.
        HivlpError: the loss is no longer a number.
    """
    settings, size = config.stages, config.model.preprocessing.size
    assert config.teacher is not None
    make = resolve("maps", config.teacher.kind)
    teacher: Maps = make(Path(config.teacher.path), tensors=settings.tensors, size=size)
    stages = segments(model.image_tower.backbone, settings.blocks, size=size)
    shown = [
        _shown(pack, source, config, teacher, progress)
        for pack, source in zip(packs, settings.sources, strict=True)
    ]
    lessons = Lessons(shown, teacher, model, settings, seed=config.seed)
    for number, stage in enumerate(stages):
        path = out / f"stage-{number + 1}.safetensors"
        if not path.is_file():
            _learn(stage, number, lessons, settings, out / f"stage-{number + 1}", progress)
            _write(stage, path)
        stage.load_state_dict(load_file(path))


def segments(backbone: nn.Module, blocks: Sequence[int], *, size: int) -> list[nn.Sequential]:
    """The parts of a tower, divided behind the named ones. Raises ConfigError where they can't be."""
    parts = chain(backbone, size=size)
    if blocks[-1] != len(parts):
        raise ConfigError(
            f"stages.blocks ends at {blocks[-1]} and the tower has {len(parts)} parts; let it end there"
        )
    return [nn.Sequential(*parts[start:end]) for start, end in pairwise((0, *blocks))]


@dataclass(frozen=True, slots=True)
class Shown:
    """One source's views, and the maps that a teacher made of them.

    Attributes:
        boxes_R4: the crop of each view; views of odd number are mirrored.
        maps_RM: int8, memory-mapped; the maps of all stages, flat, one behind the other.
    """

    pack: Pack
    views: int
    boxes_R4: NDArray[np.float32]
    maps_RM: NDArray[np.int8]

    def pixels(self, rows_B: NDArray[np.int64], size: int) -> Tensor:
        """The views, uint8 (B, 3, S, S), as teacher and student see them."""
        return _pixels(self.pack, self.boxes_R4, rows_B, self.views, size)


def _pixels(
    pack: Pack, boxes_R4: NDArray[np.float32], rows_B: NDArray[np.int64], views: int, size: int
) -> Tensor:
    mirror_B = torch.from_numpy(rows_B % views % 2 == 1)
    packed_BCHW = torch.from_numpy(pack.pixels_NCHW[rows_B // views])
    view_BCHW = crop(packed_BCHW, torch.from_numpy(boxes_R4[rows_B]), mirror_B, size=size)
    return view_BCHW.round().clamp(0, 255).to(torch.uint8)


def _shown(pack: Pack, source: SourceConfig, config: TrainConfig, teacher: Maps, progress: Progress) -> Shown:
    """What the teacher says of a source's views, stored beside its pack; it goes on where it stopped."""
    views, count, min_area = source.views, len(pack), config.augmentation.min_area if source.crop else 1.0
    boxes_R4 = view_boxes(count, views=views, min_area=min_area, seed=config.seed).reshape(-1, 4)

    def rows_from(done: int) -> Iterator[tuple[int, NDArray[np.int8]]]:
        for first in range(done, len(boxes_R4), _AT_ONCE):
            rows_B = np.arange(first, min(first + _AT_ONCE, len(boxes_R4)))
            pixels_BHWC = _pixels(pack, boxes_R4, rows_B, views, teacher.size).permute(0, 2, 3, 1).numpy()
            yield first, np.stack([teacher.maps(pixels_HWC) for pixels_HWC in pixels_BHWC])

    key = digest([teacher.key, views, min_area, config.seed])
    maps_RM = stored(
        pack.folder / f"maps-{key}",
        (len(boxes_R4), teacher.width),
        rows_from,
        lambda done: progress(f"teacher saw {done:,} of {len(boxes_R4):,} views of {source.spec}"),
        dtype=np.int8,
    )
    return Shown(pack, views, boxes_R4, maps_RM)


class Lessons:
    """Batches of a stage, each a pure function of the step: what goes in, and what is to come out."""

    def __init__(
        self, shown: Sequence[Shown], teacher: Maps, model: DualEncoder, settings: Stages, *, seed: int
    ) -> None:
        self._shown, self._teacher, self._normalise, self._seed = shown, teacher, model.normalise, seed
        self._counts = apportion([source.share for source in settings.sources], settings.batch_size)
        self.last = len(settings.tensors) - 1

    def batch(self, stage: int, step: int) -> tuple[Tensor, Tensor]:
        random = np.random.default_rng((self._seed, stage, step))
        rows = [
            random.integers(len(one.boxes_R4), size=count)
            for one, count in zip(self._shown, self._counts, strict=True)
        ]
        if stage:
            return self._maps(stage - 1, rows), self._maps(stage, rows)
        pixels = [
            one.pixels(rows_B, self._teacher.size) for one, rows_B in zip(self._shown, rows, strict=True)
        ]
        return _channels_last(self._normalise(torch.cat(pixels))), self._maps(stage, rows)

    def statistics(self, stage: int) -> tuple[Tensor, Tensor]:
        """Mean and deviation (C,) of what is to come out, over a few views."""
        every = [max(1, len(one.boxes_R4) // _STATISTICS) for one in self._shown]
        rows = [np.arange(0, len(one.boxes_R4), step) for one, step in zip(self._shown, every, strict=True)]
        map_BCHW = self._maps(stage, rows)
        std_C = map_BCHW.std(dim=(0, 2, 3))
        return map_BCHW.mean(dim=(0, 2, 3)), std_C.clamp(min=0.05 * float(map_BCHW.std()) + 1e-6)

    def _maps(self, stage: int, rows: Sequence[NDArray[np.int64]]) -> Tensor:
        columns = self._teacher.columns(stage)
        raw_BM = np.concatenate(
            [one.maps_RM[rows_B, columns] for one, rows_B in zip(self._shown, rows, strict=True)]
        )
        return _channels_last(torch.from_numpy(self._teacher.values(stage, raw_BM)))


def _channels_last(map_BCHW: Tensor) -> Tensor:
    return map_BCHW.contiguous(memory_format=torch.channels_last)


def _learn(
    stage: nn.Sequential, number: int, lessons: Lessons, settings: Stages, folder: Path, progress: Progress
) -> None:
    steps = settings.steps[number]
    rates = Optimisation(
        learning_rate=settings.learning_rate,
        warmup_steps=min(50, steps),
        decay_steps=max(1, 7 * steps // 10),
        weight_decay=1e-4,
    )
    mean_C, std_C = lessons.statistics(number)
    _check(stage, number, lessons, len(mean_C))
    stage.train()
    optimizer = make_optimizer(stage, rates)
    done, _ = checkpoint.restore(folder, task=stage, optimizer=optimizer) if folder.is_dir() else (0, None)
    pooled = settings.pooled if number == lessons.last else 0.0
    for step in range(done, steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps=steps, settings=rates)
        given_BCHW, wanted_BCHW = lessons.batch(number, step)
        away_BCHW = (stage(given_BCHW) - wanted_BCHW) / std_C.view(1, -1, 1, 1)
        loss = away_BCHW.square().mean() + pooled * away_BCHW.mean(dim=(2, 3)).square().mean()
        if not torch.isfinite(loss):
            raise HivlpError(
                f"the loss of stage {number + 1} became {loss.item()} at step {step + 1:,}; lower "
                f"stages.learning_rate (now {settings.learning_rate})"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(stage.parameters(), 5.0)
        optimizer.step()
        if (step + 1) % _SAY_EVERY == 0 or step + 1 == steps:
            line = {"stage": number + 1, "step": step + 1, "loss": round(loss.item(), 4)}
            progress(json.dumps(line))
        if (step + 1) % _SAVE_EVERY == 0:
            checkpoint.save(folder, step=step + 1, task=stage, optimizer=optimizer, keep=1)


@torch.no_grad()
def _check(stage: nn.Sequential, number: int, lessons: Lessons, channels: int) -> None:
    given_BCHW, wanted_BCHW = lessons.batch(number, 0)
    try:
        shape = tuple(stage.eval()(given_BCHW[:1]).shape[1:])
    except RuntimeError as error:
        shape = (str(error).splitlines()[0],)
    if shape != tuple(wanted_BCHW.shape[1:]):
        raise ConfigError(
            f"stage {number + 1} gives maps of {shape} and the teacher's are "
            f"{tuple(wanted_BCHW.shape[1:])}; divide the tower elsewhere by stages.blocks, or take another "
            "tensor"
        )


def _write(stage: nn.Sequential, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    save_file({name: value.contiguous() for name, value in stage.state_dict().items()}, temporary)
    temporary.replace(path)
