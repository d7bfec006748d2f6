"""A writer may die at any instant: what it reported is there afterwards, and the next one goes on."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import index_model
from fault_points import watch
from hivlp.errors import IndexFolderError
from hivlp.stores.local import LocalStore
from index_model import Model, changed, held, make
from processes import killed_in_the_end

KILLS = 10
SEEDS = [*range(2), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 20))]


def new_index(path: Path) -> LocalStore:
    return LocalStore.create(
        path, model_name="m", model_fingerprint="f", widths=index_model.WIDTHS, preprocessing={}
    )


def reopened(path: Path) -> Model:
    """What the index holds, for a reader and then for a writer: it must be the same, without problems."""
    with LocalStore.open(path) as reader:
        assert reader.verify() == []
        found = held(reader)
    with LocalStore.open(path, writable=True) as writer:
        assert writer.verify() == []
        assert held(writer) == found
        names = {file.name for file in (path / "levels").iterdir()}
        assert len(names) == len(index_model.WIDTHS), f"leftovers stay: {names}"
    return found


def run_until_killed(path: Path, arguments: list[str], delay: float | None) -> list[str]:
    """The lines of a writing process that was killed after so many seconds, or that killed itself."""
    process = subprocess.Popen(
        [sys.executable, index_model.__file__, str(path), *arguments], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with killed_in_the_end(process):
        if delay is not None:
            assert process.stdout.readline() == "open\n"
            time.sleep(delay)
            process.kill()
        lines = process.stdout.read().splitlines()
    process.stdout.close()
    assert process.wait(60) == -signal.SIGKILL, "it was to be killed, not to fail"
    return lines


@pytest.mark.parametrize("seed", SEEDS)
def test_a_kill_at_any_instant_loses_at_most_the_change_in_flight(tmp_path, seed):
    path, model = tmp_path / "x.hivlp", Model()
    rng = np.random.default_rng(seed)
    new_index(path).close()
    for kill in range(KILLS):
        how = [[], [str(rng.integers(1, 80))], [str(rng.integers(1, 35)), "compact"]][kill % 3]
        delay = None if how else float(rng.uniform(0, 0.15))
        lines = run_until_killed(path, [str(rng.integers(1 << 30)), *how], delay)
        possible = [model]
        for line in lines:
            word, _, change = line.partition(" ")
            if word == "begin":
                possible.append(changed(model, json.loads(change)))
            elif word == "done":
                model = changed(model, json.loads(change))
                possible = [model]
        found = reopened(path)
        assert found in possible, f"kill {kill} ({how}), after {lines[-3:]}"
        model = found


CHANGES: dict[str, dict[str, Any]] = {
    "add": {"put": dict.fromkeys(range(20, 30), 0)},
    "update": {"put": {3: 1, 4: 1, 40: 0}},
    "delete": {"delete": [1, 2, 3]},
    "compact": {"compact": True},
}


@pytest.mark.parametrize("before", ["new", "compacted"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_disk_is_sound_at_every_fault_point_of_a_change(tmp_path, change, before):
    """The folder is copied at each of them: a kill leaves just that, as the system keeps what was written."""
    path, model = tmp_path / "x.hivlp", dict.fromkeys(range(15), 0)
    start = [
        {"put": model},
        {"delete": [5, 6]},
        *([{"compact": True}, {"delete": [7]}] * (before == "compacted")),
    ]
    with new_index(path) as store:
        for one in start:
            make(store, one)
            model = changed(model, one)
    copies: list[tuple[str, Path]] = []

    def at(name: str) -> None:
        copy = tmp_path / f"copy-{len(copies)}"
        shutil.copytree(path, copy)
        copies.append((name, copy))

    with watch(at), LocalStore.open(path, writable=True) as store:
        make(store, change)
    after = changed(model, change)
    found = [reopened(copy) for _, copy in copies]
    assert len(found) > 3
    assert found[0] == model
    assert found[-1] == reopened(path) == after
    flips = [now != then for then, now in zip([model, *found], found, strict=False)]
    assert sum(flips) == (model != after), "it happens at one point, and is never taken back"


def test_a_kill_while_an_index_is_made_leaves_all_of_it_or_nothing(tmp_path):
    path, copies = tmp_path / "now" / "x.hivlp", list[Path]()

    def at(name: str) -> None:
        copy = tmp_path / f"copy-{len(copies)}"
        shutil.copytree(path.parent, copy)
        copies.append(copy / path.name)

    with watch(at):
        new_index(path).close()
    there = [copy for copy in copies if copy.exists()]
    assert 0 < len(there) < len(copies)
    for copy in copies:
        if copy in there:
            assert reopened(copy) == {}
        else:
            with pytest.raises(IndexFolderError, match="is not an index"):
                LocalStore.open(copy)
            new_index(copy).close()
