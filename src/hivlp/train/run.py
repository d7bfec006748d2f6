"""A training run from configuration to model folder: it wires the parts and has no logic of its own."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from hivlp.config import EarlyStopping, TrainConfig, ValidationSource
from hivlp.data.tokenizer import Tokenizer
from hivlp.encode import Encoder, load
from hivlp.encode.torch import TorchEncoder
from hivlp.errors import ConfigError, HivlpError, MissingExtraError, ModelError
from hivlp.evaluate.protocols import evaluate_karpathy
from hivlp.export.graphs import export
from hivlp.files import write_atomically
from hivlp.model.dual import DualEncoder
from hivlp.model.folder import save
from hivlp.train import checkpoint, curves
from hivlp.train.calibrate import calibrate
from hivlp.train.card import write_card
from hivlp.train.checks import check_sources, has_pairs, opened
from hivlp.train.distributed import World, joined
from hivlp.train.freeze import Schedule, rate_shares
from hivlp.train.loop import CHECKPOINTS, Ended, LoopSettings, fit
from hivlp.train.memory import keep_freed
from hivlp.train.prepare import START, TOKENIZER, Prepared, prepare
from hivlp.train.recorded import CONFIG, another, differences, recorded
from hivlp.train.starts.linear import initialised_rates
from hivlp.train.starts.lora import merge
from hivlp.train.watch import METRICS, gpu_left_idle, slow_here
from hivlp.tune.queries import LEAST
from hivlp.types import Progress

MODEL, RESULT = "model", "result.json"


def run(
    config: TrainConfig,
    *,
    out: Path,
    resume: bool = False,
    progress: Progress = lambda *_: None,
    stop_after: int | None = None,
) -> dict[str, Any]:
    """Trains a model and evaluates it.

    Args:
        out: receives `train.json`, `packs/`, `checkpoints/`, `metrics.jsonl`, `curves.png`, `result.json` and
            the finished `model/` with its ONNX graphs.
        resume: go on from the newest checkpoint of `out`, which must hold the same configuration.
        stop_after: end at this step, as if cut off.

    Returns:
        ``model`` (folder), ``steps``, ``seconds``, ``device``, ``precision``, ``early_stopping`` (None
        without it), ``curves`` (the chart, or None), ``failed`` (images and rows that could not be used,
        each with ``uri`` and ``error``), ``eval`` (one result per validation source). Of several processes
        only the leader evaluates and writes.

    Raises:
        ConfigError: `out` holds a run, and neither or another one is to be resumed, the processes that
            torchrun started cannot share the batch, or early stopping has no evaluations.
        DataError: a source has nothing to train on.
    """
    with joined(config.device, gather_group=config.gather_group) as world:
        world.check_batch(config.batch_size)
        say: Progress = progress if world.leads else lambda *_: None
        return _run(config, world, out=out, resume=resume, progress=say, stop_after=stop_after)


def _run(
    config: TrainConfig, world: World, *, out: Path, resume: bool, progress: Progress, stop_after: int | None
) -> dict[str, Any]:
    started, device = time.perf_counter(), world.device
    sources = [opened(source) for source in config.sources]  # a wrong path leaves no folder behind
    if not (out / CONFIG).is_file():
        for note in check_sources(config):
            progress(f"note: {note}")
    new = world.leads and _claim(out, config, resume=resume)
    config = _evaluable(config, progress)
    if config.threads:
        torch.set_num_threads(config.threads)
    if device.type == "cpu":
        keep_freed()
    many = f" in {world.size} processes" if world.size > 1 else ""
    progress(f"training on {device.type} in {config.precision}{many}")
    for warning in filter(None, (gpu_left_idle(device), slow_here(device, config.precision))):
        progress(f"\n!!! WARNING: {warning}\n")
    try:
        parts = prepare(config, sources, out, world, progress)
    except HivlpError:
        if new:  # nothing has started: free the folder for the corrected command
            for path in (out / CONFIG, out / TOKENIZER):
                path.unlink(missing_ok=True)
            shutil.rmtree(out / START, ignore_errors=True)
        raise
    model, tokenizer = parts.task.model, parts.tokenizer
    ended = fit_task(
        parts,
        config,
        out,
        resume=resume,
        progress=progress,
        evaluate=lambda: _summaries(
            _evaluate(TorchEncoder.of(model.eval(), tokenizer), config.validation, progress)
        ),
        stop_after=stop_after,
    )
    document: dict[str, Any] = {
        "model": str(out / MODEL),
        "steps": ended.step,
        "device": device.type,
        "precision": config.precision,
        "early_stopping": _stopping(ended, config),
        "failed": [failure.as_dict() for failure in parts.failures],
    }
    if not world.leads:
        return {**document, "seconds": round(time.perf_counter() - started, 1), "curves": None, "eval": []}
    merge(model)
    _save_model(model, tokenizer, out / MODEL, half=config.half_weights, progress=progress)
    # what people use, and on a CPU three times as fast as torch
    finished = load(out / MODEL) if device.type == "cpu" else TorchEncoder.of(model.eval(), tokenizer)
    results = _evaluate(finished, config.validation, progress)
    picture = _draw_curves(out, ended, progress)
    seconds = round(time.perf_counter() - started, 1)
    write_card(
        out / MODEL,
        config,
        results=results,
        steps=ended.step,
        seconds=seconds,
        device=device.type,
        facts=_facts(ended, config),
        curves=picture,
    )
    document |= {"seconds": seconds, "curves": picture and str(picture), "eval": results}
    (out / RESULT).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    held_back = [opened(source) for source in config.validation if source.split and has_pairs(source)]
    progress("fitting match probabilities")
    if calibrate(finished, held_back, out / MODEL) is None:
        progress(
            f"no match probabilities: they need {LEAST} validation images with captions, or later "
            "`hivlp tune` on an index with captions"
        )
    return document


def fit_task(
    parts: Prepared,
    config: TrainConfig,
    out: Path,
    *,
    resume: bool,
    progress: Progress = lambda *_: None,
    evaluate: Callable[[], dict[str, Any]] | None = None,
    stop_after: int | None = None,
) -> Ended:
    """Trains what was prepared, with the rates, phases and periods of a configuration; see `loop.fit`."""
    model, optimisation = parts.task.model, config.optimisation
    shares = rate_shares(model, optimisation)
    if config.linear_start:
        shares |= initialised_rates(model, optimisation.linear_start_rate)
    settings = LoopSettings(
        steps=config.steps,
        batch_size=config.batch_size,
        optimisation=optimisation,
        seed=config.seed,
        log_every=config.log_every,
        evaluate_every=config.evaluate_every,
        checkpoint_every=config.checkpoint_every,
        patience=config.early_stopping.patience,
        workers=config.data_workers,
    )
    return fit(
        parts.task,
        parts.mixture,
        settings,
        out,
        resume=resume,
        rate_shares=shares,
        before_step=Schedule(model, config).at,
        evaluate=evaluate,
        remedy=f"lower optimisation.learning_rate (now {optimisation.learning_rate}) or raise "
        "optimisation.warmup_steps, and go on with --resume from the last checkpoint",
        progress=progress,
        stop_after=stop_after,
    )


def _stopping(ended: Ended, config: TrainConfig) -> dict[str, Any] | None:
    """Whether early stopping ended the run, and which step's weights the model has."""
    if not config.early_stopping.patience:
        return None
    best = ended.best
    return {
        "ended_early": ended.early,
        "best_step": best.step or ended.step,
        "best_AR": max(best.average, 0.0),
    }


def _facts(ended: Ended, config: TrainConfig) -> dict[str, str]:
    """The rows of a card on early stopping."""
    if not ended.best.step:
        return {}
    how = f"ended by early stopping, of {config.steps:,} planned" if ended.early else "run to its end"
    return {"weights of step": f"{ended.best.step:,}, the best AR of the evaluations; {how}"}


def _draw_curves(out: Path, ended: Ended, progress: Progress) -> Path | None:
    try:
        return curves.draw(out / METRICS, out / curves.PICTURE, best=ended.best.step)
    except MissingExtraError as error:
        progress(f"no curves drawn: {error}")
        return None


def _evaluable(config: TrainConfig, progress: Progress) -> TrainConfig:
    """The same configuration, without early stopping if no source has images to evaluate on."""
    if not config.early_stopping.patience or any(map(has_pairs, config.validation)):
        return config
    wanted = ", ".join(f"{source.spec} (split {source.split!r})" for source in config.validation)
    progress(
        f"no early stopping: there are no images to evaluate on in {wanted or 'validation'}; mark some "
        "rows as this split, hold back a share with ?held_out=0.1, or set validation to another source"
    )
    return config.model_copy(update={"early_stopping": EarlyStopping(), "evaluate_every": 0})


def _save_model(
    model: DualEncoder, tokenizer: Tokenizer, folder: Path, *, half: bool, progress: Progress
) -> None:
    progress("writing the model and its graphs")
    model.eval()
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(folder / TOKENIZER)
    save(model, folder, half=half)
    try:
        export(folder)
    except ModelError as error:
        progress(f"{error}; it is used by torch then")


def _claim(out: Path, config: TrainConfig, *, resume: bool) -> bool:
    """Refuses to mix two runs in one folder. Returns whether the folder was free."""
    path, before = out / CONFIG, recorded(out)
    if before is not None:
        if not resume:
            raise ConfigError(
                f"{out} holds a run already; add --resume to go on with it, or choose another --out"
            )
        if changed := differences(_lasting(before), _lasting(config)):
            raise ConfigError(another(out, changed))
        done, decay = checkpoint.newest(out / CHECKPOINTS), config.optimisation.decay_steps
        plateaus = {_plateau(before), _plateau(config)}
        if decay and len(plateaus) > 1 and done > min(plateaus):
            raise ConfigError(
                f"steps={config.steps} with decay_steps={decay} would begin the decay before step {done:,}, "
                f"where {out} is, or has already begun it; give {done + decay} steps or more, or resume "
                "an older copy"
            )
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(config.model_dump(), indent=2) + "\n").encode())
    return before is None


def _lasting(config: TrainConfig) -> dict[str, Any]:
    """The settings that must stay the same when a run is resumed: all that its steps so far depend on.

    The end of a constant rate may change, and how often a run logs, saves and evaluates, unless evaluations
    can end it.
    """
    values = config.model_dump()
    free = {"log_every", "checkpoint_every"}
    if not config.early_stopping.patience:
        free.add("evaluate_every")
    if config.optimisation.decay_steps:
        free.add("steps")
        values["optimisation"]["decay_steps"] = True
    return {name: value for name, value in values.items() if name not in free}


def _plateau(config: TrainConfig) -> int:
    """The step at which a configuration begins its decay."""
    return config.steps - config.optimisation.decay_steps


def _evaluate(
    encoder: Encoder, sources: Sequence[ValidationSource], progress: Progress
) -> list[dict[str, Any]]:
    results = []
    for source in sources:
        if not has_pairs(source):
            progress(
                f"{source.spec} has no pictures of the split {source.split!r}, so nothing is held back to "
                "evaluate on"
            )
            continue
        progress(f"evaluating on {source.spec}")
        result = evaluate_karpathy(encoder, opened(source)).as_dict()
        recall = result["text_to_image"]["R@10"]
        progress(f"{source.spec}: {result['protocol']}: AR {result['AR']}, text to image R@10 {recall}")
        results.append({"data": Path(source.spec).name, **result})
    return results


def _summaries(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The numbers of each result that go to the log, and ``AR``, the mean over the sources."""
    if not results:
        return {}
    kept = ("AR", "text_to_image", "image_to_text")
    each = {
        result["data"]: {
            **{name: result[name] for name in kept},
            "levels": {width: level["AR"] for width, level in result["levels"].items()},
        }
        for result in results
    }
    return {"AR": round(sum(result["AR"] for result in results) / len(results), 3), **each}
