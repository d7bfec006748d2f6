"""Parses plain values and `--set` overrides into a configuration; what is invalid is a ConfigError."""

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
        REMOVED: dotted names that older versions wrote and this one lacks (``sources[].captions`` for a field
            of every member of a list), each with the value that this version uses everywhere; None for a
            feature that is gone, which must have been off.
        RENAMED: dotted names of older versions, each with the last part of the present name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
    REMOVED: ClassVar[Mapping[str, Any]] = {}
    RENAMED: ClassVar[Mapping[str, str]] = {}


def without_removed(kind: type[Settings], values: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values with renamed settings, without those of older versions that make no difference.

    Raises:
        ValueError: names the settings that do make a difference.
    """
    left, used = deepcopy(dict(values)), list[str]()
    for name, constant in kind.REMOVED.items():
        *groups, last = name.split(".")
        for group in _groups(left, groups):
            if last in group and _differs(group.pop(last), constant):
                used.append(name)
    for name, new in kind.RENAMED.items():
        *groups, last = name.split(".")
        for group in _groups(left, groups):
            if last in group:
                group.setdefault(new, group.pop(last))
    if used:
        raise ValueError(
            f"an older version of HiVLP had the settings {', '.join(dict.fromkeys(used))}, and this one does "
            "not; train or export again what was made with them, or use the version that made it"
        )
    return left


def _groups(values: Any, path: Sequence[str]) -> list[dict[str, Any]]:
    """The groups of settings at a path; ``name[]`` stands for every member of a list."""
    if not isinstance(values, dict):
        return []
    group = cast("dict[str, Any]", values)
    if not path:
        return [group]
    inner: Any = group.get(path[0].removesuffix("[]"))
    members: list[Any] = [inner]
    if path[0].endswith("[]") and isinstance(inner, list | tuple):
        members = [*cast("Sequence[Any]", inner)]
    return [found for member in members for found in _groups(member, path[1:])]


def _differs(value: Any, constant: Any) -> bool:
    """Whether a removed setting had another value than the constant that replaced it."""
    if constant is not None:
        return value != constant
    if isinstance(value, dict):  # a group is on where its first setting is
        value = next(iter(cast("dict[str, Any]", value).values()), None)
    return bool(value)


ConfigT = TypeVar("ConfigT", bound=Settings)


def parse(kind: type[ConfigT], values: Mapping[str, Any], *, where: str) -> ConfigT:
    """A configuration from plain values.

    Raises:
        ConfigError: names every unknown or invalid key, and where it was read.
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
    """The keys that are allowed beside an unknown one."""
    for part in path[:-1]:
        field = kind.model_fields.get(part)
        kind = (_settings_in(field.annotation) if field is not None else None) or kind
    return list(kind.model_fields)


def _settings_in(annotation: Any) -> type[Settings] | None:
    """The group of settings in a field; of an optional field or a list, the group inside."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return annotation
    return next(filter(None, map(_settings_in, get_args(annotation))), None)


def apply_overrides(values: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Plain values with ``a.b=v`` applied; v is parsed as JSON, or taken as text where it is not JSON.

    Raises:
        ConfigError: an override has no ``=``, or a part of its name is not a group.
    """
    result: dict[str, Any] = json.loads(json.dumps(dict(values)))
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise ConfigError(
                f"--set {override!r} must have the form name=value, such as optimisation.learning_rate=0.001"
            )
        *groups, last = key.split(".")
        place: dict[str, Any] | None = result
        for group in groups:
            inner: Any = place.setdefault(group, {}) if place is not None else None
            place = cast("dict[str, Any]", inner) if isinstance(inner, dict) else None
        if place is None:
            raise ConfigError(
                f"--set {override!r}: {key!r} names a part of a value that is not a group of settings"
            )
        place[last] = _value(text)
    return result


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
