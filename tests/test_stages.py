"""The picture tower learned stage by stage from a teacher's maps, and locked towers."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hivlp.config import TrainConfig
from hivlp.data.pack import pack
from hivlp.data.sources import open_source
from hivlp.encode.onnx import OnnxEncoder
from hivlp.errors import ConfigError, HivlpError
from hivlp.model.dual import DualEncoder
from hivlp.model.folder import open_model
from hivlp.registry import TABLES
from hivlp.train import run as run_module
from hivlp.train import stages as stages_module
from hivlp.train.locked import LockedTower
from hivlp.train.reinforce import crop_of, pictures, pixels_of
from hivlp.train.run import run
from hivlp.train.stages import segments
from micro import micro_run, model_values, with_detail

TOWER = {
    "kind": "resnet",
    "options": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"},
}


class FakeMaps:
    """Two maps that follow from the colours of a picture: 8 channels of 8 × 8 places, 16 of 4 × 4."""

    shapes = ((8, 4), (16, 8))
    asked = 0

    def __init__(self, path: Path, *, tensors: tuple[int, ...], size: int) -> None:
        self.size, self.key = size, f"fake{size}"
        random = np.random.default_rng(0)
        self._mixes = [random.uniform(0, 1, (3, channels)).astype(np.float32) for channels, _ in self.shapes]
        self._places = [(size // stride, channels) for channels, stride in self.shapes]
        self._ends = np.cumsum([0, *(side * side * channels for side, channels in self._places)])
        self.width = int(self._ends[-1])

    def maps(self, pixels_HWC: NDArray[np.uint8]) -> NDArray[np.int8]:
        type(self).asked += 1
        found = []
        for mix, (side, _) in zip(self._mixes, self._places, strict=True):
            stride = self.size // side
            mean = pixels_HWC.reshape(side, stride, side, stride, 3).mean(axis=(1, 3)) / 255
            found.append(np.clip(mean @ mix * 40, 0, 127).astype(np.int8).reshape(-1))
        return np.concatenate(found)

    def columns(self, number: int) -> slice:
        return slice(int(self._ends[number]), int(self._ends[number + 1]))

    def values(self, number: int, raw_BM: NDArray[np.int8]) -> NDArray[np.float32]:
        side, channels = self._places[number]
        return raw_BM.reshape(-1, side, side, channels).transpose(0, 3, 1, 2) / np.float32(40)


@pytest.fixture(autouse=True)
def fake_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TABLES["maps"], "fake", "test_stages:FakeMaps")


def staged(**changes: Any) -> TrainConfig:
    model = micro_run().model.model_dump()
    stages = {
        "tensors": [1, 2],
        "blocks": [2, 3],
        "steps": [40, 40],
        "joint_steps": 40,
        "sources": [{"spec": "scenes:24?size=32", "views": 2}],
        "batch_size": 16,
        "learning_rate": 3e-3,
    }
    values: dict[str, Any] = {
        "model": {**model, "image": TOWER},
        "teacher": {"kind": "fake", "path": "none", "tensor": 0},
        "steps": 2,
        **changes,
        "stages": stages | changes.get("stages", {}),
    }
    return micro_run(**values)


def learned_losses(lines: list[str]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for line in lines:
        if said := re.match(r"(.*stages?.*): step .*, loss (.*)", line):
            found.setdefault(said[1], []).append(float(said[2]))
    return found


def tower_after_stages(folder: Path) -> dict[str, torch.Tensor]:
    """The picture tower as the stages left it."""
    from safetensors.torch import load_file

    return {
        f"{path.stem}.{name}": value
        for path in sorted((folder / "stages").glob("*.safetensors"))
        for name, value in load_file(path).items()
    }


def test_stages_learn_the_maps_and_make_up_the_tower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stages_module, "_SAY_EVERY", 5)
    lines: list[str] = []
    config = staged(stages={"steps": [600, 600], "joint_steps": 100})
    seen: list[DualEncoder] = []
    fit = run_module.fit

    def watched(task: Any, *rest: Any, **options: Any) -> Any:
        model = DualEncoder(config.model.model_copy(update={"vocabulary": task.model.config.vocabulary}))
        model.load_state_dict(task.model.state_dict())
        seen.append(model.eval())
        return fit(task, *rest, **options)

    monkeypatch.setattr(run_module, "fit", watched)
    run(config, out=tmp_path / "r", progress=lines.append)
    losses = learned_losses(lines)
    assert set(losses) == {"stage 1", "stage 2", "all stages"}
    for stage in ("stage 1", "stage 2"):
        assert losses[stage][-1] < 0.5 * losses[stage][0], stage
    # the whole tower, from pixels on, is near the teacher's last map before the run's first step
    teacher = FakeMaps(Path("none"), tensors=(1, 2), size=32)
    shown = pack(open_source("scenes:24?size=32"), tmp_path / "shown", size=32, key="shown").pixels_NCHW
    raw_NM = np.stack([teacher.maps(pixels.transpose(1, 2, 0)) for pixels in shown])
    wanted_NCHW = torch.from_numpy(teacher.values(1, raw_NM[:, teacher.columns(1)]))
    with torch.no_grad():
        rows_NCHW = seen[0].normalise(torch.from_numpy(np.array(shown)))
        given_NCHW = seen[0].image_tower.backbone(pixel_values=rows_NCHW).last_hidden_state
    varied = wanted_NCHW - wanted_NCHW.mean(dim=(0, 2, 3), keepdim=True)
    assert (given_NCHW - wanted_NCHW).square().sum() < 0.8 * varied.square().sum()


@pytest.mark.parametrize("last_words", ["stage 2: step 30", "all stages: step 30"])
def test_stages_that_were_cut_off_go_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last_words: str
):
    monkeypatch.setattr(stages_module, "_SAVE_EVERY", 20)
    monkeypatch.setattr(stages_module, "_SAY_EVERY", 10)
    config = staged()
    run(config, out=tmp_path / "whole")

    def cut(line: str) -> None:
        if line.startswith(last_words):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(config, out=tmp_path / "cut", progress=cut)
    asked, lines = FakeMaps.asked, list[str]()
    run(config, out=tmp_path / "cut", resume=True, progress=lines.append)
    assert FakeMaps.asked == asked  # the maps are stored
    name = last_words.partition(":")[0]
    assert not any(line.startswith(f"{name}: step 20 ") for line in lines)  # it went on behind the checkpoint
    expected, found = tower_after_stages(tmp_path / "whole"), tower_after_stages(tmp_path / "cut")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_trained_weights_that_are_damaged_are_named(tmp_path: Path):
    run(staged(), out=tmp_path)
    tower, last = tmp_path / "stages" / "tower.safetensors", tmp_path / "checkpoints"
    shutil.rmtree(last)
    tower.write_bytes(tower.read_bytes()[:-50])
    with pytest.raises(HivlpError, match=r"tower\.safetensors can't be read.*delete it, and --resume"):
        run(staged(), out=tmp_path, resume=True)
    tower.unlink()
    run(staged(), out=tmp_path, resume=True)
    assert tower.is_file()


def test_stages_that_do_not_fit_are_refused(tmp_path: Path):
    def refused(message: str, **changes: Any) -> None:
        with pytest.raises((ConfigError, HivlpError), match=message):
            run(staged(**changes), out=tmp_path / "r")
        shutil.rmtree(tmp_path / "r", ignore_errors=True)

    refused(r"2 tensors, 1 blocks and 2 steps", stages={"blocks": [3]})
    refused(r"must be positive, different and ascending", stages={"blocks": [3, 2]})
    refused(r"ends at 2 and the tower has 3 parts", stages={"blocks": [1, 2]})
    refused(r"stages need a teacher", teacher=None)
    refused(r"every source of stages needs views", stages={"sources": [{"spec": "scenes:4"}]})
    refused(r"stages has no sources", stages={"sources": []})


def test_parts_of_a_tower_are_the_tower():
    tower = DualEncoder(staged().model).image_tower.backbone.eval()
    rows = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        states = rows
        for stage in segments(tower, (2, 3), size=32):
            states = stage(states)
        assert torch.equal(states, tower(pixel_values=rows).last_hidden_state)


def detailed_model(**image: Any) -> dict[str, Any]:
    """Settings of the micro model with detail."""
    values = with_detail()
    return model_values(**{**values, "image": {**values["image"], **image}})


def locked(**changes: Any) -> TrainConfig:
    values: dict[str, Any] = {
        "lock_image": True,
        "augmentation": {"mirror": False, "min_area": 0.5},
        "sources": [{"spec": "scenes:48?size=32", "views": 2, "captions": 2}],
        "optimisation": {"learning_rate": 5e-3, "warmup_steps": 2},
        "steps": 30,
        **changes,
    }
    return micro_run(**values)


def test_a_locked_tower_stays_and_the_rest_learns(tmp_path: Path):
    run(locked(), out=tmp_path / "r")
    log = [json.loads(line) for line in (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in log if "loss" in line]
    assert steps[-1]["loss"] < 0.9 * steps[0]["loss"]
    model = open_model(tmp_path / "r" / "model")
    torch.manual_seed(0)
    begun = DualEncoder(model.config)
    trained, start = model.image_tower.state_dict(), begun.image_tower.state_dict()
    assert all(torch.equal(trained[name], start[name]) for name in start)
    assert not torch.equal(model.image_levels.head.weight, begun.image_levels.head.weight)


def test_stored_features_are_those_of_the_tower(tmp_path: Path):
    """The slow twin: the tower, asked for the same crops again."""
    run(locked(steps=1), out=tmp_path / "r")
    model = open_model(tmp_path / "r" / "model").eval()
    source = open_source("scenes:48?size=32")
    (folder,) = (tmp_path / "r" / "packs").iterdir()
    packed = pack(source, folder.parent, size=32, key="scenes:48?size=32|None")
    (stored,) = packed.folder.glob("teacher-*.f16")
    features_NVF = np.memmap(stored, np.float16, "r", shape=(48, 2, model.image_tower.width))
    from hivlp.train.reinforce import view_boxes

    boxes_NV4 = view_boxes(48, views=2, min_area=0.5, seed=0)
    for row, image in list(pictures(source, packed, skip=0))[:5]:
        crops = [pixels_of(crop_of(image, box_4), 32) for box_4 in boxes_NV4[row]]
        with torch.no_grad():
            expected_VF = model.image_features(torch.from_numpy(np.stack(crops))).numpy()
        np.testing.assert_allclose(features_NVF[row], expected_VF, atol=2e-3, rtol=2e-3)


def test_detail_learns_over_a_locked_tower_from_what_is_stored_of_it(tmp_path: Path):
    run(locked(model=detailed_model(), steps=8), out=tmp_path / "r")
    model = open_model(tmp_path / "r" / "model").eval()
    torch.manual_seed(0)
    begun = DualEncoder(model.config)
    backbone, start = model.image_tower.backbone.state_dict(), begun.image_tower.backbone.state_dict()
    assert all(torch.equal(backbone[name], start[name]) for name in start)
    assert model.image_tower.detail is not None and begun.image_tower.detail is not None
    for name, value in begun.image_tower.detail.named_parameters():
        assert not torch.equal(model.image_tower.detail.get_parameter(name), value), name
    # the slow twin: what is stored of a whole picture gives the features of its pixels
    tower = LockedTower(model)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)
    with torch.no_grad():
        seen = torch.from_numpy(tower.features(pixels).astype(np.float32))
        assert seen.shape == (3, tower.width)
        expected = model.image_features(torch.from_numpy(pixels))
        torch.testing.assert_close(model.image_tower.features(seen), expected, atol=2e-2, rtol=2e-2)
    encoder = OnnxEncoder(tmp_path / "r" / "model", threads=1)
    with torch.no_grad():
        by_torch = model.encode_pixels(torch.from_numpy(pixels))
    for width in model.config.levels.widths:
        rows = encoder.encode_pixels(pixels)[width]
        np.testing.assert_allclose(rows, by_torch[width].numpy(), atol=1e-4)


def test_the_end_of_a_locked_tower_learns_from_what_is_stored_of_its_middle(tmp_path: Path):
    rates = {"learning_rate": 5e-3, "warmup_steps": 2, "top_rate": 0.5}
    config = locked(model=detailed_model(), steps=8, optimisation=rates)
    run(config, out=tmp_path / "r")
    model = open_model(tmp_path / "r" / "model").eval()
    torch.manual_seed(0)
    begun = DualEncoder(model.config)
    begun.image_tower.thaw_top(size=32)
    top = {id(parameter) for part in begun.image_tower.top for parameter in part.parameters()}
    learned = set[bool]()
    for name, start in begun.image_tower.backbone.named_parameters():
        is_kernel = id(start) in top and start.ndim == 4
        assert start.requires_grad or not is_kernel
        moved = not torch.equal(model.image_tower.backbone.get_parameter(name), start)
        assert moved == is_kernel, name
        learned.add(moved)
    assert learned == {False, True}
    for name, start in begun.image_tower.backbone.named_buffers():  # statistics stay with what was learned
        assert torch.equal(model.image_tower.backbone.get_buffer(name), start), name
    # one that was cut off and went on is the same
    run(config, out=tmp_path / "again", stop_after=3)
    run(config, out=tmp_path / "again", resume=True)
    again = open_model(tmp_path / "again" / "model").state_dict()
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())


def test_what_is_stored_teaches_the_end_of_a_tower_what_pixels_would():
    """The slow twin: the gradients of the whole tower, from the pixels on."""
    torch.manual_seed(0)
    model = DualEncoder(locked(model=detailed_model()).model).eval()
    tower = model.image_tower
    rows = model.normalise(torch.randint(0, 256, (6, 3, 32, 32)))
    with torch.no_grad():
        seen = tower.seen(rows)
    weight = torch.rand(6, tower.width)
    tower.requires_grad_(True)
    (tower(rows) * weight).sum().backward()
    expected = {name: parameter.grad for name, parameter in tower.named_parameters()}
    tower.zero_grad()
    tower.backbone.requires_grad_(False)
    tower.thaw_top(size=32)
    (tower.features(seen) * weight).sum().backward()
    thawed = [name for name, parameter in tower.backbone.named_parameters() if parameter.requires_grad]
    assert thawed
    for name in thawed:
        found, wanted = tower.backbone.get_parameter(name).grad, expected[f"backbone.{name}"]
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {"lock_image": False, "sources": [{"spec": "scenes:48?size=32"}]},
        {"model": model_values()},
        {"model": detailed_model(pooling="own")},
    ],
)
def test_a_tower_whose_end_learns_must_be_locked_and_have_detail(changes: dict[str, Any]):
    with pytest.raises(ConfigError, match=r"optimisation\.top_rate=0\.5 trains the end of a locked picture"):
        locked(**{"model": detailed_model(), "optimisation": {"top_rate": 0.5}, **changes})


def test_the_end_of_a_tower_is_trained_or_adapted():
    with pytest.raises(ConfigError, match=r"top_rate=0\.5 trains weights that lora\.rank=2 leaves"):
        locked(model=detailed_model(), optimisation={"top_rate": 0.5}, start="mini", lora={"rank": 2})


def test_another_tower_has_other_features():
    config = locked().model
    torch.manual_seed(0)
    first, second = DualEncoder(config), DualEncoder(config)
    assert LockedTower(first).key != LockedTower(second).key
    second.load_state_dict(first.state_dict())
    assert LockedTower(first).key == LockedTower(second).key


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sources": [{"spec": "scenes:8"}]}, r"scenes:8 has none; give it views=4"),
        ({"augmentation": {"mirror": True}}, r"no mirrored views; set augmentation\.mirror=false"),
        ({"objective": {"lrm": {"weight": 1.0}}}, r"objective\.lrm\.weight needs more of the picture tower"),
        ({"objective": {"feature": 1.0}}, r"objective\.feature needs more of the picture tower"),
    ],
)
def test_what_a_locked_tower_can_not_give_is_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        locked(**changes)


def test_features_of_a_locked_tower_are_standardised(tmp_path: Path):
    """By running statistics that the model keeps, and the graphs with it."""
    model = micro_run().model.model_dump()
    config = locked(model={**model, "image": {**model["image"], "norm": True}})
    run(config, out=tmp_path / "r")
    trained = open_model(tmp_path / "r" / "model").eval()
    norm = trained.image_tower.behind[0]
    assert isinstance(norm, torch.nn.BatchNorm1d)
    (stored,) = (tmp_path / "r" / "packs").glob("*/teacher-*.f16")
    features_NVF = np.memmap(stored, np.float16, "r", shape=(48, 2, trained.image_tower.width))
    mean_F = torch.from_numpy(features_NVF.astype(np.float32).mean(axis=(0, 1)))
    torch.testing.assert_close(norm.running_mean, mean_F, atol=0.1, rtol=0.1)
    pixels = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        rows_BF = trained.image_tower.seen(trained.normalise(pixels))
        expected_BF = (rows_BF - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
        torch.testing.assert_close(trained.image_features(pixels), expected_BF)
