"""`hivlp fit-levels`: levels for a frozen encoder, from its stored vectors; at each width the best ships."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hivlp.config import FitLevelsConfig
from hivlp.data.sources import open_source
from hivlp.data.sources.held_out import drawn
from hivlp.encode import Encoder, hub, load
from hivlp.encode.base import model_source
from hivlp.encode.heads import Head, write_heads
from hivlp.errors import ConfigError, DataError
from hivlp.evaluate.protocols import BothWays, EncodedPairs, evaluate_pairs
from hivlp.export.fold import can_fold, fold
from hivlp.fit_levels.cache import Cached, cached
from hivlp.fit_levels.learn import Learned, learn, recalls, through
from hivlp.index.rotation import joint_rotation
from hivlp.train.distributed import choose_device
from hivlp.types import FloatArray, Progress

CONFIG, CACHE, MODEL, RESULT = "fit-levels.json", "cache", "model", "result.json"
FREE = ("kept", "pca", "truncated", "rotated")  # of equals the first is taken
METHODS = (*FREE, "learned")


def fit_levels(
    model: str | Path,
    data: str,
    config: FitLevelsConfig,
    *,
    out: Path,
    workers: int = 2,
    batch_size: int = 32,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """Makes a model with levels from a frozen one.

    Every width is tried as a plain prefix, as a prefix of a PCA rotation, and as a learned map (and as the
    model's own level, where it has one); the one with the highest AR on the validation images ships. A
    binary level is tried as a random rotation and learned, and goes by the AR of its signs.

    Args:
        model: a name or folder as `encode.load` takes it.
        data: a source of images with captions. Its splits `train` and `val` are used as such; without
            them a share of the images is held out.
        out: receives `fit-levels.json`, `cache/`, `metrics.jsonl`, `result.json` and the finished `model/`.
            Another run into the same folder does not encode again what the cache holds.

    Returns:
        ``model`` (folder), ``base``, ``steps``, ``epochs``, ``seconds``, ``device``, ``levels`` (recalls by
        width and method, and which one ships), ``eval`` (one evaluation of what ships), ``failed``.

    Raises:
        ConfigError: a width is not narrower than the encoder's, or `out` holds other files.
        DataError: the source gives no pairs, or too few.
    """
    started = time.perf_counter()
    encoder = load(model)
    widths = _widths(config, encoder)
    device = choose_device("auto")
    _claim(out, config, model=encoder.name, data=data)
    progress(f"levels {', '.join(map(str, widths))} for {encoder.name}, learned on {device.type}")
    train, val = _data(data, encoder, out / CACHE, config, workers, batch_size, progress)
    tried = compare(train, val.pairs, widths, encoder.widths, config, out, device=device, progress=progress)
    heads = tried.shipped()
    _write(out / MODEL, model, heads)
    result = {"data": Path(data).name, **_evaluated(val.pairs, heads)}
    document = {
        "model": str(out / MODEL),
        "base": encoder.name,
        "steps": tried.learned.steps,
        "epochs": tried.learned.epoch,
        "seconds": round(time.perf_counter() - started, 1),
        "device": device.type,
        "pictures": len(train.ids),
        "captions": len(train.wording_T),
        "heads": config.heads,
        "binary": config.binary,
        "levels": tried.as_dict(),
        "eval": [result],
        "failed": [failure.as_dict() for failure in [*train.pairs.failed, *val.pairs.failed]],
    }
    (out / MODEL / "README.md").write_text(_card(document), encoding="utf-8")
    (out / RESULT).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return document


@dataclass(frozen=True, slots=True)
class LevelComparison:
    """Every method to make every level, and its recalls.

    Attributes:
        heads: by method and width.
        found: recalls on the validation images, by method and width.
        ships: the method that ships, by width.
        learned: the outcome of learning.
    """

    heads: dict[str, dict[int, Head]]
    found: dict[str, dict[int, BothWays]]
    ships: dict[int, str]
    learned: Learned

    def shipped(self) -> dict[int, Head]:
        """The heads that ship, by width."""
        return {width: self.heads[method][width] for width, method in self.ships.items()}

    def as_dict(self) -> dict[str, Any]:
        """Width -> the method that ships and the recalls of every method, JSON-compatible."""
        return {
            str(width): {
                "shipped": method,
                **{name: levels[width].as_dict() for name, levels in self.found.items() if width in levels},
            }
            for width, method in self.ships.items()
        }


def compare(
    train: Cached,
    val: EncodedPairs,
    widths: tuple[int, ...],
    own: tuple[int, ...],
    config: FitLevelsConfig,
    folder: Path,
    *,
    device: torch.device,
    progress: Progress = lambda *_: None,
) -> LevelComparison:
    """Makes the levels of `widths` by every method and measures them; `own` are the encoder's own widths.

    `folder` receives `metrics.jsonl`.
    """
    fine = own[-1]
    rotation_SS = joint_rotation(train.pairs.images.fine, train.pairs.texts.fine)
    bits = config.binary or 0
    turned_SK = turned(rotation_SS, bits, config.seed) if bits else None
    learned = learn(
        train, val, rotation_SS, widths, config, folder, device=device, turned_SK=turned_SK, progress=progress
    )
    heads = {
        "kept": {width: Head.prefix(width, width, "kept") for width in widths if width in own},
        "truncated": {width: Head.prefix(fine, width, "truncated") for width in widths},
        "pca": {width: Head.shared(rotation_SS[:, :width], "pca") for width in widths},
        "rotated": {} if turned_SK is None else {bits: Head.shared(turned_SK, "rotated")},
        "learned": learned.heads,
    }
    found = {method: recalls(val, made, bits) for method, made in heads.items() if made}
    ships = {width: _best(width, found, config.margin) for width in sorted(learned.heads)}
    return LevelComparison(heads, found, ships, learned)


def turned(rotation_SS: FloatArray, bits: int, seed: int) -> FloatArray:
    """The first `bits` directions of a rotation turned at random, as orthonormal columns (S, bits).

    The signs of principal directions tell unequally much; after a random turn each tells as much as the next.
    """
    drawn_KK = np.random.default_rng(seed).standard_normal((bits, bits))
    turn_KK, _ = np.linalg.qr(drawn_KK)
    return np.ascontiguousarray(rotation_SS[:, :bits] @ turn_KK, np.float32)


def _widths(config: FitLevelsConfig, encoder: Encoder) -> tuple[int, ...]:
    fine = encoder.widths[-1]
    wide = [width for width in config.widths if width > fine]
    if wide:
        raise ConfigError(
            f"width {wide[0]} is invalid: must be at most {fine}, the width of the model's vectors"
        )
    widths = tuple(sorted({*config.widths, fine}))
    if config.binary and (config.binary in widths or config.binary > fine):
        raise ConfigError(
            f"binary={config.binary} is invalid: must be below {fine} and different from the other widths, "
            f"{', '.join(map(str, widths))}"
        )
    return widths


def _claim(out: Path, config: FitLevelsConfig, *, model: str, data: str) -> None:
    """Records the run in its folder; a folder with other content is refused."""
    if out.exists() and any(out.iterdir()) and not (out / CONFIG).is_file():
        raise ConfigError(f"{out} holds other files than those of fit-levels; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    record = {"model": model, "data": data, **config.model_dump()}
    (out / CONFIG).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _data(
    data: str,
    encoder: Encoder,
    root: Path,
    config: FitLevelsConfig,
    workers: int,
    batch_size: int,
    progress: Progress,
) -> tuple[Cached, Cached]:
    """The training pairs and the validation pairs."""

    def of(split: str | None) -> Cached:
        source = open_source(data, split=split)
        for note in source.notes:
            progress(note)
        return cached(
            source, encoder, root, key=data, split=split, workers=workers, batch_size=batch_size,
            progress=progress,
        )  # fmt: skip

    if {"train", "val"} <= set(open_source(data).splits()):
        return of("train"), of("val")
    everything = of(None)
    apart_I = np.array([drawn(name) < config.held_out for name in everything.ids])
    if apart_I.sum() < 2 or (~apart_I).sum() < 2:
        raise DataError(
            f"{data} has {len(apart_I)} pictures with captions, too few to hold "
            f"{config.held_out:.0%} of them out; give more, or a source with the splits train and val"
        )
    progress(f"no split val: {apart_I.sum():,} of {len(apart_I):,} pictures are held out to validate on")
    return everything.take(np.flatnonzero(~apart_I)), everything.take(np.flatnonzero(apart_I))


def _best(width: int, found: dict[str, dict[int, BothWays]], margin: float) -> str:
    """The method that ships at a width: the best free one, unless the learned one beats it by the margin."""
    average = {method: levels[width].average for method, levels in found.items() if width in levels}
    # a rotation of the whole width is that width again, with another rounding
    free = "kept" if width == max(found["kept"]) else max(average.keys() & set(FREE), key=_order(average))
    return "learned" if average["learned"] > average[free] + margin else free


def _order(average: dict[str, float]) -> Callable[[str], tuple[float, int]]:
    return lambda method: (round(average[method], 2), -FREE.index(method))


def _write(folder: Path, model: str | Path, heads: dict[int, Head]) -> None:
    """A model of HiVLP's own towers takes the maps into its last layers; another one gets them on top."""
    base = model_source(model)
    if "image" in hub.config_record(base) and can_fold(base):
        shutil.rmtree(folder, ignore_errors=True)
        fold(base, heads, folder)
    else:
        write_heads(folder, base, heads, name=f"levels of {Path(str(model)).name}")


def _evaluated(val: EncodedPairs, heads: dict[int, Head]) -> dict[str, Any]:
    return evaluate_pairs(through(val, heads)).as_dict()


def _card(document: dict[str, Any]) -> str:
    """The model card: what ships at each width, and what it was better than."""
    rows = []
    methods = [m for m in METHODS if any(m in level for level in document["levels"].values())]
    for width, level in document["levels"].items():
        cells = [f"{level[m]['AR']:.1f}" if m in level else "–" for m in methods]
        t2i = level[level["shipped"]]["text_to_image"]
        recalls_ = " / ".join(f"{t2i[name]:.1f}" for name in ("R@1", "R@5", "R@10"))
        rows.append(f"| {width} | {level['shipped']} | {recalls_} | {' | '.join(cells)} |")
    return "\n".join(
        [
            f"# Levels for {Path(document['base']).name}",
            "",
            f"Made by `hivlp fit-levels` from {document['pictures']:,} pictures and {document['captions']:,} "
            f"captions in {document['seconds']:.0f} s on {document['device']}; the encoder is unchanged.",
            "",
            f"On {document['eval'][0]['protocol']}, by full scans; AR is the mean of six recalls in percent. "
            "What ships was chosen on these very pictures, so its number flatters it a little.",
            *(
                [f"The level of width {document['binary']} goes by the signs of its numbers."]
                * bool(document["binary"])
            ),
            "",
            "| width | ships | text→image R@1 / 5 / 10 | " + " | ".join(f"AR {m}" for m in methods) + " |",
            "|---|---|---|" + "---|" * len(methods),
            *rows,
            "",
        ]
    )
