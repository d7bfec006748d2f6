"""Every recipe page does what it says: its commands run as written, on a small table of drawn scenes.

The hub gives a small random CLIP, and runs that say nothing of their length are made shorter.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from hivlp import scenes
from hivlp.cli.main import main
from hivlp.encode import hub
from hub_models import made

RECIPES = Path(__file__).parents[2] / "docs" / "recipes"


def commands(page: Path) -> list[list[str]]:
    """The command lines of the blocks of a page that are marked `bash run`."""
    marked = re.findall(r"^```bash run$\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    lines = "".join(marked).replace("\\\n", " ").splitlines()
    return [_short(words) for line in lines if (words := shlex.split(line, comments=True))]


def _short(words: list[str]) -> list[str]:
    long = "train" in words and not any(word.startswith("steps=") for word in words)
    return [*words, "--set", "steps=20"] if long else words


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: `photos/` with 30 pictures, `pairs.tsv` and `pairs.csv` with their captions."""
    folder, _, _ = made("clip", tmp_path / "hub", width=512)
    monkeypatch.setattr(hub, "_snapshot", lambda repository, revision: folder)
    (tmp_path / "photos").mkdir()
    rows = ["image\tcaption\tsplit"]
    for number, sample in enumerate(itertools.islice(scenes.samples(30, size=64), 30)):
        (tmp_path / "photos" / f"{number}.jpg").write_bytes(sample.read())
        split = {7: "val", 8: "val", 9: "test"}.get(number % 10, "train")
        rows += [f"photos/{number}.jpg\t{caption}\t{split}" for caption in sample.captions[:2]]
    (tmp_path / "pairs.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    with (tmp_path / "pairs.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(row.split("\t") for row in rows)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", sorted(RECIPES.glob("*.md")), ids=lambda page: page.stem)
def test_the_commands_of_a_recipe_run(page: Path, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = commands(page)
    assert shown, f"{page.name} has no block that is marked `bash run`"
    for words in shown:
        if words[0] == "torchrun":
            done = subprocess.run(
                [sys.executable, "-m", "torch.distributed.run", *words[1:]],
                capture_output=True,
                text=True,
                check=False,
                timeout=200,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            assert done.returncode == 0, f"{shlex.join(words)}\n{done.stderr}"
            continue
        assert words[0] == "hivlp"
        assert main(words[1:]) == 0, f"{shlex.join(words)}\n{capsys.readouterr().err}"
    for result in table.glob("runs/*/result.json"):
        document = json.loads(result.read_text())
        assert document["eval"] and document["failed"] == []
        assert (result.parent / "model" / "image.onnx").is_file()
