"""Settings that have no effect or do not fit are refused, and old configurations say what is gone."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from hivlp.config import ModelConfig, TrainConfig, parse
from hivlp.errors import ConfigError, DataError
from hivlp.train.presets import check_data, load_preset
from micro import micro_run, model_values


@pytest.mark.parametrize(
    ("overrides", "switch"),
    [
        (["distil.scale=50"], "distil.models"),
        (['distil={"weight": 2}'], "distil.models"),
        (["objective.reranker.negatives=3"], "objective.reranker.model"),
        (['objective={"reranker": {"form": "dynamic"}}'], "objective.reranker.model"),
        (["optimisation.linear_start_rate=0.5"], "linear_start"),
        (["model.levels.dropout=0.1"], "model.levels.hidden"),
    ],
)
def test_a_setting_of_what_is_off_is_refused(overrides: list[str], switch: str) -> None:
    name = overrides[0].partition("=")[0]
    message = rf"^--set {name} has no effect without {switch}; set {switch} too, or leave {name} out$"
    with pytest.raises(ConfigError, match=message):
        load_preset("tiny", overrides=overrides)


def test_a_setting_of_what_is_on_or_as_by_default_is_accepted() -> None:
    dumped = load_preset("tiny").model_dump(mode="json")
    overrides = [f"{name}={json.dumps(value)}" for name, value in dumped.items()]
    assert load_preset("tiny", overrides=overrides) == load_preset("tiny")
    config = load_preset("tiny", overrides=["model.levels.dropout=0.1", "model.levels.hidden=8"])
    assert config.model.levels.dropout == 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"validation": [{"spec": "scenes:9", "views": 3}]}, r"had the settings validation\[\]\.views, and"),
        (
            {"freeze": [{"until": 1, "trained": "all", "blocks": 3}]},
            "blocks=3 has no effect with trained=all; set trained=last_blocks",
        ),
    ],
)
def test_what_never_has_an_effect_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        micro_run(**changes)


@pytest.mark.parametrize(
    ("side", "tower", "message"),
    [
        ("image", {"kind": "words"}, "words is a text tower; for images take"),
        ("text", {"kind": "efficientnet_lite"}, "efficientnet_lite is an image tower; for texts take"),
        ("image", {"kind": "resnet", "pooling": "stages"}, "pooling=stages needs kind=efficientnet_lite"),
        ("image", {"kind": "efficientnet_lite", "pooling": "own"}, "has no pooling=own"),
        ("text", {"kind": "words", "bag": 8, "pooling": "first"}, "a words tower has no pooling=first"),
        ("text", {"kind": "words"}, "needs the width of its learned vectors; set bag"),
        ("text", {"kind": "bert", "bag": True}, "bag is the width of its word vectors; give a number"),
        ("text", {"kind": "bert", "pooling": "stages"}, "text.pooling"),
    ],
)
def test_a_tower_of_the_wrong_side_or_pooling_is_refused(
    side: str, tower: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(ModelConfig, model_values(**{side: tower}), where="test")


def test_settings_of_older_versions_are_accepted_where_they_make_no_difference() -> None:
    values = micro_run(validation=[{"spec": "scenes:9"}]).model_dump(mode="json")
    values["validation"][0] |= {"share": 1.0, "captions": 1, "views": 0, "linear_start": True}
    values["sources"][0]["negatives_each"] = 1
    values["optimisation"] |= {"betas": [0.9, 0.98], "clip_norm": 1.0}
    values["objective"]["lrm"] |= {"share": 0.15, "fusion": "add"}
    values["model"]["image"]["bag"], values["model"]["text"]["norm"] = 0, False
    assert parse(TrainConfig, values, where="test") == micro_run(validation=[{"spec": "scenes:9"}])
    values["sources"][0]["negatives_each"] = 2
    values["objective"]["lrm"]["fusion"] = "multiply"
    message = (
        r"test: an older version of HiVLP had the settings sources\[\]\.negatives_each, "
        r"objective\.lrm\.fusion, and this one does not; train or export again"
    )
    with pytest.raises(ConfigError, match=message):
        parse(TrainConfig, values, where="test")


def test_a_renamed_setting_keeps_its_value() -> None:
    values = micro_run().model_dump(mode="json")
    values["optimisation"]["given_rate"] = values["optimisation"].pop("linear_start_rate") / 2
    values["objective"]["kinds"] = values["objective"].pop("class_names")
    assert parse(TrainConfig, values, where="test") == micro_run(optimisation={"linear_start_rate": 0.15})


def test_a_fusion_head_of_another_width_is_of_an_older_version() -> None:
    old = {"layers": 1, "width": 192, "heads": 6, "dropout": 0.1}
    assert parse(ModelConfig, model_values(fusion=old), where="test").fusion is not None
    with pytest.raises(ConfigError, match=r"had the settings fusion\.width, fusion\.heads, and"):
        parse(ModelConfig, model_values(fusion={**old, "width": 24, "heads": 2}), where="test")


def test_the_configuration_of_the_shipped_model_loads() -> None:
    values = json.loads((files("hivlp.assets") / "mini" / "config.json").read_text(encoding="utf-8"))
    assert parse(ModelConfig, values, where="mini").name == "mini"


def test_the_folder_of_a_preset_must_hold_its_sources(tmp_path: Path) -> None:
    (tmp_path / "flickr8k").mkdir()
    (tmp_path / "flickr8k" / "captions.tsv").touch()
    message = (
        r" has no captioned/openstax_photos/captions\.tsv, fashion; "
        r"--data of preset 'mini' must be a folder "
        r"with flickr8k/captions\.tsv, captioned/openstax_photos/captions\.tsv, "
        r"fashion$"
    )
    with pytest.raises(DataError, match=message):
        check_data(load_preset("mini", data=str(tmp_path)), str(tmp_path))
    table = str(tmp_path / "none.tsv")  # of a preset with one source: opening it says what is wrong
    check_data(load_preset("scratch", data=table), table)
