"""Plain values to a checked configuration, and `--set` overrides; a wrong key or value is a ConfigError."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, ClassVar, TypeVar, cast, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from hivlp.errors import ConfigError
from hivlp.messages import rule, suggestion


class Settings(BaseModel):
    """Parent of every configuration: frozen, and strict about names.

    Attributes:
        REMOVED: dotted names that older versions wrote and this one lacks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
    REMOVED: ClassVar[Sequence[str]] = ()


def without_removed(kind: type[Settings], values: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values without the settings of older versions that did nothing where they were written.

    Raises:
        ValueError: names those that did something.
    """
    left, used = deepcopy(dict(values)), list[str]()
    for name in kind.REMOVED:
        *groups, last = name.split(".")
        place: Any = left
        for group in groups:
            place = cast("dict[str, Any]", place).get(group) if isinstance(place, dict) else None
        if isinstance(place, dict) and _in_use(cast("dict[str, Any]", place).pop(last, None)):
            used.append(name)
    if used:
        raise ValueError(
            f"an older version of HiVLP had the settings {', '.join(used)}, and this one does not; train or "
            "export again what was made with them, or use the version that made it"
        )
    return left


def _in_use(value: Any) -> bool:
    """Whether a setting does something; a group does where its first setting does."""
    if isinstance(value, dict):
        return bool(next(iter(cast("dict[str, Any]", value).values()), None))
    return bool(value)


ConfigT = TypeVar("ConfigT", bound=Settings)


def parse(kind: type[ConfigT], values: Mapping[str, Any], *, where: str) -> ConfigT:
    """A configuration from plain values.

    Raises:
        ConfigError: names every key that is unknown or wrong, and where it was read.
    """
    try:
        return kind.model_validate(without_removed(kind, values))
    except ValidationError as error:
        problems = "; ".join(_explain(kind, problem) for problem in error.errors(include_url=False))
        raise ConfigError(f"{where}: {problems}") from None
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def _explain(kind: type[Settings], problem: Mapping[str, Any]) -> str:
    path = [str(part) for part in problem["loc"]]
    name = ".".join(path) or kind.__name__
    if problem["type"] == "extra_forbidden":
        return f"unknown key {name!r}: {suggestion(path[-1], _keys_beside(kind, path))}"
    return f"{name}: {rule(problem)} (got {problem.get('input')!r:.80})"


def _keys_beside(kind: type[Settings], path: Sequence[str]) -> list[str]:
    """The keys that were allowed where an unknown one stood."""
    for part in path[:-1]:
        field = kind.model_fields.get(part)
        kind = (_settings_in(field.annotation) if field is not None else None) or kind
    return list(kind.model_fields)


def _settings_in(annotation: Any) -> type[Settings] | None:
    """The group of settings that a field holds, also where it holds a list of them or none."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return annotation
    return next(filter(None, map(_settings_in, get_args(annotation))), None)


def apply_overrides(values: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Plain values with ``a.b=v`` applied; v is read as JSON where it is JSON, else as text.

    Raises:
        ConfigError: an override has no ``=`` or goes through something that is not a group.
    """
    result: dict[str, Any] = json.loads(json.dumps(dict(values)))
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise ConfigError(
                f"--set {override!r} is not of the form name=value, such as optimisation.learning_rate=0.001"
            )
        *groups, last = key.split(".")
        place: dict[str, Any] | None = result
        for group in groups:
            inner: Any = place.setdefault(group, {}) if place is not None else None
            place = cast("dict[str, Any]", inner) if isinstance(inner, dict) else None
        if place is None:
            raise ConfigError(f"--set {override!r}: {key!r} goes through a value that has no parts")
        place[last] = _value(text)
    return result


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
