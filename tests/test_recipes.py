"""The commands of the recipes, run as they are written: blocks marked `bash run`, on small data.

Only runs that say nothing of their length are made shorter.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

import hivlp as package
from hivlp.data import scenes
from hivlp.encode import hub
from hub_models import made
from ran import Ran
from test_docs import DOCS, blocks

RECIPES = DOCS / "recipes"


def commands(page: Path) -> list[list[str]]:
    """The lines of the blocks that are to be run, each as its words."""
    lines = [
        line
        for block in blocks(page)
        if block.language == "bash" and "run" in block.words
        for line in block.text.replace("\\\n", " ").splitlines()
    ]
    return [_short(shlex.split(line)) for line in lines]


def _short(words: list[str]) -> list[str]:
    long = words[1] == "train" and not any(word.startswith("steps=") for word in words)
    return [*words, "--set", "steps=20"] if long else words


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a table of some pictures, in which the hub gives a small CLIP of the real one's width."""
    monkeypatch.chdir(tmp_path)
    folder, _, _ = made("clip", tmp_path / "hub", width=512)
    monkeypatch.setattr(hub, "_snapshot", lambda repository, revision: folder)
    (tmp_path / "photos").mkdir()
    rows = ["image,caption,split"]
    for number, sample in enumerate(scenes.samples(40, size=32)):
        (tmp_path / "photos" / f"{number}.jpg").write_bytes(sample.read())
        rows.append(f'photos/{number}.jpg,"{sample.captions[0]}",{"val" if number % 4 == 0 else "train"}')
    (tmp_path / "pairs.csv").write_text("\n".join(rows), encoding="utf-8")
    return tmp_path


def test_fine_tuning_a_pretrained_model_goes_as_written(shop: Path, hivlp: Callable[..., Ran]) -> None:
    ran = commands(RECIPES / "fine-tune-clip.md")
    assert {line[1] for line in ran} == {"eval", "train", "index", "search", "export"}
    for words in ran:
        done = hivlp(*words[1:])
        assert done.code == 0, f"{shlex.join(words)}\n{done.err}"
    for name in ("shop", "lora", "more"):
        assert package.load(shop / "runs" / name / "model").widths == (32, 64, 128, 512)
