"""The examples in the docstrings of the objectives give what they show, and every objective has one."""

from __future__ import annotations

import doctest
import inspect
import pkgutil
from importlib import import_module
from types import ModuleType

import pytest

import hivlp.objectives

MODULES = [
    import_module(f"hivlp.objectives.{one.name}") for one in pkgutil.iter_modules(hivlp.objectives.__path__)
]
ONLY_CHOOSES = {"match_loss"}  # between two objectives


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_examples_give_what_they_show(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_objective_has_an_example(module: ModuleType) -> None:
    public = {
        name: one
        for name, one in inspect.getmembers(module, inspect.isfunction)
        if one.__module__ == module.__name__ and not name.startswith("_") and name not in ONLY_CHOOSES
    }
    assert public
    assert [name for name, one in public.items() if ">>>" not in (one.__doc__ or "")] == []
