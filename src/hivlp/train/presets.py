"""Complete training runs by name. A preset is a function; one may start from another and change a field.

`{data}` in a path stands for the value of `--data`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hivlp.config import TrainConfig, apply_overrides, parse
from hivlp.errors import ConfigError, HivlpError
from hivlp.registry import suggestion

# 2,001 of the products, chosen by a hash of their ids, are never trained on
PRODUCTS = "{data}/fashion?held_out=0.14925"


def resnet(*, stem: int, sizes: Sequence[int], depths: Sequence[int]) -> dict[str, Any]:
    """A small residual network: most accurate for what its training costs a CPU (docs/experiments.md)."""
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


def mobilenet() -> dict[str, Any]:
    """MobileNetV2's shape, from random weights: most seen for the milliseconds (docs/experiments.md)."""
    return {"kind": "mobilenet_v2", "options": {"depth_multiplier": 1.0}}


def words(*, width: int, dropout: float) -> dict[str, Any]:
    """Vectors of words alone, without their places: pairs and a bag stand on them."""
    options = {
        "hidden_size": width,
        "num_hidden_layers": 0,
        "num_attention_heads": 1,
        "hidden_dropout_prob": dropout,
        "type_vocab_size": 1,
    }
    return {"kind": "roformer", "options": options, "dropout": dropout}


def mini() -> dict[str, Any]:
    """The shipped model: a tower learned from a teacher's maps by stages, then words for what it sees."""
    flickr, captioned = "{data}/flickr8k/captions.tsv", "{data}/captioned"
    return {
        "preset": "mini",
        "model": {
            "name": "mini",
            "image": {**mobilenet(), "detail": 144, "norm": True, "dropout": 0.5, "detail_dropout": 0.1},
            "text": {**words(width=64, dropout=0.1), "pairs": 384, "bag": 160, "dropout": 0.1},
            "levels": {"kind": "nested", "widths": [32, 64, 128, 512], "hidden": 320, "places": True},
            "preprocessing": {"size": 192},
            "vocabulary": 5000,
            "max_tokens": 40,
        },
        "teacher": {"path": "{data}/backbones/mobilenet_v2_1.0_224_quant.tflite", "tensor": 175},
        "stages": {
            "tensors": [120, 132, 148, 159, 171, 174, 175],
            "blocks": [3, 6, 10, 13, 16, 17, 18],
            "steps": [2400, 3000, 2500, 3600, 4200, 4200, 3500],
            "joint_steps": 3600,
            "batch_size": 24,
            "sources": [
                {"spec": flickr, "split": "train", "share": 18, "views": 3},
                {"spec": flickr, "split": "unused", "share": 0.3, "views": 3},
                {"spec": f"{captioned}/openstax_photos/captions.tsv", "share": 1.6, "views": 1},
                {"spec": f"{captioned}/fsa_owi/captions.tsv", "share": 1.7, "views": 1},
                {"spec": "{data}/photos1000", "share": 1, "views": 1},
                {"spec": "{data}/photos", "share": 17.6, "views": 1},
                {"spec": PRODUCTS, "split": "train", "share": 8, "views": 1},
                {"spec": "scenes:2000?size=192", "share": 2, "crop": False, "views": 1},
            ],
        },
        "lock_image": True,
        "linear_start": True,
        "sources": [
            {"spec": flickr, "split": "train", "share": 6, "views": 3, "captions": 5},
            {"spec": flickr, "split": "unused", "share": 0.1, "views": 3, "captions": 5},
            {"spec": f"{captioned}/openstax_photos/captions.tsv", "share": 0.8, "views": 2},
            {"spec": f"{captioned}/fsa_owi/captions.tsv", "share": 0.4, "views": 1},
            {"spec": PRODUCTS, "split": "train", "share": 3, "views": 1},
            {
                "spec": "scenes:60000?size=192",
                "share": 9,
                "crop": False,
                "negatives": "near_misses",
                "negatives_each": 4,
                "views": 1,
                "captions": 2,
                "linear_start": False,
            },
        ],
        "validation": [
            {"spec": flickr, "split": "val"},
            {"spec": PRODUCTS, "split": "val"},
            {"spec": "scenes:1000?size=224", "split": "val"},
        ],
        "objective": {"consistency": 0.1},
        "optimisation": {
            "learning_rate": 4e-3,
            "given_rate": 0.1,
            "warmup_steps": 50,
            "weight_decay": 0.05,
        },
        "augmentation": {"min_area": 0.5, "mirror": False, "word_dropout": 0.1},
        "steps": 2800,
        "batch_size": 320,
        "checkpoint_every": 200,
        "evaluate_every": 0,
        "half_weights": True,
    }


_PLACE, _ANY = "{data}", "DATA"
_NOT_SAID = (
    "sources",
    "validation",
    "stages.sources",
    "teacher.path",
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
    name: str, *, overrides: Sequence[str] = (), data: str | None = None, start: str | None = None
) -> TrainConfig:
    """The configuration of a run: a preset, changed by ``a.b=v``, with the data put in its place.

    Where the run starts from a trained model, by `start` or by what the preset says, the settings of that
    model are those of `model`; for one of transformers that needs torch.

    Raises:
        ConfigError: unknown preset or key, impossible value, a preset that needs `--data` without it, or one
            that has no place for it.
        ModelError: the start is no model that can be trained.
    """
    if name not in PRESETS:
        raise ConfigError(f"unknown preset {name!r}: {suggestion(name, list(PRESETS))}")
    preset = PRESETS[name]() | ({"start": start} if start is not None else {})
    values = apply_overrides(preset, overrides)
    if values.get("start") is not None:
        from hivlp.train.start import start_settings

        values = apply_overrides(preset | {"model": start_settings(values["start"])}, overrides)
    config = parse(TrainConfig, _fill(values, data, name), where=f"preset {name}")
    if data is not None and not _mentions_data(values):
        raise ConfigError(_no_place(name, config, data))
    return config


def changed(config: TrainConfig) -> list[str]:
    """What `--set` made of the preset of a configuration, as ``a.b=v``; nothing of a preset that is unknown.

    Sources and where the teacher lies are left out, which `--data` says, and what only this machine needs.
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
        "take --preset small, medium or large for your own pictures"
    )


def _mentions_data(values: Any) -> bool:
    if isinstance(values, dict):
        return any(map(_mentions_data, values.values()))
    if isinstance(values, list):
        return any(map(_mentions_data, values))
    return isinstance(values, str) and _PLACE in values


def _fill(values: Any, data: str | None, preset: str) -> Any:
    if isinstance(values, dict):
        return {key: _fill(value, data, preset) for key, value in values.items()}
    if isinstance(values, list):
        return [_fill(value, data, preset) for value in values]
    if isinstance(values, str) and _PLACE in values:
        if data is None:
            raise ConfigError(f"preset {preset!r} needs pictures: give --data SOURCE")
        return values.replace(_PLACE, data.rstrip("/") or data)
    return values
