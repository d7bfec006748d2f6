"""What tests of training leave out: the graphs and the curves at the end of a run take most of its time."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def short_end(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run in this process ends without graphs and curves, except in tests marked `whole_run`."""
    if request.node.get_closest_marker("whole_run") is None:
        monkeypatch.setattr("hivlp.train.run.export", lambda folder: None)
        monkeypatch.setattr("hivlp.train.run.curves.draw", lambda *arguments, **options: None)
