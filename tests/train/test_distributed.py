"""Several processes: the same numbers as one, and clear refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from distributed_task import OBJECTIVE, gradients_of
from early_run import ended_early
from hivlp.errors import ConfigError
from hivlp.train import distributed
from hivlp.train.distributed import World, choose_device, is_leader, joined
from hivlp.train.run import run
from micro import micro_run, model_values

SUPPORT = Path(__file__).parents[1] / "support"
NOT_THE_SAME = ("pictures_per_s", "data_wait", "memory_mb")


def torchrun(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Two processes on this machine."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    path = os.pathsep.join([str(SUPPORT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [*command, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )


def test_two_processes_find_what_one_finds(tmp_path):
    done = torchrun(SUPPORT / "world_script.py", tmp_path)
    assert done.returncode == 0, done.stderr
    first, second = (load_file(tmp_path / f"{rank}.safetensors") for rank in (0, 1))

    assert first["mean"].item() == 0.5
    assert first["told"].item() == second["told"].item() == 3.25, "the leader's number is everybody's"
    assert first["absent"].tolist() == second["absent"].tolist() == [0.5, 0.5]
    assert first["gathered"].tolist() == second["gathered"].tolist() == [[0, 0], [1, 1], [1, 1]]
    # the gradients of both processes' losses add up: twice the weight of each row's place
    assert first["gathered.grad"].tolist() == [[2, 2]]
    assert second["gathered.grad"].tolist() == [[4, 4], [6, 6]]
    with safe_open(tmp_path / "0.safetensors", "pt") as file:
        assert file.metadata()["told"].startswith(
            "the processes do not agree on a number: 0, 1; --out must be"
        )

    torch.manual_seed(0)
    norm, rows = nn.BatchNorm2d(3), torch.randn(6, 3, 4, 4).requires_grad_()
    out = norm(rows)
    (out.square() * torch.arange(3.0)[:, None, None] + out**3).mean().backward()
    for rank, found in enumerate((first, second)):
        torch.testing.assert_close(found["norm"], out[rank::2].detach())
        torch.testing.assert_close(found["norm.input"], rows.grad[rank::2])
        torch.testing.assert_close(found["norm.0.weight.grad"], norm.weight.grad)
        torch.testing.assert_close(found["norm.0.bias.grad"], norm.bias.grad)
        torch.testing.assert_close(found["norm.0.running_mean"], norm.running_mean)
        torch.testing.assert_close(found["norm.0.running_var"], norm.running_var)

    alone = gradients_of(World()) | gradients_of(World(), grad_cache=8)
    assert len(alone) > 80 and any("masked" in name for name in alone)
    for name, expected in alone.items():
        torch.testing.assert_close(
            first[name], expected, atol=2e-5, rtol=1e-3, msg=lambda m, n=name: f"{n}: {m}"
        )
        assert torch.equal(first[name], second[name])


@pytest.mark.whole_run
def test_a_run_of_two_processes_follows_the_run_of_one(tmp_path):
    """The whole command, with dropout off: the same losses at every step, and one folder written by one."""
    text = {**model_values()["text"], "dropout": 0.0}
    text["options"] = {**text["options"], "hidden_dropout_prob": 0.0}
    # a fusion head always has dropout, which differs between processes; `gradients_of` covers it
    objective = {**OBJECTIVE, "form": "softmax", "itm": {"weight": 0}, "reranker": {}}
    config = micro_run(
        model=model_values(text=text),
        objective=objective,
        log_every=1,
        steps=6,
        evaluate_every=5,
        early_stopping={"patience": 5},
    )
    run(config, out=tmp_path / "one")
    settings = [
        f"{name}={json.dumps(value)}" for name, value in config.model_dump().items() if name != "preset"
    ]
    done = torchrun(
        "-m",
        "hivlp",
        "train",
        "--out",
        tmp_path / "two",
        *(a for s in settings for a in ("--set", s)),
        "--json",
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1, "only one process answers"
    assert json.loads(done.stdout)["eval"][0]["images"] == 12
    assert "in 2 processes" in done.stderr
    logs = [(tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("one", "two")]
    assert len(logs[0]) == len(logs[1]) == 8
    for one, two in zip(*(map(json.loads, lines) for lines in logs), strict=True):
        if "evaluation" in one:
            assert one["step"] == two["step"]
            continue
        losses = {name: value for name, value in one.items() if name not in NOT_THE_SAME}
        assert {name: two[name] for name in losses} == pytest.approx(losses, rel=2e-3)
    assert sorted(p.name for p in (tmp_path / "one").iterdir()) == sorted(
        p.name for p in (tmp_path / "two").iterdir()
    )


def test_a_batch_that_can_not_be_shared_is_refused():
    with pytest.raises(ConfigError, match=r"batch_size=10 .* multiple of the 4 processes; set it to 8 or 12"):
        World(0, 4).check_batch(10)
    with pytest.raises(ConfigError, match=r"set it to 4$"):
        World(0, 4).check_batch(3)
    World(0, 4).check_batch(12)


def test_groups_that_do_not_divide_the_processes_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    with (
        pytest.raises(ConfigError, match="gather_group=3 does not divide the 4 processes"),
        joined("cpu", gather_group=3),
    ):
        pass


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match=r"process 2 of this machine finds 2 GPUs; start at most that many"):
        choose_device("auto", local_rank=2)
    assert choose_device("cpu", local_rank=2) == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ConfigError, match="device=cuda, and torch sees no GPU"):
        choose_device("cuda")


def test_one_process_is_a_world_of_its_own(monkeypatch):
    assert is_leader()
    monkeypatch.setenv("RANK", "1")
    assert not is_leader()
    monkeypatch.delenv("RANK")
    with distributed.joined("cpu") as world:
        rows = torch.ones(2, 3)
        assert world.leads and world.gather(rows) is rows and world.mean(rows) is rows
        assert world.leader_first(lambda: 5) == 5
        world.check_same(3, "anything")


def test_two_processes_end_early_at_the_same_step_with_the_weights_of_one(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    expected = ended_early(one)
    assert (expected["steps"], expected["early_stopping"]["best_step"]) == (4, 2)
    done = torchrun(SUPPORT / "early_run.py", two)
    assert done.returncode == 0, done.stderr
    for rank in (0, 1):
        told = json.loads((two / f"ended-{rank}.json").read_text())
        assert told["steps"] == 4
        assert told["early_stopping"] == {"ended_early": True, "best_step": 2, "best_AR": 5.0}
    mine, theirs = (load_file(folder / "model" / "model.safetensors") for folder in (one, two))
    best, last = (
        load_file(two / "checkpoints" / f"step-{step:08d}" / "state.safetensors") for step in (2, 4)
    )
    for name, weight in theirs.items():
        assert torch.equal(weight, best[f"task.model.{name}"]), name
    moved = torch.stack([(w - last[f"task.model.{n}"]).abs().max() for n, w in theirs.items()]).max()
    apart = torch.stack([(w - mine[n]).abs().max() for n, w in theirs.items()]).max()
    assert apart < 0.05 * moved
