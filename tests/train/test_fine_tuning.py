"""Runs that start from trained weights: the same vectors before, only what is to be trained after."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

import hivlp
from hivlp import scenes
from hivlp.config import Lora, Optimisation, TrainConfig
from hivlp.data.sources import open_source
from hivlp.encode.torch import TorchEncoder
from hivlp.errors import ConfigError, ModelError
from hivlp.export.convert import converted, preprocessing_of
from hivlp.model.folder import open_model
from hivlp.train.batches.pack import Pack, pack
from hivlp.train.freeze import parts, rate_shares
from hivlp.train.optim import make_optimizer
from hivlp.train.presets import load_preset
from hivlp.train.run import run
from hivlp.train.starts.lora import adapt, merge
from hivlp.train.starts.trained import open_trainable, starting_model
from hub_models import FAMILIES, SQUARE, made
from micro import micro_folder, micro_model

TEXTS = ["a dog", "Two cats, left of a 7.30 boat", "x", "", "a very long text about nothing at all"]
SCENES = "scenes:40?size=32"
LEARNABLE = [family for family in FAMILIES if family != "siglip2"]


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of every family, and one of our own with a residual network and BERT."""
    root = tmp_path_factory.mktemp("starts")
    found = {family: made(family, root / family)[0] for family in FAMILIES}
    return {**found, "hivlp": micro_folder(root / "hivlp")}


def pictures(*sizes: tuple[int, int]) -> list[Image.Image]:
    """Drawn scenes, of the side that the small models take unless another is asked for."""
    drawn = (scenes.render(scenes.describe(seed), size=96) for seed in range(3))
    return [one.resize(size) for one, size in zip(drawn, sizes or ((32, 32),) * 3, strict=True)]


def packs(folder: Path, size: int = 32) -> list[Pack]:
    return [pack(open_source(SCENES), folder, size=size, key="scenes")]


def config(start: Path, *overrides: str, preset: str = "small", steps: int = 4) -> TrainConfig:
    given = [
        f"steps={steps}",
        "batch_size=8",
        "threads=1",
        "log_every=1",
        "checkpoint_every=3",
        "optimisation.warmup_steps=0",
        'sources=[{"spec":"{data}","crop":false}]',
        "validation=[]",
        *overrides,
    ]
    return load_preset(preset, data=SCENES, start=str(start), overrides=given)


def rows(encoder: Any, side: int = 32) -> np.ndarray:
    """Pictures and texts at the widest level, below each other."""
    given = pictures(*[(side, side)] * 3)
    return np.concatenate([encoder.encode_images(given).fine, encoder.encode_texts(TEXTS).fine])


def whole(family: str) -> int:
    """The side of a square of which the small model of a family cuts its input out unscaled."""
    return 36 if family == "align" else 32


@pytest.mark.parametrize("family", LEARNABLE)
def test_before_training_vectors_are_those_of_the_frozen_model(starts: dict[str, Path], family: str) -> None:
    model, tokenizer = converted(starts[family], name=family)
    frozen = hivlp.load(starts[family])
    ours = TorchEncoder.of(model, tokenizer)
    assert ours.widths == frozen.widths
    np.testing.assert_allclose(rows(ours, whole(family)), rows(frozen, whole(family)), atol=1e-5)
    shapes = pictures((50, 70), (91, 40), (20, 33))  # a scaled pixel may be rounded otherwise
    assert ((ours.encode_images(shapes).fine * frozen.encode_images(shapes).fine).sum(axis=1) > 0.9999).all()


@pytest.mark.parametrize("family", LEARNABLE)
@pytest.mark.parametrize("kind", ["nested", "separate"])
def test_levels_start_as_a_rotation_that_keeps_every_cosine(
    starts: dict[str, Path], family: str, kind: str, tmp_path: Path
) -> None:
    frozen = hivlp.load(starts[family])
    fine = frozen.widths[0]
    asked = config(starts[family], f"model.levels.widths=[4,8,{fine}]", f"model.levels.kind={kind}")
    started = hivlp.load(starting_model(asked, packs(tmp_path), tmp_path / "start", lambda line: None))
    assert started.widths == (4, 8, fine)
    before, after = rows(frozen, whole(family)), rows(started, whole(family))
    np.testing.assert_allclose(after @ after.T, before @ before.T, atol=1e-5)
    assert np.abs(after - before).max() > 1e-2, "it is a rotation"
    scale = open_model(tmp_path / "start").logit_scales[4].detach()
    assert scale == pytest.approx(open_trainable(str(starts[family]))[0].logit_scales[fine].detach())


def test_narrow_levels_start_where_the_training_data_is_longest(
    starts: dict[str, Path], tmp_path: Path
) -> None:
    asked, taken = config(starts["clip"], "model.levels.widths=[4,24]"), packs(tmp_path)
    started = open_model(starting_model(asked, taken, tmp_path / "start", lambda line: None))
    frozen = converted(starts["clip"], name="clip")[0]
    pixels = torch.from_numpy(np.array(taken[0].pixels_NCHW))
    turned = started.image_levels.head(started.image_features(pixels))
    plain = frozen.image_levels.head(frozen.image_features(pixels))
    assert turned[:, :4].square().sum() > 0.9 * turned.square().sum() > 2 * plain[:, :4].square().sum()


def test_one_level_is_the_frozen_model_itself(starts: dict[str, Path], tmp_path: Path) -> None:
    asked = config(starts["clip"], "model.levels.widths=[24]")
    started = hivlp.load(starting_model(asked, packs(tmp_path), tmp_path / "start", lambda line: None))
    np.testing.assert_allclose(rows(started), rows(hivlp.load(starts["clip"])), atol=1e-5)


def test_a_model_of_ours_starts_as_it_is_and_gives_up_levels_by_prefix(
    starts: dict[str, Path], tmp_path: Path
) -> None:
    old = hivlp.load(starts["hivlp"])
    same = starting_model(config(starts["hivlp"]), packs(tmp_path), tmp_path / "same", lambda line: None)
    np.testing.assert_array_equal(rows(hivlp.load(same)), rows(old))
    fewer = config(starts["hivlp"], "model.levels.widths=[4,16]", "model.levels.kind=separate")
    narrow = hivlp.load(starting_model(fewer, packs(tmp_path), tmp_path / "fewer", lambda line: None))
    np.testing.assert_allclose(
        rows(narrow),
        old.encode_images(pictures())[16].tolist() + old.encode_texts(TEXTS)[16].tolist(),
        atol=1e-6,
    )


def test_frozen_parts_stay_still_and_have_no_optimiser_state(starts: dict[str, Path], tmp_path: Path) -> None:
    """Half of the steps train the levels, the rest the last block too; batch norms are among the frozen."""
    out, asked = tmp_path / "r", config(starts["hivlp"], "checkpoint_every=2")
    run(asked, out=out)
    start = load_file(out / "start" / "model.safetensors")
    halfway = load_file(out / "checkpoints" / "step-00000002" / "state.safetensors")
    end = load_file(out / "checkpoints" / "step-00000004" / "state.safetensors")

    def moved(state: dict[str, torch.Tensor]) -> set[str]:
        return {name for name, value in start.items() if not torch.equal(value, state[f"task.model.{name}"])}

    def kept(state: dict[str, torch.Tensor]) -> int:
        return len({name.split(".")[1] for name in state if name.startswith("optimizer.")})

    heads = {name for name in start if "_tower." not in name}
    assert moved(halfway) == heads
    assert kept(halfway) == len(heads)
    last = {name for name in start if "stages.1." in name or ("text_tower" in name and ".layer.0." in name)}
    assert any("running_mean" in name for name in start) and heads < moved(end) <= heads | last
    assert kept(end) == len(heads) + len({name for name in last if "running_" not in name})


@pytest.mark.parametrize("lora", [0, 2])
@pytest.mark.parametrize("start", ["hivlp", "clip"])
def test_a_run_in_phases_resumes_bit_equal(
    starts: dict[str, Path], start: str, lora: int, tmp_path: Path
) -> None:
    asked = config(starts[start], f"lora.rank={lora}", "model.levels.widths=[8,16]")
    run(asked, out=tmp_path / "whole")
    for stop in (1, 3, None):
        run(asked, out=tmp_path / "parts", resume=stop != 1, stop_after=stop)
    one, other = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "parts"))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert one.keys() == load_file(tmp_path / "whole" / "start" / "model.safetensors").keys()


@pytest.mark.whole_run
def test_training_all_of_a_pretrained_model_lowers_the_loss(starts: dict[str, Path], tmp_path: Path) -> None:
    asked = config(starts["clip"], preset="large", steps=30)
    result = run(asked, out=tmp_path / "r")
    assert "`hivlp train --preset large --model starts0/clip --data" in (
        tmp_path / "r" / "model" / "README.md"
    ).read_text().replace(starts["clip"].parent.name, "starts0")
    log = [json.loads(line) for line in (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()]
    assert log[-1]["loss"] < 0.8 * log[0]["loss"]
    trained = hivlp.load(result["model"])
    assert type(trained).__name__ == "OnnxEncoder", "its graphs were written and equal torch"
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(rows(trained), rows(hivlp.load(tmp_path / "r" / "start")), atol=1e-3)


def test_parts_of_a_tower_go_from_its_input_to_its_output(starts: dict[str, Path]) -> None:
    model = converted(starts["clip"], name="clip")[0]
    found = parts(model.image_tower)
    assert len(found) == 3
    names = {id(parameter): name for name, parameter in model.image_tower.named_parameters()}
    said = [[names[id(parameter)] for parameter in part] for part in found]
    assert all("embeddings" in name or "pre_layrnorm" in name for name in said[0])
    assert all(".layers.0." in name for name in said[1])
    assert all(".layers.1." in name or "post_layernorm" in name for name in said[2])
    assert sum(map(len, said)) == len(names)
    assert list(map(len, parts(nn.Linear(2, 2)))) == [0, 2], "without blocks it is one part"


def test_rates_fall_towards_the_input_and_heads_have_all_of_it() -> None:
    model, _ = micro_model()
    settings = Optimisation(tower_rate=0.5, layer_decay=0.1)
    optimizer = make_optimizer(model, settings, shares=rate_shares(model, settings))
    share = {id(p): group["share"] for group in optimizer.param_groups for p in group["params"]}
    assert len(share) == len(list(model.parameters()))
    assert share[id(model.image_levels.head.weight)] == share[id(model.log_scale_L)] == 1
    before, first, last = parts(model.image_tower)
    assert [share[id(part[0])] for part in (last, first, before)] == pytest.approx([0.5, 0.05, 0.005])
    assert len(make_optimizer(model, Optimisation()).param_groups) == 2


@pytest.mark.parametrize("start", [*LEARNABLE, "hivlp"])
def test_merged_adapters_answer_as_they_did_apart(starts: dict[str, Path], start: str) -> None:
    model, tokenizer = open_trainable(str(starts[start]))
    names = set(model.state_dict())
    before = rows(TorchEncoder.of(model, tokenizer))
    adapt(model, Lora(rank=2))
    adapters = [p for n, p in model.named_parameters() if p.requires_grad and "_tower." in n]
    assert adapters and all(p.ndim == 2 and 2 in p.shape for p in adapters)
    np.testing.assert_allclose(rows(TorchEncoder.of(model.eval(), tokenizer)), before, atol=1e-5)
    with torch.no_grad():
        for parameter in adapters:
            parameter.normal_(std=0.1)
    apart = rows(TorchEncoder.of(model.eval(), tokenizer))
    assert np.abs(apart - before).max() > 1e-3
    merge(model)
    np.testing.assert_allclose(rows(TorchEncoder.of(model, tokenizer)), apart, atol=3e-5)
    assert set(model.state_dict()) == names


@pytest.mark.whole_run
def test_a_model_without_a_way_to_write_graphs_is_used_by_torch(
    starts: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*values: object, **options: object) -> None:
        raise RuntimeError("unsupported operator aten::something")

    monkeypatch.setattr(torch.onnx, "export", refuse)
    lines: list[str] = []
    result = run(config(starts["clip"], steps=1), out=tmp_path / "r", progress=lines.append)
    assert any("can't be written as graphs (unsupported operator aten::something)" in line for line in lines)
    assert type(hivlp.load(result["model"])).__name__ == "TorchEncoder"


def test_what_can_not_be_trained_is_refused(starts: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="NaFlex, whose pictures keep their shape"):
        config(starts["siglip2"])
    (tmp_path / "heads").mkdir()
    (tmp_path / "heads" / "config.json").write_text('{"format": "hivlp-heads"}')
    with pytest.raises(ModelError, match=r"levels on top of another model, .* start from that model itself"):
        config(tmp_path / "heads")
    with pytest.raises(ConfigError, match=r"lora\.rank needs a trained model to adapt; give --model"):
        load_preset("tiny", overrides=["lora.rank=4"])
    for until in ("[0.5,0.4,1]", "[0.5]"):
        phases = json.dumps([{"until": end, "trained": "all"} for end in json.loads(until)])
        with pytest.raises(ConfigError, match="give ascending shares of the steps, the last one 1"):
            config(starts["clip"], f"freeze={phases}")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "model.levels.widths=[8,48]",
            "has 48, and the embeddings of the start are 24 wide; give 24 at most",
        ),
        (
            "model.image.options.hidden_size=16",
            "do not fit the settings model.image.*leave these settings out",
        ),
        ("model.image.options.num_hidden_layers=3", "do not fit .*layers.2"),
        ("augmentation.word_dropout=0.1", "has no mask token; set"),
    ],
)
def test_a_run_that_its_start_can_not_become_is_refused(
    starts: dict[str, Path], override: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        starting_model(
            config(starts["clip"], override), packs(tmp_path), tmp_path / "start", lambda line: None
        )
    assert not (tmp_path / "start").exists()


def test_preprocessing_is_found_by_looking_at_what_comes_out() -> None:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        larger = CLIPImageProcessorPil(**{**SQUARE, "size": {"shortest_edge": 40}}, resample=2)
        odd = CLIPImageProcessorPil(**SQUARE, do_center_crop=False)
    found = preprocessing_of(larger, name="m")
    assert (found.size, found.fit, found.centre, found.interpolation) == (32, "crop", 0.8, "bilinear")
    with pytest.raises(ModelError, match="m prepares pictures in a way that training does not know"):
        preprocessing_of(odd, name="m")
