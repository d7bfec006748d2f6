"""``hivlp doctor`` says what is there, what is missing, and how to install it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

import hivlp as package
from ran import Ran


def test_doctor_names_what_is_missing_with_its_remedy(
    hivlp: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hivlp.install.missing", lambda extra: ["rawpy"] if extra == "photos" else [])
    found = json.loads(hivlp("doctor", "--json").out)
    assert found["hivlp"] == package.__version__
    assert found["mini"]["text_ms"] > 0 and found["mini"]["image_ms"] > 0
    assert found["extras"]["photos"]["missing"] == ["rawpy"]
    assert found["extras"]["serve"] == {
        "for": found["extras"]["serve"]["for"],
        "missing": [],
        "install": None,
    }
    told = hivlp("doctor").out
    assert "camera RAW and JPEG XL" in told and "missing: rawpy" in told
    assert found["extras"]["photos"]["install"] in told
