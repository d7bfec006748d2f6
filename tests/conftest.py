"""What several test files share."""

from __future__ import annotations

import os

# As the command line does: two pools of threads that wait for the same processors make tests crawl.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from collections.abc import Callable
from pathlib import Path

import pytest

from fakes import ColourEncoder, gallery
from hivlp.errors import ModelError
from ran import Ran


@pytest.fixture
def colours(monkeypatch: pytest.MonkeyPatch) -> ColourEncoder:
    """Makes a fake model loadable as ``mini``, and another one as ``other``; everything else is unknown."""
    encoder = ColourEncoder("mini")
    models = {"mini": encoder, "other": ColourEncoder("other", fingerprint="other-2")}

    def load(model: object = "mini", **options: object) -> ColourEncoder:
        if str(model) not in models:
            raise ModelError(f"unknown model {str(model)!r}: choose from {', '.join(models)}")
        return models[str(model)]

    monkeypatch.setattr("hivlp.encode.load", load)
    monkeypatch.setattr("hivlp.retriever.models.load", load)
    return encoder


@pytest.fixture
def hivlp(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Runs the command line in this process: ``hivlp("search", folder, "words", "--json")``."""
    from hivlp.cli.main import main

    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Ran:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ran(code=code, out=captured.out, err=captured.err)

    return run


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was left out is no success: it is said aloud, with the remedy that the reason names."""
    for reason in sorted({report.longrepr[2] for report in terminalreporter.stats.get("skipped", [])}):
        terminalreporter.write_line(reason, yellow=True, bold=True)


@pytest.fixture
def photos(tmp_path: Path, colours: ColourEncoder, hivlp: Callable[..., Ran]) -> Path:
    """An index of a picture of each colour."""
    folder = tmp_path / "photos.hivlp"
    assert hivlp("index", gallery(tmp_path / "pictures"), "--out", folder).code == 0
    return folder
