"""Complete training runs by name. A preset is a function; one may start from another and change a field.

`{data}` in a path stands for the value of `--data`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hivlp.config import Levels, TrainConfig, apply_overrides, parse, read_model_config
from hivlp.data.sources.spec import with_image_root
from hivlp.encode.base import model_source
from hivlp.encode.hub import model_kind
from hivlp.encode.rotated import LEVELS
from hivlp.errors import ConfigError, DataError, HivlpError
from hivlp.messages import suggestion

# of pixels, as EfficientNet-Lite was trained: (x - 127) / 128
MEAN, STD = [127 / 255] * 3, [128 / 255] * 3
# 2,001 of the products, chosen by a hash of their ids, are never trained on
PRODUCTS = "{data}/fashion?held_out=0.14925"


def resnet(*, stem: int, sizes: Sequence[int], depths: Sequence[int]) -> dict[str, Any]:
    """A small residual network: the most accurate for its training time on a CPU (docs/experiments.md)."""
    options = {
        "embedding_size": stem,
        "hidden_sizes": list(sizes),
        "depths": list(depths),
        "layer_type": "basic",
    }
    return {"kind": "resnet", "options": options}


def transformer(*, width: int, layers: int, dropout: float) -> dict[str, Any]:
    """A small text transformer with heads of 32 and four times the width inside."""
    options = {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // 32,
        "intermediate_size": 4 * width,
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": 0.0,
        "type_vocab_size": 1,
    }
    return {"kind": "bert", "options": options, "dropout": dropout}


def tiny() -> dict[str, Any]:
    """Learns drawn scenes in under a minute on two cores: the smoke run, the test model."""
    return {
        "preset": "tiny",
        "model": {
            "name": "tiny",
            "image": resnet(stem=24, sizes=[24, 48, 96, 192], depths=[1, 1, 1, 1]),
            "text": transformer(width=96, layers=1, dropout=0.0),
            "levels": {"kind": "nested", "widths": [16, 32, 64, 128]},
            "preprocessing": {"size": 64},
            "vocabulary": 2000,
            "max_tokens": 40,
        },
        "sources": [{"spec": "scenes:4000?size=64", "crop": False}],
        "validation": [{"spec": "scenes:500?size=64", "split": "val"}],
        "optimisation": {"learning_rate": 3e-3, "warmup_steps": 30},
        "steps": 300,
        "batch_size": 128,
        "precision": "bfloat16",
    }


def scratch() -> dict[str, Any]:
    """Many pairs of one's own, from random weights, on a CPU: their split `train`, or all of them."""
    return {
        "preset": "scratch",
        "model": {
            "name": "scratch",
            "image": resnet(stem=32, sizes=[32, 64, 160, 384], depths=[1, 2, 2, 1]),
            "text": {**transformer(width=192, layers=3, dropout=0.1), "bag": 192},
            "levels": {"kind": "nested", "widths": [32, 64, 128, 512]},
            "preprocessing": {"size": 128},
            "vocabulary": 6000,
            "max_tokens": 40,
        },
        "sources": [{"spec": "{data}", "split": "train"}],
        "validation": [{"spec": "{data}", "split": "val"}],
        "objective": {"consistency": 0.1},
        "optimisation": {"learning_rate": 1.5e-3, "warmup_steps": 300, "weight_decay": 0.05},
        "augmentation": {"min_area": 0.4, "word_dropout": 0.1},
        "pack_size": 160,
        "steps": 2000,
        "batch_size": 384,
    }


def small() -> dict[str, Any]:
    """Some hundred pairs of one's own: a trained model's levels, then also the last block of each tower."""
    return {
        "preset": "small",
        "start": "mini",
        "sources": [{"spec": "{data}", "split": "train"}],
        "validation": [{"spec": "{data}", "split": "val"}],
        "objective": {"consistency": 0.1},
        "optimisation": {"learning_rate": 3e-4, "tower_rate": 0.3, "warmup_steps": 20},
        "freeze": [{"until": 0.5, "trained": "heads"}, {"until": 1, "trained": "last_blocks", "blocks": 1}],
        "augmentation": {"min_area": 0.7},
        "early_stopping": {"patience": 3},
        "steps": 200,
        "evaluate_every": 20,
        "batch_size": 128,
    }


def medium() -> dict[str, Any]:
    """Some thousand pairs of one's own: the last two blocks of each tower of a trained model, slowly."""
    return {
        **small(),
        "preset": "medium",
        "freeze": [{"until": 1, "trained": "last_blocks", "blocks": 2}],
        "steps": 500,
        "evaluate_every": 50,
    }


def large() -> dict[str, Any]:
    """Ten thousand pairs of one's own and more: all of a trained model, slower towards its input."""
    return {
        **small(),
        "preset": "large",
        "optimisation": {"learning_rate": 3e-4, "tower_rate": 0.3, "layer_decay": 0.75, "warmup_steps": 100},
        "freeze": [],
        "augmentation": {"min_area": 0.5},
        "steps": 2000,
        "evaluate_every": 200,
        "batch_size": 256,
    }


def mini() -> dict[str, Any]:
    """The shipped model: EfficientNet-Lite's image tower and MiniLM's word vectors, aligned by captions."""
    flickr = "{data}/flickr8k/captions.tsv"
    return {
        "preset": "mini",
        "model": {
            "name": "mini",
            "image": {"kind": "efficientnet_lite", "pooling": "stages", "norm": True, "dropout": 0.3},
            "text": {"kind": "words", "options": {"width": 384, "learned": 6000}, "bag": 384, "dropout": 0.2},
            "levels": {"kind": "nested", "widths": [32, 64, 128, 512], "hidden": 512, "dropout": 0.4},
            "preprocessing": {"size": 224, "interpolation": "bicubic", "mean": MEAN, "std": STD},
            "vocabulary": 30000,
            "max_tokens": 64,
        },
        "pretrained": {"image": "efficientnet-lite0", "text": "all-minilm-l6-v2"},
        "lock_image": True,
        "linear_start": True,
        "sources": [
            {"spec": flickr, "split": "train", "share": 400, "views": 3, "captions": 5},
            {"spec": flickr, "split": "unused", "share": 5, "views": 3, "captions": 5},
            {"spec": "{data}/captioned/openstax_photos/captions.tsv", "share": 50, "views": 2},
            {"spec": PRODUCTS, "split": "train", "share": 520, "views": 1},
            {
                "spec": "scenes:10000?size=224",
                "share": 75,
                "crop": False,
                "views": 1,
                "captions": 2,
                "linear_start": False,
            },
        ],
        "validation": [
            {"spec": f"{flickr}?report=0.5", "split": "val"},
            {"spec": PRODUCTS, "split": "val"},
            {"spec": "scenes:1000?size=224", "split": "val"},
        ],
        "objective": {"level_weights": [8, 4, 1, 1], "consistency": 1.0, "class_names": 1.6},
        "optimisation": {
            "learning_rate": 1.6e-3,
            "linear_start_rate": 1.0,
            "warmup_steps": 20,
            "weight_decay": 0.05,
        },
        "augmentation": {"min_area": 0.5, "mirror": False, "word_dropout": 0.15},
        "steps": 420,
        "batch_size": 1050,
        "checkpoint_every": 100,
        "evaluate_every": 0,
        "log_every": 10,
        "half_weights": True,
    }


_PLACE, _ANY = "{data}", "DATA"
_NOT_SAID = (
    "sources",
    "validation",
    "start",
    "threads",
    "data_workers",
    "log_every",
    "checkpoint_every",
)
PRESETS: Mapping[str, Callable[[], dict[str, Any]]] = {
    preset.__name__: preset for preset in (tiny, small, medium, large, scratch, mini)
}


def load_preset(
    name: str,
    *,
    overrides: Sequence[str] = (),
    data: str | None = None,
    start: str | None = None,
    image_root: str | None = None,
) -> TrainConfig:
    """The configuration of a run: a preset, changed by ``a.b=v``, with the data put in its place.

    `image_root` is the folder that the paths of the data start from. If the run starts from a trained model,
    by `start` or by its preset, `model` has the settings of that model; for a model of transformers that
    needs torch.

    Raises:
        ConfigError: a preset or key is unknown, a value is invalid, a setting has no effect, or `--data` is
            missing or has no place in the preset.
        ModelError: the start cannot be trained.
    """
    if name not in PRESETS:
        raise ConfigError(f"unknown preset {name!r}: {suggestion(name, list(PRESETS))}")
    preset = PRESETS[name]() | ({"start": start} if start is not None else {})
    values = apply_overrides(preset, overrides)
    if values.get("start") is not None:
        values = apply_overrides(preset | {"model": start_settings(values["start"])}, overrides)
    complete = filled(values, data, name)
    if image_root is not None:
        _set_root(values, complete, image_root)
    config = parse(TrainConfig, complete, where=f"preset {name}")
    check_effects(config, overrides)
    if data is not None and not _mentions_data(values):
        raise ConfigError(_no_place(name, config, data))
    return config


def start_settings(start: str) -> dict[str, Any]:
    """The settings of the model that a run from `start` trains, as plain values.

    A model of one width gets narrow levels below it. Only a model of transformers needs torch for this.

    Raises:
        ModelError: the model does not exist or is not trainable.
    """
    folder = model_source(start)
    if model_kind(folder) == "hivlp":
        config = read_model_config(folder)
    else:
        from hivlp.export.trainable import open_trainable

        config = open_trainable(start)[0].config
    if len(config.levels.widths) == 1:
        fine = config.levels.widths[0]
        narrow = tuple(width for width in LEVELS if 2 * width <= fine)
        config = config.model_copy(update={"levels": Levels(kind="nested", widths=(*narrow, fine))})
    return {**config.model_dump(mode="json"), "name": f"{config.name} fine-tuned"}


def check_effects(config: TrainConfig, overrides: Sequence[str]) -> None:
    """Raises ConfigError for an override that has no effect, and names the setting that it needs."""
    for setting in (override.partition("=")[0] for override in overrides):
        if (switch := config.without_effect(setting)) is not None:
            raise ConfigError(
                f"--set {setting} has no effect without {switch}; set {switch} too, or leave {setting} out"
            )


def _set_root(values: dict[str, Any], complete: dict[str, Any], image_root: str) -> None:
    """Sets the folder that paths start from in complete values, for the sources that `--data` names."""
    root = str(Path(image_root).expanduser().absolute())
    for name in ("sources", "validation"):
        for given, source in zip(values[name], complete[name], strict=True):
            if _PLACE in given["spec"] and not source["spec"].startswith("scenes:"):
                source["spec"] = with_image_root(source["spec"], root)


def check_data(config: TrainConfig, data: str) -> None:
    """Raises DataError for a folder that lacks a source of the preset; names all that it must hold."""
    if config.preset not in PRESETS:
        return
    preset = PRESETS[config.preset]()
    specs = [source["spec"] for source in (*preset["sources"], *preset["validation"])]
    inside = [spec for spec in dict.fromkeys(specs) if spec.startswith(f"{_PLACE}/")]
    used = {source.spec for source in (*config.sources, *config.validation)}
    needed = [spec for spec in inside if filled(spec, data, config.preset) in used]
    paths = list(dict.fromkeys(spec.removeprefix(f"{_PLACE}/").partition("?")[0] for spec in needed))
    if not all(Path(data, path).exists() for path in paths):
        missing = [path for path in paths if not Path(data, path).exists()]
        raise DataError(
            f"{data} has no {', '.join(missing)}; --data of preset {config.preset!r} must be a folder with "
            f"{', '.join(paths)}"
        )


def changed(config: TrainConfig) -> list[str]:
    """The settings of a configuration that differ from its preset, as ``a.b=v``; none for an unknown preset.

    Sources, which `--data` names, and settings for one machine are left out.
    """
    if config.preset not in PRESETS:
        return []
    try:
        plain = load_preset(
            config.preset, data=_ANY if _needs_data(config.preset) else None, start=config.start
        )
    except HivlpError:  # the model that it started from is gone
        return []
    before, after = _leaves(plain.model_dump()), _leaves(config.model_dump())
    return [
        f"{name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in after.items()
        if value != before.get(name) and not name.startswith(_NOT_SAID)
    ]


def _needs_data(name: str) -> bool:
    return _mentions_data(PRESETS[name]())


def _leaves(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        found |= _leaves(value, f"{name}.") if isinstance(value, dict) and value else {name: value}
    return found


def _no_place(name: str, config: TrainConfig, data: str) -> str:
    specs = [source.spec for source in config.sources]
    does = "draws its own scenes" if all(spec.startswith("scenes:") for spec in specs) else "names its own"
    return (
        f"preset {name!r} {does} ({', '.join(specs)}) and has no place for --data {data}; "
        "take --preset small, medium or large for your own images"
    )


def _mentions_data(values: Any) -> bool:
    if isinstance(values, dict):
        return any(map(_mentions_data, values.values()))
    if isinstance(values, list):
        return any(map(_mentions_data, values))
    return isinstance(values, str) and _PLACE in values


def filled(values: Any, data: str | None, preset: str) -> Any:
    """Plain values of a preset with `data` in its place. Raises ConfigError where it is None and needed."""
    if isinstance(values, dict):
        return {key: filled(value, data, preset) for key, value in values.items()}
    if isinstance(values, list):
        return [filled(value, data, preset) for value in values]
    if isinstance(values, str) and _PLACE in values:
        if data is None:
            raise ConfigError(f"preset {preset!r} needs images: give --data SOURCE")
        return values.replace(_PLACE, data.rstrip("/") or data)
    return values
