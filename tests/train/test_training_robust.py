"""A run may die at any instant and goes on as if it had not; what is bad is named and harms nothing else."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from fault_points import watch
from hivlp.config import Optimisation, TrainConfig
from hivlp.errors import ConfigError
from hivlp.scenes import samples
from hivlp.train.loop import Learner, NotFinite, seed_step, train_step
from hivlp.train.optim import make_optimizer
from hivlp.train.presets import load_preset
from hivlp.train.run import run
from micro import micro_run
from processes import until_patience_ends

OBJECTIVE = {"consistency": 0.1, "binary": {"weight": 0.2}, "vlm": {"weight": 0.2}, "lrm": {"weight": 0.2}}


def quick(**changes: Any) -> TrainConfig:
    """Dropout, words dropped and masked, views cropped: all that is random about a step."""
    sources = [{"spec": "scenes:20?size=32"}]
    values = {
        "sources": sources,
        "validation": [],
        "objective": OBJECTIVE,
        "batch_size": 6,
        "checkpoint_every": 1,
    }
    return micro_run(**{**values, "augmentation": {"word_dropout": 0.2}, **changes})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def same(one: Path, other: Path) -> bool:
    first, second = weights(one), weights(other)
    return all(torch.equal(first[name], second[name]) for name in first)


def digest(folder: Path) -> str:
    """Of the names and contents of all that is below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    contents = [
        f"{path.relative_to(folder)} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files
    ]
    return hashlib.sha256("\n".join(contents).encode()).hexdigest()


def test_a_run_resumes_bit_equal_from_every_fault_point(tmp_path):
    """The folder is copied before and after every call that makes something durable or removes it."""
    whole, copies = tmp_path / "whole", list[Path]()
    config = quick(steps=3)

    def at(name: str) -> None:
        copy = tmp_path / f"copy-{len(copies)}"
        if whole.exists():
            shutil.copytree(whole, copy)
        copies.append(copy)

    with watch(at):
        run(config, out=whole)
    assert len(copies) > 20
    different = {digest(copy): copy for copy in copies}  # many calls change nothing that a kill would leave
    assert len(different) > 10
    for copy in different.values():
        run(config, out=copy, resume=True)
        assert same(whole, copy), copy
        log = (copy / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in log] == [2, 3]


def test_a_run_that_was_killed_goes_on_bit_equal(tmp_path):
    """A real SIGKILL, in another process, at whatever it was doing after the second checkpoint."""
    config = quick(steps=15)
    run(config, out=tmp_path / "whole")
    script = (
        "import sys; from pathlib import Path\n"
        "from hivlp.config import TrainConfig; from hivlp.train.run import run\n"
        "run(TrainConfig.model_validate_json(sys.argv[1]), out=Path(sys.argv[2]))"
    )
    killed = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", script, config.model_dump_json(), str(killed)])
    for _ in until_patience_ends():
        if (killed / "checkpoints" / "step-00000002").exists():
            break
        assert process.poll() is None, "it was to be killed, not to fail"
        time.sleep(0.002)
    process.kill()
    assert process.wait(60) == -signal.SIGKILL
    lines: list[str] = []
    run(config, out=killed, resume=True, progress=lines.append)
    assert any(line.startswith("resumed at step") for line in lines)
    assert same(tmp_path / "whole", killed)


def test_random_numbers_of_a_step_depend_on_nothing_before_it():
    seed_step(3, 7, 0)
    first = torch.rand(3)
    torch.rand(100)
    seed_step(3, 7, 0)
    assert torch.equal(torch.rand(3), first)
    others = []
    for place in ((4, 7, 0), (3, 8, 0), (3, 7, 1), (-3, 7, 0)):
        seed_step(*place)
        others.append(tuple(torch.rand(3).tolist()))
    assert len({tuple(first.tolist()), *others}) == 5


class Root(Learner[None]):
    """A loss whose value is finite where its gradient is not."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))

    def forward(self, batch: None) -> dict[str, torch.Tensor]:
        return {"root": self.weight.sqrt().sum()}


def test_a_gradient_that_is_no_number_stops_before_the_update():
    task = Root()
    optimizer = make_optimizer(task, Optimisation())
    with pytest.raises(NotFinite, match=r"the gradient's norm became (inf|nan)"):
        train_step(task, None, optimizer, rate=0.1)
    assert task.weight.tolist() == [0, 0]


def test_bad_pictures_are_left_out_counted_and_named(tmp_path):
    rows = ["image\tcaption"]
    for number, sample in enumerate(samples(20, size=32)):
        data = sample.read() if number < 12 else b"no picture"
        (tmp_path / f"{number}.jpg").write_bytes(data)
        rows.append(f"{number}.jpg\t{sample.captions[0]}")
    (tmp_path / "pairs.tsv").write_text("\n".join(rows))
    lines: list[str] = []
    config = quick(sources=[{"spec": str(tmp_path / "pairs.tsv")}], steps=2)
    result = run(config, out=tmp_path / "r", progress=lines.append)
    assert [Path(one["uri"]).name for one in result["failed"]] == [f"{n}.jpg" for n in range(12, 20)]
    assert sum(line.startswith("left out: ") and ".jpg: " in line for line in lines) == 5
    assert any(line.startswith("left out: 3 more, listed in") for line in lines)
    assert any("packed 12 pictures" in line and "8 could not be used" in line for line in lines)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("objective.vlm.wieght=1", r"unknown key 'objective\.vlm\.wieght': did you mean 'weight'"),
        ('sources=[{"spec":"x","spilt":"train"}]', r"unknown key 'sources\.0\.spilt': did you mean 'split'"),
        ("distil.modles=x", r"unknown key 'distil\.modles': did you mean 'models'"),
        ("grad_cahce=5", r"unknown key 'grad_cahce': did you mean 'grad_cache'"),
        ("augmentation.word_dropout=1", r"augmentation\.word_dropout: .*(less than|at most)"),
        ("objective.form=triplet", r"objective\.form: .*'softmax' or 'sigmoid'"),
        ("data_workers=0", r"data_workers: must be at least 1"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_would_be_right(override: str, message: str):
    with pytest.raises(ConfigError, match=message):
        load_preset("tiny", overrides=[override])
