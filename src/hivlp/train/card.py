"""The model card: what a model was trained on, how, and what it reaches, written from the run itself."""

from __future__ import annotations

import platform
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hivlp.config import SourceConfig, TrainConfig
from hivlp.train.presets import changed

CARD = "README.md"


def write_card(
    folder: Path,
    config: TrainConfig,
    *,
    results: Sequence[Mapping[str, Any]],
    steps: int,
    seconds: float,
    device: str,
    facts: Mapping[str, str] | None = None,
    sections: Mapping[str, str] | None = None,
    curves: Path | None = None,
) -> None:
    """Writes `README.md` of a model folder from the configuration and the evaluation of its run.

    Args:
        folder: the model folder.
        config: the settings of the run.
        results: one evaluation per validation source, as `run` returns them.
        steps: training steps done.
        seconds: how long the run took, evaluation included.
        device: ``cpu`` or ``cuda``.
        facts: more rows for the first table, such as measured speed.
        sections: more sections, by title, in Markdown.
        curves: the chart of the run, which is copied into the folder and shown.
    """
    model = config.model
    widths = ", ".join(str(width) for width in model.levels.widths)
    size, vocabulary = model.preprocessing.size, model.vocabulary
    start = f" --model {_short(config.start)}" if config.start else ""
    settings = "".join(f" --set {shlex.quote(setting)}" for setting in changed(config))
    lines = [
        f"# {model.name}",
        "",
        f"A dual encoder with {model.levels.kind} levels of width {widths}, made by HiVLP.",
        "",
        "| | |",
        "|---|---|",
        f"| picture tower | {model.image.kind}, {size}×{size} pixels |",
        f"| text tower | {model.text.kind}, at most {model.max_tokens} tokens, vocabulary {vocabulary:,} |",
        f"| files | {_megabytes(folder):.1f} MB |",
        f"| training | {_training(config, steps, device)}, {seconds / 60:.0f} minutes |",
        f"| machine | {platform.machine()}, Python {platform.python_version()} |",
        f"| recipe | `hivlp train --preset {config.preset}{start} --data DATA --out RUN{settings}` |",
        *(f"| {name} | {value} |" for name, value in (facts or {}).items()),
        "",
        "## Data",
        "",
        "| source | split | share of a batch |",
        "|---|---|---|",
        *map(_source, config.sources),
        "",
    ]
    for result in results:
        lines += recall_table(result)
    if curves is not None:
        shutil.copyfile(curves, folder / curves.name)
        lines += ["## The run", "", f"![Loss, recall and learning rate by step]({curves.name})", ""]
    for title, text in (sections or {}).items():
        lines += [f"## {title}", "", text.strip(), ""]
    (folder / CARD).write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def _source(source: SourceConfig) -> str:
    return f"| {_short(source.spec)} | {source.split or 'all'} | {source.share:g} |"


def _training(config: TrainConfig, steps: int, device: str) -> str:
    return f"{steps:,} steps of {config.batch_size} pictures on {device} in {config.precision}"


def recall_table(result: Mapping[str, Any]) -> list[str]:
    """The section of one validation source: recalls of every level and of the cascade, as lines."""
    rows = [
        f"| {width} | {_recalls(level['text_to_image'])} "
        f"| {_recalls(level['image_to_text'])} | {level['AR']:.1f} |"
        for width, level in result["levels"].items()
    ]
    return [
        f"## {result.get('name') or result['data']}: {result['protocol']}",
        "",
        "| width | text→image R@1 / 5 / 10 | image→text R@1 / 5 / 10 | AR |",
        "|---|---|---|---|",
        *rows,
        *_cascade(result),
        "",
    ]


def _cascade(result: Mapping[str, Any]) -> list[str]:
    cascade = result.get("cascade")
    if not cascade:
        return []
    name = f"cascade, {cascade['candidates']} candidates"
    both = (_recalls(cascade[way]) for way in ("text_to_image", "image_to_text"))
    return [f"| {name} | {' | '.join(both)} | {cascade['AR']:.1f} |"]


def _recalls(values: Mapping[str, float]) -> str:
    return " / ".join(f"{values[name]:.1f}" for name in ("R@1", "R@5", "R@10"))


def _short(spec: str) -> str:
    """The last two parts of a path: enough to recognise a source, without the machine it lay on."""
    return "/".join(Path(spec).parts[-2:])


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
