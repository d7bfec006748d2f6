"""How many settings there are, and that each one is needed."""

from __future__ import annotations

import itertools
import json
import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hivlp.config import FitLevelsConfig, TrainConfig
from hivlp.train.presets import PRESETS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MOST = 90
NEEDED = {
    "model.schema_version": "the version of the model folder, which every saved model has",
    "seed": "repeats of one recipe; docs/results.md reports their spread",
    **dict.fromkeys(
        ["model.preprocessing.fit", "model.preprocessing.centre", "model.text.pooling"],
        "hivlp.export.convert sets it for models of the hub, which tests/train/test_fine_tuning.py trains",
    ),
}


@pytest.fixture(scope="module")
def settings() -> Any:
    """`settings` of docs/generate.py, which writes the tables of the documentation."""
    return runpy.run_path(str(ROOT / "docs" / "generate.py"), run_name="generate")["settings"]


def names_in(values: Any, name: str = "") -> Iterator[str]:
    """The dotted names of plain nested values; ``name[]`` for the members of a list of groups."""
    yield name
    if isinstance(values, dict):
        for key, value in values.items():
            yield from names_in(value, f"{name}.{key}" if name else key)
    elif isinstance(values, list):
        for value in values:
            if isinstance(value, dict):
                yield from names_in(value, f"{name}[]")


def overrides(page: Path, command: str) -> Iterator[str]:
    """The `name=value` of every ``--set`` in the shell blocks of a page."""
    for block in re.findall(r"^```bash.*?\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if command in words:
                yield from (value for flag, value in itertools.pairwise(words) if flag == "--set")


def shown(command: str) -> set[str]:
    """The names of all settings that a documented command sets."""
    found = set[str]()
    for name, _, text in (one.partition("=") for page in PAGES for one in overrides(page, command)):
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        found |= set(names_in(value, name))
    return found


def test_there_are_few_settings(settings: Any) -> None:
    names = [one.name for one in settings(TrainConfig)]
    assert len(names) <= MOST, f"{len(names)} settings; remove one that nothing needs"
    assert len(list(settings(FitLevelsConfig))) <= 12


def test_every_setting_is_needed(settings: Any) -> None:
    """By a preset, by a documented command, or for the reason that stands here."""
    names = {one.name for one in settings(TrainConfig)}
    used = shown("train").union(*(names_in(make()) for make in PRESETS.values()))
    assert sorted(names - used - set(NEEDED)) == [], "show these in a recipe, or remove them"
    assert sorted(set(NEEDED) - names) == [], "these settings are gone"
    assert sorted(set(NEEDED) & used) == [], "these need no reason any more"
