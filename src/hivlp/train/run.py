"""A training run from configuration to model folder: it wires the parts and has no logic of its own."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from hivlp.config import EarlyStopping, SourceConfig, TrainConfig, parse
from hivlp.data.sources import open_source
from hivlp.data.tokenizer import Tokenizer
from hivlp.encode import Encoder, load
from hivlp.encode.torch import TorchEncoder
from hivlp.errors import ConfigError, HivlpError, MissingExtraError, ModelError
from hivlp.evaluate.protocols import evaluate_karpathy
from hivlp.export.graphs import export
from hivlp.model.dual import DualEncoder
from hivlp.model.folder import save
from hivlp.train import checkpoint, curves
from hivlp.train.calibrate import calibrate
from hivlp.train.card import write_card
from hivlp.train.distributed import World, joined
from hivlp.train.freeze import Schedule, rate_shares
from hivlp.train.loop import CHECKPOINTS, Ended, LoopSettings, fit
from hivlp.train.memory import keep_freed
from hivlp.train.prepare import START, TOKENIZER, Prepared, opened, prepare
from hivlp.train.starts.linear import given
from hivlp.train.starts.lora import merge
from hivlp.train.watch import METRICS, Progress, gpu_left_idle, slow_here
from hivlp.tune.queries import LEAST

CONFIG, MODEL, RESULT = "train.json", "model", "result.json"


def run(
    config: TrainConfig,
    *,
    out: Path,
    resume: bool = False,
    progress: Progress = lambda line: None,
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
        without it), ``curves`` (path of the drawing, or None), ``failed`` (unusable items of the sources,
        each with ``uri`` and ``error``), ``eval`` (one result a validation source). Of several processes only
        the one that leads evaluates and writes.

    Raises:
        ConfigError: `out` holds a run, and neither or another one is to be resumed, the processes that
            torchrun started can't divide the batch, or early stopping has no evaluations.
        DataError: a source has nothing to train on.
    """
    with joined(config.device, gather_group=config.gather_group) as world:
        world.check_batch(config.batch_size)
        say = progress if world.leads else lambda line: None
        return _run(config, world, out=out, resume=resume, progress=say, stop_after=stop_after)


def _run(
    config: TrainConfig, world: World, *, out: Path, resume: bool, progress: Progress, stop_after: int | None
) -> dict[str, Any]:
    started, device = time.perf_counter(), world.device
    sources = [opened(source) for source in config.sources]  # a wrong path leaves no folder behind
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
    held_back = [opened(source) for source in config.validation if source.split and _has_split(source)]
    progress("fitting match probabilities")
    if calibrate(finished, held_back, out / MODEL) is None:
        progress(
            f"no match probabilities: they need {LEAST} pictures with captions to validate on, or later "
            "`hivlp tune` on an index with captions"
        )
    return document


def fit_task(
    parts: Prepared,
    config: TrainConfig,
    out: Path,
    *,
    resume: bool,
    progress: Progress = lambda line: None,
    evaluate: Callable[[], dict[str, Any]] | None = None,
    stop_after: int | None = None,
) -> Ended:
    """Trains what was prepared, with the rates, phases and periods of a configuration; see `loop.fit`."""
    model, optimisation = parts.task.model, config.optimisation
    shares = rate_shares(model, optimisation)
    if config.linear_start:
        shares |= given(model, optimisation.given_rate)
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
    """Early stopping as facts for the model card."""
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
    """The configuration, without early stopping where no images are held out to evaluate on."""
    if not config.early_stopping.patience or any(map(_has_split, config.validation)):
        return config
    wanted = ", ".join(f"{source.spec} (split {source.split!r})" for source in config.validation)
    progress(
        f"no early stopping: there are no pictures to evaluate on in {wanted or 'validation'}; mark some "
        "rows as this split, or set validation to another source"
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
    path = out / CONFIG
    there = path.is_file()
    if there:
        if not resume:
            raise ConfigError(
                f"{out} holds a run already; add --resume to go on with it, or choose another --out"
            )
        # settings that came later than the run have their defaults
        before = parse(TrainConfig, json.loads(path.read_text(encoding="utf-8")), where=str(path))
        if _lasting(before) != _lasting(config):
            raise ConfigError(
                f"{out} holds a run of another configuration ({path}); give the same one, or another --out"
            )
        done, decay = checkpoint.newest(out / CHECKPOINTS), config.optimisation.decay_steps
        plateaus = {_plateau(before), _plateau(config)}
        if decay and len(plateaus) > 1 and done > min(plateaus):
            raise ConfigError(
                f"steps={config.steps} with decay_steps={decay} would begin the decay before step {done:,}, "
                f"where {out} is, or it has begun; give {done + decay} steps or more, or resume an older copy"
            )
    out.mkdir(parents=True, exist_ok=True)
    temporary = out / (CONFIG + ".tmp")
    temporary.write_text(json.dumps(config.model_dump(), indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)
    return not there


def _lasting(config: TrainConfig) -> dict[str, Any]:
    """The settings that a resumed run must not change: those that its steps so far depend on.

    The end of a plateau may change, and so may the periods of reports that can't end the run.
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


def _evaluate(encoder: Encoder, sources: Sequence[SourceConfig], progress: Progress) -> list[dict[str, Any]]:
    results = []
    for source in sources:
        if not _has_split(source):
            progress(f"{source.spec} has no split {source.split!r}, so nothing is held back to evaluate on")
            continue
        progress(f"evaluating on {source.spec}")
        result = evaluate_karpathy(encoder, opened(source)).as_dict()
        recall = result["text_to_image"]["R@10"]
        progress(f"{source.spec}: {result['protocol']}: text to image R@10 {recall}")
        results.append({"data": Path(source.spec).name, **result})
    return results


def _has_split(source: SourceConfig) -> bool:
    """Whether a validation source can be held out; one without splits would be the training data again."""
    drawn = source.spec.startswith("scenes:")
    return drawn or source.split is None or source.split in open_source(source.spec).splits()


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
