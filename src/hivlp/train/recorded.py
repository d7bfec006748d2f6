"""The configuration that a run has recorded: read to go on with it, and compared with what is given anew."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hivlp.config import TrainConfig, apply_overrides, parse
from hivlp.data.sources.spec import split_image_root
from hivlp.errors import ConfigError
from hivlp.train.presets import PRESETS, check_effects, filled

CONFIG = "train.json"
_LONGEST = 200  # characters of a value in a message


def recorded(out: Path) -> TrainConfig | None:
    """The configuration of the run in a folder; None where there is no run.

    Settings that came later than the run have their defaults.

    Raises:
        ConfigError: it can't be read, or needs what this version lacks.
    """
    path = out / CONFIG
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} can't be read ({error}); restore it from a copy") from None
    return parse(TrainConfig, values, where=str(path))


def resumed(
    before: TrainConfig,
    out: Path,
    *,
    overrides: Sequence[str] = (),
    preset: str | None = None,
    data: str | None = None,
    start: str | None = None,
    image_root: str | None = None,
) -> TrainConfig:
    """The recorded configuration of a run, with the settings that are given to go on with it.

    What is not given is as it was recorded.

    Args:
        before: as it was recorded.
        out: the folder of the run, for messages.
        overrides: settings as ``a.b=v``; whether the run may go on with another value is for `run` to say.
        preset, data, start, image_root: as in `load_preset`; they must be those of the run.

    Raises:
        ConfigError: the preset, the data, the start or the image root differs; the message has both values.
    """
    pairs = [("--preset", before.preset, preset), ("--model", before.start, start)]
    pairs.append(
        ("--image-root", next((split_image_root(s.spec)[1] for s in before.sources), None), image_root)
    )
    if data is not None and data not in _data_of(before):
        pairs.append(("--data", ", ".join(source.spec for source in before.sources), data))
    changed = [(name, was, now) for name, was, now in pairs if now is not None and now != was]
    if changed:
        raise ConfigError(another(out, changed))
    values = apply_overrides(before.model_dump(mode="json"), overrides)
    config = parse(TrainConfig, values, where=f"{out / CONFIG} with --set")
    check_effects(config, overrides)
    return config


def another(out: Path, changed: Sequence[tuple[str, Any, Any]]) -> str:
    """The message for a run that was begun with other settings.

    Args:
        changed: the name of each setting, its value in the run, and the value that is given now.
    """
    named = "; ".join(f"{name} is {_shown(was)} there and {_shown(now)} now" for name, was, now in changed)
    return (
        f"{out} holds a run of another configuration ({out / CONFIG}): {named}. Leave these settings out to "
        "go on with the run, or choose another --out"
    )


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """The settings that differ: the dotted name of each, its earlier value and its later one."""
    first, second = _leaves(before), _leaves(after)
    names = dict.fromkeys([*first, *second])
    return [
        (name, first.get(name), second.get(name)) for name in names if first.get(name) != second.get(name)
    ]


def _data_of(config: TrainConfig) -> set[str]:
    """What `--data` of a run may have been: any value that gives the sources which are recorded."""
    specs = [split_image_root(source.spec)[0] for source in config.sources]
    if config.preset not in PRESETS:
        return set(specs)
    patterns = [source["spec"] for source in PRESETS[config.preset]()["sources"]]
    likely = {
        spec.removesuffix(pattern.partition("{data}")[2])
        for spec in specs
        for pattern in patterns
        if "{data}" in pattern
    }
    return {data for data in likely if set(filled(patterns, data, config.preset)) & set(specs)} | set(specs)


def _leaves(values: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names; members of lists have numbers."""
    if isinstance(values, Mapping):
        members = [(f"{prefix}.{name}" if prefix else str(name), value) for name, value in values.items()]
    elif isinstance(values, (list, tuple)) and any(isinstance(value, Mapping) for value in values):
        members = [(f"{prefix}[{number}]", value) for number, value in enumerate(values)]
    else:
        return {prefix: values}
    return {name: leaf for prefix, value in members for name, leaf in _leaves(value, prefix).items()}


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
