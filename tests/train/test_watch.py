"""What a run tells of itself, and when it ends before its last step."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import hivlp.train.run
from hivlp.config import TrainConfig
from hivlp.errors import ConfigError, MissingExtraError
from hivlp.train import curves, watch
from hivlp.train.checkpoint import Best
from hivlp.train.run import run
from micro import micro_run


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_the_best_evaluation_is_the_first_of_equals():
    best = Best()
    for step, average in enumerate([0.0, 3.0, 2.0, 3.0, 4.0, 1.0], start=1):
        best = best.after(step, average)
    assert best == Best(step=5, average=4.0, since=1)
    assert Best().after(1, 3.0).after(2, 3.0) == Best(1, 3.0, since=1)
    assert [Best(1, 3.0, since).is_final(2) for since in range(4)] == [False, False, True, True]
    assert not Best(1, 3.0, 99).is_final(0)


def falling(**changes: Any) -> TrainConfig:
    """A run that evaluates every two of its twelve steps and waits for two evaluations."""
    values = {"steps": 12, "evaluate_every": 2, "early_stopping": {"patience": 2}, "batch_size": 6}
    return micro_run(**{**values, "sources": [{"spec": "scenes:20?size=32"}], **changes})


@pytest.fixture
def worse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluations whose AR is best after step 4, whatever the model; they depend on the log alone."""
    averages = {0: 1.0, 2: 5.0, 4: 2.0, 6: 3.0}
    log: list[Path] = []
    real = hivlp.train.run._claim

    def claim(out: Path, *arguments: Any, **options: Any) -> None:
        log[:] = [out]
        real(out, *arguments, **options)

    def evaluate(*_: Any) -> list[dict[str, Any]]:
        known = [line["step"] for line in lines(log[0]) if "evaluation" in line]
        average = averages.get(max(known, default=0), 0.0)
        both = {"R@1": 1.0, "R@5": 2.0, "R@10": 3.0}
        ways = {"text_to_image": both, "image_to_text": both, "AR": average}
        return [{"data": "made up", "protocol": "none", "images": 1, **ways, "levels": {"8": ways}}]

    monkeypatch.setattr(hivlp.train.run, "_claim", claim)
    monkeypatch.setattr(hivlp.train.run, "_evaluate", evaluate)


def test_a_run_ends_early_with_the_weights_of_its_best_evaluation(tmp_path, worse):
    result = run(falling(), out=tmp_path / "r")
    assert result["steps"] == 8
    assert result["early_stopping"] == {"ended_early": True, "best_step": 4, "best_AR": 5.0}
    run(micro_run(**falling().model_dump(exclude={"early_stopping"})), out=tmp_path / "four", stop_after=4)
    best, four = weights(tmp_path / "r"), weights(tmp_path / "four")
    assert all(torch.equal(best[name], four[name]) for name in best)
    assert "| weights of step | 4, the best AR" in (tmp_path / "r" / "model" / "README.md").read_text()
    kept = sorted(path.name for path in (tmp_path / "r" / "checkpoints").iterdir())
    assert kept == ["step-00000004", "step-00000006", "step-00000008"]


@pytest.mark.parametrize("cut", [4, 5, 8])
def test_early_stopping_resumes_with_its_patience(tmp_path, worse, cut: int):
    """Wherever a run is cut off it ends at the same step, with the same weights and the same log."""
    run(falling(), out=tmp_path / "whole")
    parts = tmp_path / "parts"
    run(falling(), out=parts, stop_after=cut)
    newest = parts / "checkpoints" / f"step-{cut:08d}"
    if cut % 2 and newest.exists():  # as if killed after the last evaluation's checkpoint
        shutil.rmtree(newest)
    result = run(falling(), out=parts, resume=True)
    assert (result["steps"], result["early_stopping"]["best_step"]) == (8, 4)
    one, two = weights(tmp_path / "whole"), weights(parts)
    assert all(torch.equal(one[name], two[name]) for name in one)
    evaluated = [
        [line for line in lines(tmp_path / name) if "evaluation" in line] for name in ("whole", "parts")
    ]
    assert evaluated[0] == evaluated[1] and len(evaluated[0]) == 4
    again = run(falling(), out=parts, resume=True)
    assert again["steps"] == 8, "a run that has ended early does not go on"


def test_without_something_to_evaluate_on_there_is_no_early_stopping(tmp_path):
    with pytest.raises(ConfigError, match=r"patience=2 counts evaluations.* set evaluate_every"):
        micro_run(early_stopping={"patience": 2})
    table = tmp_path / "pairs.tsv"
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    table.write_text("image\tcaption\na.png\ta picture\n")
    said: list[str] = []
    config = falling(validation=[{"spec": str(table), "split": "val"}])
    result = run(config, out=tmp_path / "r", progress=said.append)
    assert any("no early stopping" in line and "pairs.tsv (split 'val')" in line for line in said)
    assert (result["early_stopping"], result["steps"]) == (None, config.steps)


@pytest.mark.whole_run
def test_a_run_draws_its_curves_and_logs_its_evaluations(tmp_path):
    told: list[str] = []
    result = run(micro_run(evaluate_every=4, steps=8), out=tmp_path / "r", progress=told.append)
    log = lines(tmp_path / "r")
    evaluation = next(line["evaluation"] for line in log if "evaluation" in line)
    (name,) = evaluation.keys() - {"AR"}
    assert list(evaluation[name]["levels"]) == ["8", "16", "32"]
    assert evaluation["AR"] == evaluation[name]["levels"]["32"]
    assert all(line["memory_mb"] > 10 for line in log if "loss" in line)
    assert any(" MB  " in line and line.endswith(" left") for line in told)
    assert "training on cpu in float32" in told
    card = (tmp_path / "r" / "model" / "README.md").read_text()
    if importlib.util.find_spec("matplotlib"):
        assert result["curves"] == str(tmp_path / "r" / "curves.png")
        with Image.open(tmp_path / "r" / "model" / "curves.png") as picture:
            assert len(picture.convert("RGB").getcolors(maxcolors=1 << 20) or []) > 50
        assert "](curves.png)" in card
    if importlib.util.find_spec("tensorboard"):
        assert scalars(tmp_path / "r" / "tensorboard")["train/loss"] == [
            (line["step"], pytest.approx(line["loss"])) for line in log if "loss" in line
        ]


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    return {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@pytest.mark.whole_run
def test_without_the_extra_there_is_no_picture_and_no_board(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    told: list[str] = []
    result = run(micro_run(steps=2, validation=[]), out=tmp_path / "r", progress=told.append)
    assert result["curves"] is None
    assert any(line.startswith("no curves drawn: ") and "hivlp[watch]" in line for line in told)
    assert not (tmp_path / "r" / "tensorboard").exists()
    assert "curves.png" not in (tmp_path / "r" / "model" / "README.md").read_text()
    with pytest.raises(MissingExtraError):
        curves.draw(tmp_path / "r" / "metrics.jsonl", tmp_path / "c.png")


@pytest.mark.whole_run
def test_a_log_without_steps_has_no_curves(tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "log").write_text('{"step": 3, "evaluation": {}}\n')
    assert curves.draw(tmp_path / "log", tmp_path / "c.png") is None


def test_the_clock_leaves_out_what_is_no_training(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    clock = watch.Clock()
    now[0] = 4.0
    clock.stepped(100, waited=1.0)
    with clock.paused():
        now[0] = 60.0
    assert (clock.rate(), clock.wait_share()) == (25.0, 0.25)


def test_what_is_left_counts_evaluations(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    one = watch.Watch(tmp_path, start=100, steps=200, device=torch.device("cpu"))
    with one.clock.paused():
        now[0] = 3_600.0
    numbers = {"pictures_per_s": 10.0, "data_wait": 0.03, "memory_mb": 1_234}
    line = one.line(150, {"hrl_8": 1.5}, numbers)
    assert line == "step 150/200  hrl_8 1.500  10 pictures/s  waiting for data 3%  1,234 MB  1:00:00 left"
    one.close()


def test_a_precision_that_the_processor_imitates_is_warned_about(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    cpu = torch.device("cpu")
    assert "set precision=float32" in (watch.slow_here(cpu, "bfloat16") or "")
    assert watch.slow_here(cpu, "float32") is watch.slow_here(torch.device("cuda"), "bfloat16") is None
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert watch.slow_here(cpu, "bfloat16") is None


def test_a_cpu_run_beside_a_gpu_is_warned_about(tmp_path, monkeypatch):
    assert watch.gpu_left_idle(torch.device("cuda")) is None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    told: list[str] = []
    run(micro_run(device="cpu", steps=1, validation=[]), out=tmp_path / "r", progress=told.append)
    assert any("!!! WARNING: this machine has 2 GPUs and the run uses the CPU" in line for line in told)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(Path, "is_dir", lambda path: path == Path("/proc/driver/nvidia/gpus"))
    assert "install a build of torch for CUDA" in (watch.gpu_left_idle(torch.device("cpu")) or "")
    monkeypatch.setattr(Path, "is_dir", lambda path: False)
    assert watch.gpu_left_idle(torch.device("cpu")) is None
