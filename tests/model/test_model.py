"""Towers, levels and the model folder."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hivlp.config import ImageTowerConfig, ModelConfig, parse
from hivlp.encode.torch import TorchEncoder
from hivlp.errors import ConfigError, ModelError
from hivlp.model.dual import DualEncoder
from hivlp.model.folder import open_model
from hivlp.model.levels import NestedLevels, SeparateLevels
from hivlp.model.towers import ImageTower
from micro import micro_folder, micro_model, model_values

PIXELS = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", ["nested", "separate"])
def test_every_level_has_unit_rows_and_every_parameter_a_gradient(kind: str):
    model, tokenizer = micro_model(levels={"kind": kind, "widths": [8, 16, 32]})
    model.train()
    image = model.encode_pixels(PIXELS)
    tokens, mask = tokenizer.encode(["a red boat", "two dogs in the snow", "a cat"])
    text = model.encode_tokens(torch.from_numpy(tokens), torch.from_numpy(mask))
    assert list(image) == list(text) == [8, 16, 32]
    for rows in (*image.values(), *text.values()):
        torch.testing.assert_close(rows.norm(dim=1), torch.ones(3))
    scales = model.logit_scales
    torch.stack([(scales[w] * image[w] @ text[w].T).logsumexp(1).sum() for w in image]).sum().backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert without == []


def test_nested_levels_are_prefixes_brought_back_to_unit_length():
    levels = NestedLevels(10, (4, 8))
    out = levels(torch.randn(5, 10, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(out[4], F.normalize(out[8][:, :4], dim=1))


def test_separate_levels_have_heads_of_their_own():
    levels = SeparateLevels(10, (4, 8))
    out = levels(torch.randn(5, 10, generator=torch.Generator().manual_seed(0)))
    assert not torch.allclose(out[4], F.normalize(out[8][:, :4], dim=1))


def test_padding_and_neighbours_do_not_change_a_text():
    model, tokenizer = micro_model()
    alone, together = (
        TorchEncoder.of(model, tokenizer).encode_texts(t)
        for t in (["a cat"], ["a cat", "a red boat on the sea"])
    )
    np.testing.assert_allclose(alone.fine[0], together.fine[0], atol=1e-6)


def test_temperature_is_bounded():
    model, _ = micro_model()
    with torch.no_grad():
        model.log_scale_L.fill_(50.0)
    assert all(scale.item() == pytest.approx(100.0) for scale in model.logit_scales.values())


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (
            "vit",
            {
                "hidden_size": 32,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "intermediate_size": 32,
                "patch_size": 8,
            },
        ),
        ("convnextv2", {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2}),
        ("resnet", {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}),
    ],
)
def test_any_picture_model_of_transformers_can_be_a_tower(kind: str, options: dict[str, object]):
    tower = ImageTower(ImageTowerConfig(kind=kind, options=options), size=32)
    assert tower(torch.rand(2, 3, 32, 32)).shape == (2, tower.width)


def test_unknown_towers_and_options_are_refused():
    with pytest.raises(ConfigError, match="'restnet' is not a model type of transformers"):
        ImageTower(ImageTowerConfig(kind="restnet"), size=32)
    with pytest.raises(ConfigError, match="resnet has no options \\['depth'\\]"):
        ImageTower(ImageTowerConfig(kind="resnet", options={"depth": 3}), size=32)


@pytest.mark.parametrize("half", [False, True])
def test_a_saved_model_answers_as_before(tmp_path, half: bool):
    folder = micro_folder(tmp_path / "m", half=half)
    opened = open_model(folder)
    model, _ = micro_model()
    expected = model.encode_pixels(PIXELS)
    tolerance = 2e-3 if half else 0
    for width, rows in opened.encode_pixels(PIXELS).items():
        torch.testing.assert_close(rows, expected[width], atol=tolerance, rtol=0)
    assert (folder / "model.safetensors").stat().st_size < (150_000 if half else 300_000)


def test_damaged_model_folders_say_what_is_wrong(tmp_path):
    folder = micro_folder(tmp_path / "m")
    with pytest.raises(ModelError, match=r"is not a model folder: it has no config\.json"):
        open_model(tmp_path)
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=r"model\.safetensors cannot be read"):
        open_model(folder)
    weights.write_bytes(whole)
    values = json.loads((folder / "config.json").read_text())
    values["image"]["options"]["hidden_sizes"] = [8, 16, 24]
    values["image"]["options"]["depths"] = [1, 1, 1]
    (folder / "config.json").write_text(json.dumps(values))
    with pytest.raises(ModelError, match="the two files belong to different models"):
        open_model(folder)
    values["levles"] = values.pop("levels")
    (folder / "config.json").write_text(json.dumps(values))
    with pytest.raises(ConfigError, match="unknown key 'levles': did you mean 'levels'"):
        open_model(folder)
    values["schema_version"] = 99
    (folder / "config.json").write_text(json.dumps(values))
    with pytest.raises(ConfigError, match="schema version 99"):
        open_model(folder)


def test_a_folder_of_an_older_version_says_so_where_it_needs_what_is_gone(tmp_path):
    folder = micro_folder(tmp_path)
    path = folder / "config.json"
    values = json.loads(path.read_text())
    values["image"] |= {"detail": 0, "pairs": 0, "detail_dropout": 0.0}  # as every folder had them
    values["levels"]["places"] = False
    path.write_text(json.dumps(values))
    open_model(folder)
    values["image"]["detail"], values["levels"]["places"] = 144, True
    path.write_text(json.dumps(values))
    message = r"config\.json: an older version of HiVLP had the settings image\.detail, levels\.places, and"
    with pytest.raises(ModelError, match=message):
        open_model(folder)


def test_a_model_counts_its_levels_by_its_configuration():
    model, _ = micro_model(levels={"kind": "nested", "widths": [4, 32]})
    assert isinstance(model, DualEncoder)
    assert model.log_scale_L.shape == (2,)


def test_a_bag_stands_beside_the_states():
    plain, tokenizer = micro_model()
    text = {**plain.config.text.model_dump(), "bag": 5}
    model, _ = micro_model(text=text)
    tower = model.text_tower.eval()
    assert tower.width == plain.text_tower.width + 5
    tower.backbone.load_state_dict(plain.text_tower.backbone.state_dict())
    tokens_BT, mask_BT = map(torch.from_numpy, tokenizer.encode(["a red boat on the sea", "one cat"]))
    torch.nn.init.normal_(tower.bag.log_weight.weight)
    word_VF, weight_V = tower.bag.words.weight, tower.bag.log_weight.weight[:, 0].exp()
    given_BF = tower(tokens_BT, mask_BT)
    assert torch.equal(given_BF[:, :-5], plain.text_tower.eval()(tokens_BT, mask_BT))
    for row, (tokens_T, mask_T) in enumerate(zip(tokens_BT, mask_BT, strict=True)):
        words = tokens_T[mask_T == 1]
        total = sum(weight_V[word] for word in words)
        expected = sum(weight_V[word] * word_VF[word] for word in words) / total**0.5
        torch.testing.assert_close(given_BF[row, -5:], expected)


@pytest.mark.parametrize(("side", "setting"), [("image", "bag"), ("text", "norm")])
def test_what_only_the_other_side_has_is_refused(side: str, setting: str):
    values = {**model_values(), side: {**model_values()[side], setting: 8}}
    with pytest.raises(ConfigError, match=setting):
        parse(ModelConfig, values, where="here")
