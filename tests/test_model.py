"""Towers, levels and the model folder."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hivlp.config import ModelConfig, Tower, parse
from hivlp.encode.torch import TorchEncoder
from hivlp.errors import ConfigError, ModelError
from hivlp.model.dual import DualEncoder
from hivlp.model.folder import open_model, save
from hivlp.model.levels import PLACES, LevelHead, NestedLevels, SeparateLevels, heads_of
from hivlp.model.towers import ImageTower
from micro import micro_folder, micro_model, model_values, with_detail

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
    tower = ImageTower(Tower(kind=kind, options=options), size=32)
    assert tower(torch.rand(2, 3, 32, 32)).shape == (2, tower.width)


def test_unknown_towers_and_options_are_refused():
    with pytest.raises(ConfigError, match="'restnet' is not a model type of transformers"):
        ImageTower(Tower(kind="restnet"), size=32)
    with pytest.raises(ConfigError, match="resnet has no options \\['depth'\\]"):
        ImageTower(Tower(kind="resnet", options={"depth": 3}), size=32)


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
    with pytest.raises(ModelError, match=r"model\.safetensors can't be read"):
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


def test_a_model_counts_its_levels_by_its_configuration():
    model, _ = micro_model(levels={"kind": "nested", "widths": [4, 32]})
    assert isinstance(model, DualEncoder)
    assert model.log_scale_L.shape == (2,)


def test_pairs_are_products_of_words_near_and_far_and_padding_is_none():
    plain, tokenizer = micro_model()
    width = plain.text_tower.width
    model, _ = micro_model(text={**plain.config.text.model_dump(), "pairs": 8, "bag": 5})
    tower = model.text_tower.eval()
    assert (tower.width, tower.state_width) == (width + 8 + 5, width)
    tokens_BT, mask_BT = map(torch.from_numpy, tokenizer.encode(["a red boat on the sea", "one", "cats"]))
    given_BF, states_BTF = tower(tokens_BT, mask_BT), tower.states(tokens_BT, mask_BT)
    for row, mask_T in enumerate(mask_BT):
        first, second = (
            linear(states_BTF[row, mask_T == 1]) for linear in (tower.pairs.first, tower.pairs.second)
        )
        expected_P, words = torch.zeros(8), len(first)
        for word in range(words):
            for behind in range(word + 1, words):
                product_P = first[word] * second[behind]
                near = behind - word
                if near <= 3:
                    expected_P[2 * near - 2 : 2 * near] += product_P[2 * near - 2 : 2 * near]
                expected_P[6:] += product_P[6:] / (words - 1 - word) ** 0.5
        torch.testing.assert_close(given_BF[row, width:-5], expected_P / words**0.5)
    swapped_BT, mask_BT = map(torch.from_numpy, tokenizer.encode(["a red boat", "boat red a"]))
    assert not torch.allclose(*tower(swapped_BT, mask_BT)[:, width:-5])


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


DETAILED = with_detail()["image"]


def test_detail_by_hand_and_its_parts_have_gradients():
    model, _ = micro_model(image=DETAILED)
    tower, detail = model.image_tower, model.image_tower.detail
    assert detail is not None
    rows = model.normalise(PIXELS)
    output = tower.backbone(pixel_values=rows, output_hidden_states=True)
    inner_BFGG = next(map_ for map_ in reversed(output.hidden_states) if map_.shape[3] == detail.side)
    assert detail.side == 2 * output.last_hidden_state.shape[3]
    small = F.interpolate(rows, size=4 * detail.side, mode="area")
    patches = small.unflatten(3, (-1, 4)).unflatten(2, (-1, 4)).permute(0, 1, 3, 5, 2, 4).flatten(1, 3)
    map_BCGG = detail.look(detail.scale(torch.cat([inner_BFGG, patches], dim=1)))
    map_BCGG = map_BCGG + detail.again(map_BCGG)
    torch.nn.init.normal_(detail.there)
    weights = [detail.there, *detail.slopes_QGG]
    found = torch.cat([(map_BCGG * weight).mean(dim=(2, 3)) for weight in weights], dim=1)
    pooled = output.last_hidden_state.mean(dim=(2, 3))
    torch.testing.assert_close(tower(rows), tower.behind(torch.cat([pooled, found], dim=1)))
    assert tower(rows).shape[1] == tower.width == tower.state_width + 6 * PLACES
    model.train()
    model.encode_pixels(PIXELS)[32].square().sum(dim=0)[:3].sum().backward()
    assert all(parameter.grad is not None for parameter in detail.parameters())


def test_detail_has_a_dropout_of_its_own():
    image = {**DETAILED, "norm": False, "dropout": 0.5, "detail_dropout": 0.0}
    model, _ = micro_model(image=image)
    tower = model.image_tower.train()
    torch.manual_seed(0)
    kept_BF, whole_BF = tower.behind(torch.ones(8, tower.width)), torch.ones(8, tower.width)
    own = tower.state_width
    assert torch.equal(kept_BF[:, own:], whole_BF[:, own:])
    assert set(kept_BF[:, :own].unique().tolist()) == {0.0, 2.0}
    assert torch.equal(tower.eval().behind(whole_BF), whole_BF)


def test_detail_tells_left_from_right_where_an_average_does_not():
    """Its weights over the map, at first: everywhere, across and down."""
    model, _ = micro_model(image=DETAILED)
    detail = model.image_tower.detail
    assert detail is not None
    weight_PGG = torch.stack([detail.there[0], *detail.slopes_QGG])
    spot = torch.zeros(weight_PGG.shape[1:])
    spot[0, -1] = 1  # above, right
    mean, across, down = (weight_PGG * spot).sum(dim=(1, 2)).sign().tolist()
    assert (mean, across, down) == (1, 1, -1)


def test_words_are_moved_by_the_words_around_them():
    model, tokenizer = micro_model(**with_detail(places=True))
    tower = model.text_tower.eval()
    assert tower.bag is not None and tower.bag.moves is not None
    torch.nn.init.normal_(tower.bag.log_weight.weight)
    word_VF, weight_V = tower.bag.words.weight, tower.bag.log_weight.weight[:, 0].exp()
    move_VP = tower.bag.moves.weight
    tokens_BT, mask_BT = map(torch.from_numpy, tokenizer.encode(["a red boat on the sea", "one cat"]))
    given_BPF = tower(tokens_BT, mask_BT)[:, -PLACES * 5 :].unflatten(1, (PLACES, 5))
    for row, (tokens_T, mask_T) in enumerate(zip(tokens_BT, mask_BT, strict=True)):
        words = tokens_T[mask_T == 1].tolist()
        expected_PF = torch.zeros(PLACES, 5)
        for place, word in enumerate(words):
            behind, before = words[place + 1 :], words[:place]
            moved_P = move_VP[behind].sum(dim=0) - move_VP[before].sum(dim=0)
            counts_P = weight_V[word] * torch.cat([torch.ones(1), moved_P])
            expected_PF += counts_P[:, None] * word_VF[word]
        torch.testing.assert_close(given_BPF[row], expected_PF / weight_V[words].sum() ** 0.5)


def test_levels_with_places_by_hand():
    head = LevelHead(4 + PLACES * 2, 8, hidden=3, placed=2)
    assert head.bound is not None and head.first is not None and head.second is not None
    torch.nn.init.normal_(head.second.weight)
    rows_BF = torch.randn(5, 10, generator=torch.Generator().manual_seed(0))
    plain_BF, (there_BC, across_BC, down_BC) = rows_BF[:, :6], rows_BF[:, 4:].split(2, dim=1)
    expected_BD = plain_BF @ head.weight.T + head.bias
    expected_BD = expected_BD + F.relu(head.first(plain_BF)) @ head.second.weight.T
    expected_BD = expected_BD + there_BC @ head.bound.weight.T
    for part_BC, order_D in zip((across_BC, down_BC), head.bound.orders, strict=True):
        assert sorted(order_D.tolist()) == list(range(8)) and order_D.tolist() != list(range(8))
        expected_BD = expected_BD + part_BC @ head.bound.weight[order_D].T
    torch.testing.assert_close(head(rows_BF), expected_BD)


@pytest.mark.parametrize("kind", ["nested", "separate"])
def test_a_model_with_places_binds_both_sides_alike_and_is_kept(kind: str, tmp_path):
    model, tokenizer = micro_model(**with_detail(kind=kind, hidden=6, places=True))
    model.train()
    image = model.encode_pixels(PIXELS)
    tokens_BT, mask_BT = map(torch.from_numpy, tokenizer.encode(["a boat left", "left a boat", "a cat"]))
    text = model.encode_tokens(tokens_BT, mask_BT)
    torch.stack([(image[w] @ text[w].T).logsumexp(1).sum() for w in image]).sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == ["log_scale_L"]
    ours, theirs = heads_of(model.image_levels), heads_of(model.text_levels)
    assert all(torch.equal(i.bound.orders, t.bound.orders) for i, t in zip(ours, theirs, strict=True))
    model.eval()
    for head in (*ours, *theirs):  # as of a torch that draws others
        head.bound.orders.copy_(head.bound.orders.flip(1))
    save(model, tmp_path, half=True)
    torch.testing.assert_close(open_model(tmp_path).encode_pixels(PIXELS), model.encode_pixels(PIXELS))


def test_places_need_what_has_places():
    with pytest.raises(
        ConfigError, match=r"levels\.places needs image\.detail and text\.bag, and they are 0 and 0"
    ):
        parse(ModelConfig, model_values(levels=with_detail(places=True)["levels"]), where="here")


@pytest.mark.parametrize(("side", "setting"), [("image", "bag"), ("image", "pairs"), ("text", "detail")])
def test_what_only_the_other_side_has_is_refused(side: str, setting: str):
    values = {**model_values(), side: {**model_values()[side], setting: 8}}
    with pytest.raises(ConfigError, match=f"{setting}.*leave them out"):
        parse(ModelConfig, values, where="here")


def test_towers_without_maps_that_get_smaller_have_no_detail():
    options = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    tower = Tower(kind="vit", options={**options, "patch_size": 8}, detail=8)
    with pytest.raises(ConfigError, match=r"model\.image\.detail needs a tower whose maps get smaller"):
        ImageTower(tower, size=32)
    with pytest.raises(ConfigError, match=r"in 40 × 40 squares, and preprocessing\.size=38 is no multiple"):
        micro_model(image=DETAILED, preprocessing={"size": 38})
