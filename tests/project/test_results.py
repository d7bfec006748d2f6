"""Published results say whose numbers they are: of the shipped model, or of one that the page names."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hivlp.encode.base import fingerprint, model_folder

ROOT = Path(__file__).parents[2]
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("*.json"))
# what these compare was trained or drawn at random there, and is in no folder
OF_THEIR_OWN = ("flickr8k-",)


def model_of(document: dict[str, Any]) -> str | None:
    """The fingerprint of the model whose embeddings a result is about."""
    data = document.get("data")
    return document.get("model") or (data.get("model") if isinstance(data, dict) else None)


def pages_with(name: str) -> list[Path]:
    """The pages that link to a result file."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("README.md")]
    return [page for page in pages if f"results/{name}" in page.read_text(encoding="utf-8")]


def is_honest(page: str, model: str, shipped: str) -> bool:
    return model == shipped or f"`{model}`" in page


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.name)
def test_every_published_result_is_of_the_shipped_model_or_its_page_names_another(path: Path):
    model = model_of(json.loads(path.read_text()))
    if path.name.startswith(OF_THEIR_OWN):
        assert model is None
        return
    assert model is not None and re.fullmatch(r"[0-9a-f]{16}", model), f"{path.name} names no model"
    pages = pages_with(path.name)
    assert pages, f"no page shows {path.name}"
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert is_honest(text, model, fingerprint(model_folder("mini"))), f"{page} has stale numbers"


def test_a_stale_number_is_noticed():
    assert is_honest("a table", "a" * 16, shipped="a" * 16)
    assert not is_honest("a table", "a" * 16, shipped="b" * 16)
    assert is_honest(f"of an earlier model (fingerprint `{'a' * 16}`)", "a" * 16, shipped="b" * 16)
