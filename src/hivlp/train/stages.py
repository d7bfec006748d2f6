"""The picture tower, learned before the run from a frozen model's inner maps, one stage after the other.

A stage is some of the tower's parts. It is given the teacher's map before it and learns to give the one
behind it, so each stage is shallow, has a lesson at every place of every picture, and depends on no other
(blockwise distillation, as in DNA, arXiv 1911.13053, section 3.2; the maps as hints after FitNets, arXiv
1412.6550). In the end they learn together, each from what the one before it gives.

Shapes: N pictures of a source, V views of each, R = N · V rows of stored maps, B views of a batch, C
channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hivlp.config import Optimisation, SourceConfig, Stages, TrainConfig
from hivlp.data.batches import apportion
from hivlp.data.pack import Pack, digest
from hivlp.errors import ConfigError, HivlpError
from hivlp.model.dual import DualEncoder
from hivlp.model.towers import chain
from hivlp.registry import resolve
from hivlp.train import checkpoint
from hivlp.train.guide import bounded
from hivlp.train.kept import keep, put
from hivlp.train.optim import learning_rate, make_optimizer
from hivlp.train.reinforce import view_boxes
from hivlp.train.stored import stored
from hivlp.train.teacher import Maps
from hivlp.train.views import crop

Progress = Callable[[str], None]
_AT_ONCE, _STATISTICS = 16, 512
_JOINT_RATE = 0.2  # of a stage's learning rate: whole towers forget what their parts know at more
_WARM_UP, _CLIP_NORM, _SAVE_EVERY, _SAY_EVERY = 50, 5.0, 200, 50


def learn_stages(
    model: DualEncoder,
    config: TrainConfig,
    packed: Callable[[], Sequence[Pack]],
    out: Path,
    progress: Progress,
) -> None:
    """Trains the picture tower by its stages, or finds it trained below `out`, and puts it in place.

    Args:
        packed: gives the packs of the stages' sources; not called where the tower is trained already.

    Raises:
        ConfigError: stages and tower do not fit together.
        HivlpError: the loss is no longer a number, or trained weights below `out` can't be read.
    """
    backbone, path = model.image_tower.backbone, out / "tower.safetensors"
    if not path.is_file():
        _learn(model, config, packed, out, progress)
        keep(backbone.state_dict(), path)
    put(path, backbone.load_state_dict, of="tower")


def _learn(
    model: DualEncoder,
    config: TrainConfig,
    packed: Callable[[], Sequence[Pack]],
    out: Path,
    progress: Progress,
) -> None:
    settings, size = config.stages, config.model.preprocessing.size
    assert config.teacher is not None
    make = resolve("maps", config.teacher.kind)
    teacher: Maps = make(Path(config.teacher.path), tensors=settings.tensors, size=size)
    stages = segments(model.image_tower.backbone, settings.blocks, size=size)
    _check(stages, teacher)  # before hours are spent
    progress("the picture tower learns by stages, on the CPU")
    shown = [
        _shown(pack, source, config, teacher, progress)
        for pack, source in zip(packed(), settings.sources, strict=True)
    ]
    lessons = StageLessons(shown, teacher, model, settings, seed=config.seed)
    for number, stage in enumerate(stages):
        name, steps = f"stage {number + 1}", settings.steps[number]
        _trained(stage, partial(_alone, stage, number, lessons), steps, name, settings, out, progress)
    if settings.joint_steps:
        whole, loss_of = nn.ModuleList(stages), partial(_together, stages, lessons)
        joint = settings.model_copy(update={"learning_rate": settings.learning_rate * _JOINT_RATE})
        _trained(whole, loss_of, settings.joint_steps, "all stages", joint, out, progress)


def segments(backbone: nn.Module, blocks: Sequence[int], *, size: int) -> list[nn.Sequential]:
    """The parts of a tower, divided behind the named ones. Raises ConfigError where they can't be."""
    parts = chain(backbone, size=size)
    if blocks[-1] != len(parts):
        raise ConfigError(
            f"stages.blocks ends at {blocks[-1]} and the tower has {len(parts)} parts; let it end there"
        )
    return [nn.Sequential(*parts[start:end]) for start, end in pairwise((0, *blocks))]


@dataclass(frozen=True, slots=True)
class StageViews:
    """The crops of a source's pictures, `count` of each; those of odd number are mirrored."""

    pack: Pack
    count: int
    boxes_R4: NDArray[np.float32]

    def pixels(self, rows_B: NDArray[np.int64], size: int) -> Tensor:
        """Some of them, uint8 (B, 3, S, S), as teacher and student see them."""
        mirror_B = torch.from_numpy(rows_B % self.count % 2 == 1)
        packed_BCHW = torch.from_numpy(self.pack.pixels_NCHW[rows_B // self.count])
        view_BCHW = crop(packed_BCHW, torch.from_numpy(self.boxes_R4[rows_B]), mirror_B, size=size)
        return view_BCHW.round().clamp(0, 255).to(torch.uint8)


@dataclass(frozen=True, slots=True)
class Shown:
    """One source's views, and the maps that a teacher made of them.

    Attributes:
        maps_RM: int8, memory-mapped; the maps of all stages, flat, one behind the other.
    """

    views: StageViews
    maps_RM: NDArray[np.int8]


def _shown(pack: Pack, source: SourceConfig, config: TrainConfig, teacher: Maps, progress: Progress) -> Shown:
    """What the teacher says of a source's views, stored beside its pack; it goes on where it stopped."""
    count, min_area = source.views, config.augmentation.min_area if source.crop else 1.0
    boxes_NV4 = view_boxes(len(pack), views=count, min_area=min_area, seed=config.seed)
    views = StageViews(pack, count, boxes_NV4.reshape(-1, 4))
    total = len(views.boxes_R4)

    def rows_from(done: int) -> Iterator[tuple[int, NDArray[np.int8]]]:
        for first in range(done, total, _AT_ONCE):
            rows_B = np.arange(first, min(first + _AT_ONCE, total))
            pixels_BHWC = views.pixels(rows_B, teacher.size).permute(0, 2, 3, 1).numpy()
            yield first, np.stack([teacher.maps(pixels_HWC) for pixels_HWC in pixels_BHWC])

    key = digest([teacher.key, count, min_area, config.seed])
    maps_RM = stored(
        pack.folder / f"maps-{key}",
        (total, teacher.width),
        rows_from,
        lambda done: progress(f"teacher saw {done:,} of {total:,} views of {source.spec}"),
        dtype=np.int8,
    )
    return Shown(views, maps_RM)


class StageLessons:
    """Batches of views and their maps, each a pure function of the step."""

    def __init__(
        self, shown: Sequence[Shown], teacher: Maps, model: DualEncoder, settings: Stages, *, seed: int
    ) -> None:
        self.settings, self.stages = settings, len(settings.tensors)
        self._shown, self._teacher, self._normalise, self._seed = shown, teacher, model.normalise, seed
        self._counts = apportion([source.share for source in settings.sources], settings.batch_size)
        shares = apportion([source.share for source in settings.sources], _STATISTICS)
        known = [
            np.unique(np.linspace(0, len(one.maps_RM) - 1, count, dtype=np.int64))
            for one, count in zip(shown, shares, strict=True)
        ]
        self._std = [
            bounded(self.wanted(stage, known).std(dim=(0, 2, 3))).view(1, -1, 1, 1)
            for stage in range(self.stages)
        ]
        self._pooled_std_C = bounded(self.wanted(self.stages - 1, known).mean(dim=(2, 3)).std(dim=0))

    def rows(self, stage: int, step: int) -> list[NDArray[np.int64]]:
        """The rows of each source in a step; `stage` counts from 0, and -1 is all of them together."""
        random = np.random.default_rng((self._seed, stage + 1, step))
        return [
            random.integers(len(one.maps_RM), size=count)
            for one, count in zip(self._shown, self._counts, strict=True)
        ]

    def given(self, stage: int, rows: Sequence[NDArray[np.int64]]) -> Tensor:
        """What goes into a stage: the map before it, or the pictures."""
        if stage:
            return self.wanted(stage - 1, rows)
        pixels = [
            one.views.pixels(rows_B, self._teacher.size)
            for one, rows_B in zip(self._shown, rows, strict=True)
        ]
        return _channels_last(self._normalise(torch.cat(pixels)))

    def wanted(self, stage: int, rows: Sequence[NDArray[np.int64]]) -> Tensor:
        """What is to come out of a stage (B, C, H, W)."""
        columns = self._teacher.columns(stage)
        raw_BM = np.concatenate(
            [one.maps_RM[rows_B, columns] for one, rows_B in zip(self._shown, rows, strict=True)]
        )
        return _channels_last(torch.from_numpy(self._teacher.values(stage, raw_BM)))

    def distance(self, stage: int, map_BCHW: Tensor, rows: Sequence[NDArray[np.int64]]) -> Tensor:
        """How far a map is from what is wanted; of every channel in units of its own deviation."""
        away_BCHW = map_BCHW - self.wanted(stage, rows)
        distance = (away_BCHW / self._std[stage]).square().mean()
        if stage < self.stages - 1:
            return distance
        pooled = (away_BCHW.mean(dim=(2, 3)) / self._pooled_std_C).square().mean()
        return distance + self.settings.pooled * pooled


def _channels_last(map_BCHW: Tensor) -> Tensor:
    return map_BCHW.contiguous(memory_format=torch.channels_last)


def _alone(stage: nn.Sequential, number: int, lessons: StageLessons, step: int) -> Tensor:
    """The loss of one stage, which is given the teacher's map."""
    rows = lessons.rows(number, step)
    return lessons.distance(number, stage(lessons.given(number, rows)), rows)


def _together(stages: Sequence[nn.Sequential], lessons: StageLessons, step: int) -> Tensor:
    """The loss of the whole tower: every stage is given what the one before it made of the pictures."""
    rows = lessons.rows(-1, step)
    states_BCHW, losses = lessons.given(0, rows), list[Tensor]()
    for number, stage in enumerate(stages):
        states_BCHW = stage(states_BCHW)
        weight = lessons.settings.hint if number < len(stages) - 1 else 1.0
        losses.append(weight * lessons.distance(number, states_BCHW, rows))
    return torch.stack(losses).sum()


def _trained(
    module: nn.Module,
    loss_of: Callable[[int], Tensor],
    steps: int,
    name: str,
    settings: Stages,
    out: Path,
    progress: Progress,
) -> None:
    """Trains, or finds trained weights below `out`; a run that was cut off goes on from its checkpoint."""
    path, folder = out / f"{name.replace(' ', '-')}.safetensors", out / name.replace(" ", "-")
    if path.is_file():
        put(path, module.load_state_dict, of="tower")
        return
    rates = Optimisation(
        learning_rate=settings.learning_rate,
        warmup_steps=min(_WARM_UP, steps),
        decay_steps=max(1, 7 * steps // 10),
        weight_decay=1e-4,
    )
    optimizer = make_optimizer(module, rates)
    done = checkpoint.restore(folder, task=module, optimizer=optimizer)[0] if folder.is_dir() else 0
    module.train()
    for step in range(done, steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps=steps, settings=rates)
        loss = loss_of(step)
        if not torch.isfinite(loss):
            raise HivlpError(
                f"the loss of {name} became {loss.item()} at step {step + 1:,}; lower stages.learning_rate "
                f"(now {settings.learning_rate})"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), _CLIP_NORM)
        optimizer.step()
        if (step + 1) % _SAY_EVERY == 0 or step + 1 == steps:
            progress(f"{name}: step {step + 1:,} of {steps:,}, loss {loss.item():.4f}")
        if (step + 1) % _SAVE_EVERY == 0:
            checkpoint.save(folder, step=step + 1, task=module, optimizer=optimizer, keep=1)
    keep(module.state_dict(), path)


@torch.no_grad()
def _check(stages: Sequence[nn.Sequential], teacher: Maps) -> None:
    """Raises ConfigError where a stage gives other maps than the teacher does."""
    given_1CHW = torch.zeros(1, 3, teacher.size, teacher.size)
    for number, stage in enumerate(stages):
        columns = teacher.columns(number)
        nothing_1M = np.zeros((1, columns.stop - columns.start), np.int8)
        wanted_1CHW = torch.from_numpy(teacher.values(number, nothing_1M))
        found, wanted = tuple(stage.eval()(given_1CHW).shape[1:]), tuple(wanted_1CHW.shape[1:])
        if found != wanted:
            raise ConfigError(
                f"stage {number + 1} gives maps of {found} and the teacher's are {wanted}; divide the tower "
                "elsewhere by stages.blocks, or take another tensor"
            )
        given_1CHW = wanted_1CHW
