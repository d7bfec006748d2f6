"""The help of every command speaks in words, ends with examples, and survives a plug-in that is gone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from typer.models import ArgumentInfo, OptionInfo

from hivlp.cli.main import app
from ran import Ran

Hivlp = Callable[..., Ran]
COMMANDS = {str(command.name): command for command in app.registered_commands} | {
    f"{group.name} {command.name}": command
    for group in app.registered_groups
    for command in (group.typer_instance.registered_commands if group.typer_instance else ())
}


def declared(name: str) -> dict[str, OptionInfo | ArgumentInfo]:
    """The options and arguments of a command, by the names of its parameters."""
    found = {}
    for parameter, annotation in getattr(COMMANDS[name].callback, "__annotations__", {}).items():
        for one in get_args(annotation):
            if isinstance(one, OptionInfo | ArgumentInfo):
                found[parameter] = one
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_examples_of_the_command(
    name: str, hivlp: Hivlp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    ran = hivlp(*name.split(), "--help")
    assert ran.code == 0
    _, examples = re.split("Examples?:", ran.out)
    lines = [line.strip() for line in examples.splitlines() if line.strip()]
    assert lines
    assert all(line.startswith(f"hivlp {name} ") or line == f"hivlp {name}" for line in lines)


@pytest.mark.parametrize("name", COMMANDS)
def test_options_name_their_value_in_words(name: str) -> None:
    options = {key: one for key, one in declared(name).items() if isinstance(one, OptionInfo)}
    assert options
    for key, one in options.items():
        assert one.metavar, key
        assert not one.metavar.startswith("<"), key


@pytest.mark.parametrize("name", COMMANDS)
def test_help_texts_hold_no_brackets_which_rich_would_swallow(name: str) -> None:
    for key, one in declared(name).items():
        assert one.help, key
        assert "[" not in one.help, key


def test_a_plug_in_whose_module_is_gone_does_not_stop_the_program(tmp_path: Path) -> None:
    folder = tmp_path / "gone-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: gone\nVersion: 1\n")
    (folder / "entry_points.txt").write_text("[hivlp.commands]\ngone = no_such_package.cli:app\n")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-m", "hivlp", "--help"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "search" in done.stdout
    assert "gone" not in done.stdout


def test_a_plug_in_adds_its_commands(tmp_path: Path) -> None:
    folder = tmp_path / "extra-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: extra\nVersion: 1\n")
    (folder / "entry_points.txt").write_text("[hivlp.commands]\nextra = extra_commands:app\n")
    (tmp_path / "extra_commands.py").write_text(
        "import typer\napp = typer.Typer()\n\n@app.command('hello')\ndef hello(count: int = 1):\n    "
        "print('hi', count)\n"
        "\n@app.command('bye')\ndef bye():\n    pass\n"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-m", "hivlp", "extra", "hello", "--count", "2"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "hi 2\n")
