"""A run from configuration to model folder: resumable to the bit, and clear about what it refuses."""

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hivlp.config import Augmentation, Optimisation, Preprocessing, TrainConfig, parse
from hivlp.data.sources import open_source
from hivlp.data.tokenizer import Tokenizer
from hivlp.errors import ConfigError, DataError, HivlpError, ModelError
from hivlp.objectives.retrieval import positives
from hivlp.scenes import samples
from hivlp.train.batches.mixture import Mixture, MixturePart, apportion
from hivlp.train.batches.pack import Pack, pack
from hivlp.train.batches.views import crop
from hivlp.train.card import write_card
from hivlp.train.optim import learning_rate
from hivlp.train.presets import PRESETS, changed, load_preset
from hivlp.train.run import run
from micro import micro_model, micro_run


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def test_a_resumed_run_is_bit_equal_to_the_uninterrupted_one(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    result = run(micro_run(), out=whole)
    assert result["steps"] == 8
    assert (whole / "model" / "README.md").read_text().startswith("# micro")
    run(micro_run(), out=parts, stop_after=5)
    run(micro_run(), out=parts, resume=True)
    first, second = weights(whole), weights(parts)
    assert all(torch.equal(first[name], second[name]) for name in first)
    log = [(whole / "metrics.jsonl").read_text(), (parts / "metrics.jsonl").read_text()]
    losses = [{(e := json.loads(line))["step"]: e["loss"] for line in text.splitlines()} for text in log]
    assert all(losses[1][step] == loss for step, loss in losses[0].items())


def test_a_run_killed_between_checkpoints_goes_back_to_the_last_one(tmp_path):
    """What is left when the process dies at step 5: the checkpoint of step 3 and a log that is further on."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(micro_run(), out=whole)
    run(micro_run(), out=killed, stop_after=5)
    shutil.rmtree(killed / "checkpoints" / "step-00000005")
    (killed / "checkpoints" / ".step-00000006.1.tmp").mkdir()
    with (killed / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')
    run(micro_run(), out=killed, resume=True)
    assert not list((killed / "checkpoints").glob(".*"))
    assert all(torch.equal(weights(whole)[name], weights(killed)[name]) for name in weights(whole))
    steps = [json.loads(line)["step"] for line in (killed / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)


@pytest.mark.parametrize("splits", [("train", "val"), (None, None)])
def test_a_table_is_split_where_it_says_so(tmp_path, splits):
    """The preset for one's own pairs trains on `train`, evaluates on `val`, and does without splits."""
    rows = ["image\tcaption" + ("\tsplit" if splits[0] else "")]
    for number, sample in enumerate(samples(20, size=32)):
        (tmp_path / f"{number}.jpg").write_bytes(sample.read())
        split = f"\t{splits[number % 2]}" if splits[0] else ""
        rows.append(f"{number}.jpg\t{sample.captions[0]}{split}")
    (tmp_path / "pairs.tsv").write_text("\n".join(rows))
    preset = load_preset("scratch", data=str(tmp_path / "pairs.tsv"))
    config = micro_run(sources=preset.sources, validation=preset.validation, steps=2, batch_size=4)
    lines: list[str] = []
    result = run(config, out=tmp_path / "r", progress=lines.append)
    assert [one["images"] for one in result["eval"]] == ([10] if splits[0] else [])
    assert any(f"packed {10 if splits[0] else 20} pictures" in line for line in lines)
    assert any("nothing is held back" in line for line in lines) is (splits[0] is None)


def test_runs_are_not_mixed(tmp_path):
    run(micro_run(), out=tmp_path / "r", stop_after=1)
    with pytest.raises(ConfigError, match="holds a run already; add --resume"):
        run(micro_run(), out=tmp_path / "r")
    with pytest.raises(ConfigError, match="holds a run of another configuration"):
        run(micro_run(seed=7), out=tmp_path / "r", resume=True)


def test_a_run_from_before_a_setting_was_there_goes_on(tmp_path):
    run(micro_run(), out=tmp_path / "r", stop_after=1)
    path = tmp_path / "r" / "train.json"
    values = json.loads(path.read_text())
    del values["objective"]["reranker"]
    path.write_text(json.dumps(values))
    assert run(micro_run(), out=tmp_path / "r", resume=True)["steps"] == micro_run().steps


def test_a_run_of_an_older_version_goes_on_unless_it_needs_what_is_gone(tmp_path):
    run(micro_run(), out=tmp_path / "r", stop_after=1)
    path = tmp_path / "r" / "train.json"
    values = json.loads(path.read_text())
    values |= {"teacher": None, "stages": {"tensors": [], "blocks": [], "batch_size": 64}}
    values["model"]["text"]["pairs"] = values["augmentation"]["mixing"] = 0
    path.write_text(json.dumps(values))
    run(micro_run(), out=tmp_path / "r", resume=True, stop_after=2)
    values["stages"]["tensors"], values["model"]["text"]["pairs"] = [120], 384
    path.write_text(json.dumps(values))
    with pytest.raises(ConfigError, match=r"train\.json: .*had the settings model\.text\.pairs, stages, and"):
        run(micro_run(), out=tmp_path / "r", resume=True)


def test_a_wrong_path_leaves_no_run_behind(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        run(micro_run(sources=[{"spec": str(tmp_path / "none")}]), out=tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_pictures_without_captions_are_refused_and_the_folder_stays_free(tmp_path):
    (tmp_path / "pictures").mkdir()
    for number, sample in enumerate(samples(3, size=32)):
        (tmp_path / "pictures" / f"{number}.jpg").write_bytes(sample.read())
    sources = [{"spec": str(tmp_path / "pictures")}]
    with pytest.raises(DataError, match=r"none of the sources has captions \(.*pictures\); training needs"):
        run(micro_run(sources=sources), out=tmp_path / "r")
    assert run(micro_run(steps=2), out=tmp_path / "r")["steps"] == 2  # without --resume


def test_the_card_names_every_setting_that_was_changed(tmp_path):
    overrides = ["steps=6", "objective.binary.weight=0.5", "optimisation.learning_rate=0.01"]
    config = load_preset("tiny", overrides=["model.levels.widths=[16, 32]", "threads=1", *overrides])
    assert changed(load_preset("tiny")) == changed(micro_run(seed=3)) == []
    assert sorted(changed(config)) == sorted(["model.levels.widths=[16, 32]", *overrides])
    assert changed(load_preset("tiny", overrides=changed(config))) == changed(config)
    write_card(tmp_path, config, results=[], steps=6, seconds=1, device="cpu")
    recipe = next(line for line in (tmp_path / "README.md").read_text().splitlines() if "recipe" in line)
    assert "--preset tiny --data DATA --out RUN --set 'model.levels.widths=[16, 32]' --set " in recipe


def test_a_damaged_checkpoint_is_named(tmp_path):
    run(micro_run(), out=tmp_path / "r", stop_after=3)
    state = tmp_path / "r" / "checkpoints" / "step-00000003" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"step-00000003 is damaged .* remove this folder"):
        run(micro_run(), out=tmp_path / "r", resume=True)


def test_a_loss_that_is_no_number_ends_the_run(tmp_path):
    broken = micro_run(optimisation={"learning_rate": 1e30, "warmup_steps": 0})
    with pytest.raises(
        HivlpError, match=r"became nan .*at step 2; lower optimisation.learning_rate .*bad-batch"
    ):
        run(broken, out=tmp_path / "r")
    with np.load(tmp_path / "r" / "bad-batch-00000001.npz", allow_pickle=False) as batch:
        assert batch["pixels_BCHW"].shape == (16, 3, 32, 32)
        assert batch["tokens_TL"].shape[0] == 16


def test_training_learns_its_scenes(tmp_path):
    """Sixty steps on a few scenes bring the loss of every level well below chance."""
    settings = {"steps": 60, "optimisation": {"learning_rate": 5e-3, "warmup_steps": 2}, "log_every": 5}
    result = run(micro_run(**settings), out=tmp_path / "r")
    log = [json.loads(line) for line in (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()]
    chance = math.log(16) / 3  # a third each: the loss is the mean over three levels
    assert all(log[-1][f"hrl_{width}"] < 0.75 * chance for width in (8, 16, 32))
    assert result["eval"][0]["images"] == 12


def test_the_sigmoid_form_and_a_binary_level_learn_in_a_run(tmp_path):
    objective = {"form": "sigmoid", "binary": {"weight": 0.5}, "consistency": 0.1}
    config = micro_run(objective=objective, grad_cache=5, log_every=1)
    run(config, out=tmp_path / "r", stop_after=3)
    run(config, out=tmp_path / "r", resume=True)
    log = [json.loads(line) for line in (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()]
    assert {"hrl_8", "hrl_32", "consistency_8", "binary_32", "balance_32"} <= set(log[0])
    assert log[-1]["loss"] < log[0]["loss"]
    assert not any("offsets" in name for name in weights(tmp_path / "r"))


def test_wrong_captions_of_a_column_are_hard_negatives(tmp_path):
    rows = ["image\tcaption\twrong"]
    for number, sample in enumerate(samples(8, size=32)):
        (tmp_path / f"{number}.jpg").write_bytes(sample.read())
        rows.append(f"{number}.jpg\t{sample.captions[0]}\t{'no such  thing' if number % 2 else ''}")
    (tmp_path / "pairs.tsv").write_text("\n".join(rows))
    source = {"spec": str(tmp_path / "pairs.tsv"), "negatives": "wrong"}
    run(micro_run(sources=[source], validation=[], steps=2, batch_size=8), out=tmp_path / "r")
    taken = pack(open_source(source["spec"]), tmp_path / "p", size=32, key="k", negatives="wrong")
    assert taken.negatives == [(), ("no such thing",)] * 4
    batch = mixture(MixturePart(pack=taken), size=8).batch(0)
    assert batch.picture_of_text_T.tolist() == [*range(8), -1, -1, -1, -1]
    with pytest.raises(DataError, match="no picture has texts in the field 'wrnog'; did you mean 'wrong'"):
        pack(open_source(source["spec"]), tmp_path / "p", size=32, key="k", negatives="wrnog")


def test_several_hard_negatives_of_a_picture_are_in_a_batch_and_all_of_them_differ(tmp_path):
    taken = pack(open_source("scenes:12?size=32"), tmp_path, size=32, key="k", negatives="near_misses")
    batch = mixture(MixturePart(pack=taken, captions=2, negatives=3), size=12).batch(0)
    have = [min(3, len(wrong)) for wrong in taken.negatives]
    assert max(have) == 3 > min(have)
    wrong_T = batch.picture_of_text_T < 0
    assert wrong_T.sum() == sum(have)
    assert len(np.unique(batch.wording_T[wrong_T])) == sum(have)


def test_no_words_are_dropped_of_pictures_with_hard_negatives(tmp_path):
    """Without the word that makes it wrong a hard negative would be true."""
    _, tokenizer = micro_model()
    packed = pack(open_source("scenes:40?size=32"), tmp_path, size=32, key="k", negatives="near_misses")
    parts = [MixturePart(pack=packed, captions=2, negatives=2)]
    augmentation = Augmentation(word_dropout=0.3)
    mixture = Mixture(parts, tokenizer, batch_size=40, augmentation=augmentation, seed=0)
    batch = mixture.batch(0)
    dropped_T = ((batch.tokens_TL == tokenizer.mask_id) & (batch.mask_TL > 0)).sum(axis=1)
    wrong_T = batch.picture_of_text_T < 0
    has_B = np.array([len(packed.negatives[row]) > 0 for row in mixture.rows(0, 0)])
    own_T = has_B[batch.picture_of_text_T]
    assert wrong_T.sum() > 20 and 0 < has_B.sum() < 40
    assert dropped_T[wrong_T].sum() == dropped_T[~wrong_T & own_T].sum() == 0
    words_T = batch.mask_TL.sum(axis=1)
    plain_T = ~wrong_T & ~own_T
    assert dropped_T[plain_T].sum() / words_T[plain_T].sum() == pytest.approx(0.3, abs=0.1)


def test_a_plateau_may_end_later_and_a_run_goes_on_as_if_it_had_been_planned_so(tmp_path):

    def ending(steps: int, decay: int, **changes: Any) -> TrainConfig:
        rates = {"warmup_steps": 1, "decay_steps": decay}
        return micro_run(steps=steps, optimisation=rates, validation=[], **changes)

    longer = ending(90, 50, log_every=3)
    run(longer, out=tmp_path / "changed", stop_after=3)
    with pytest.raises(ConfigError, match=r"would begin the decay before step 3, .* give 6 steps or more"):
        run(ending(5, 3), out=tmp_path / "changed", resume=True)
    run(ending(6, 3), out=tmp_path / "changed", resume=True)
    with pytest.raises(ConfigError, match="or has already begun it"):
        run(longer, out=tmp_path / "changed", resume=True)
    run(ending(6, 3), out=tmp_path / "planned")
    one, two = (weights(tmp_path / name) for name in ("changed", "planned"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert json.loads((tmp_path / "changed/train.json").read_text())["steps"] == 6


def toy_pack(count: int, captions: list[tuple[str, ...]] | None = None) -> Pack:
    pixels = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 8, 8), np.uint8)
    texts = captions or [(f"picture {row}",) for row in range(count)]
    return Pack(
        folder=Path("unused"),
        pixels_NCHW=pixels,
        captions=texts,
        ids=[str(i) for i in range(count)],
        failures=[],
        preprocessing=Preprocessing(size=8),
    )


def mixture(
    *parts: MixturePart,
    size: int,
    seed: int = 0,
    mask_share: float = 0.0,
    rank: int = 0,
    processes: int = 1,
    **augmentation: float,
) -> Mixture:
    tokenizer = Tokenizer.train(["picture one two left right"] * 4, vocabulary=100, max_tokens=16)
    settings = Augmentation(**augmentation)  # type: ignore[arg-type]
    return Mixture(
        list(parts),
        tokenizer,
        batch_size=size,
        augmentation=settings,
        seed=seed,
        mask_share=mask_share,
        rank=rank,
        size=processes,
    )


def test_batches_are_a_function_of_the_step_alone():
    parts = MixturePart(pack=toy_pack(10)), MixturePart(pack=toy_pack(7), share=2.0)
    direct, streamed = mixture(*parts, size=9), mixture(*parts, size=9)
    for step, batch in enumerate(streamed.batches(3, 8, ahead=2), start=3):
        expected = direct.batch(step)
        assert np.array_equal(batch.pixels_BCHW, expected.pixels_BCHW)
        assert np.array_equal(batch.boxes_B4, expected.boxes_B4)
        assert np.array_equal(batch.tokens_TL, expected.tokens_TL)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_batches_do_not_depend_on_the_number_of_threads(workers: int):
    """Threads share the cache of shuffled orders, which a few steps of small packs turn over many times."""
    parts = MixturePart(pack=toy_pack(3)), MixturePart(pack=toy_pack(2), share=2.0)
    settings = {"size": 9, "word_dropout": 0.5}
    direct, streamed = mixture(*parts, **settings), mixture(*parts, **settings)
    found = list(streamed.batches(2, 40, workers=workers))
    assert len(found) == 38
    for step, batch in enumerate(found, start=2):
        expected = direct.batch(step)
        assert np.array_equal(batch.picture_B, expected.picture_B)
        assert np.array_equal(batch.tokens_TL, expected.tokens_TL)
        assert np.array_equal(batch.boxes_B4, expected.boxes_B4)


@pytest.mark.parametrize("size", [2, 3])
def test_processes_share_a_batch_without_rest(size: int):
    """Rank by rank, the pictures of all processes are those of one, with the same crops and words."""
    captions = [(f"picture one {row}",) if row % 3 else () for row in range(20)]
    parts, settings = [MixturePart(pack=toy_pack(20, captions))], {"size": 12, "word_dropout": 0.4}
    whole = mixture(*parts, **settings, mask_share=0.3).batch(4)
    caption_of = {int(p): t for t, p in enumerate(whole.picture_of_text_T)}
    for rank in range(size):
        own = mixture(*parts, **settings, mask_share=0.3, rank=rank, processes=size)
        batch, places = own.batch(4), np.arange(rank, 12, size)
        assert np.array_equal(batch.picture_B, whole.picture_B[places])
        assert np.array_equal(batch.boxes_B4, whole.boxes_B4[places])
        assert np.array_equal(batch.pixels_BCHW, whole.pixels_BCHW[places])
        for text, row in enumerate(batch.picture_of_text_T):
            twin, length = caption_of[int(places[row])], batch.mask_TL[text].sum()
            for name in ("tokens_TL", "masked_TL", "chosen_TL"):
                mine, theirs = getattr(batch, name)[text], getattr(whole, name)[twin]
                assert np.array_equal(mine[:length], theirs[:length])
        assert np.array_equal(own.batch(4, whole=True).picture_B, whole.picture_B)


def test_every_picture_is_seen_once_an_epoch():
    one = mixture(MixturePart(pack=toy_pack(12)), size=5)
    rows = np.concatenate([one.rows(0, step) for step in range(12)])
    for epoch in range(5):
        assert sorted(rows[epoch * 12 : epoch * 12 + 12]) == list(range(12))


def test_pictures_whose_captions_name_sides_are_never_mirrored():
    captions = [("a dog left of a cat",) if row % 2 else ("a dog",) for row in range(8)]
    one = mixture(MixturePart(pack=toy_pack(8, captions)), size=8)
    mirrored = np.zeros(8, dtype=int)
    for step in range(40):
        batch = one.batch(step)
        mirrored[one.rows(0, step)] += batch.mirror_B
    assert (mirrored[1::2] == 0).all()
    assert (mirrored[::2] > 0).all()


@pytest.mark.parametrize("side", ["the LEFT one", "rechts im Bild", "à gauche", "a la derecha", "左边的狗"])
def test_sides_are_known_in_the_languages_of_pretrained_models(side: str):
    one = mixture(MixturePart(pack=toy_pack(8, [("a dog", side)] * 8)), size=8)
    assert not any(one.batch(step).mirror_B.any() for step in range(20))


def test_a_picture_brings_one_of_its_captions_drawn_anew_each_time():
    """Several captions of one picture in a batch would be wrong answers to each other's picture."""
    captions = [tuple(f"{word} {row}" for word in ("a", "b", "c")) for row in range(6)]
    one = mixture(MixturePart(pack=toy_pack(6, captions)), size=6)
    seen = set[int]()
    for step in range(20):
        batch = one.batch(step)
        assert sorted(batch.picture_of_text_T) == list(range(6))
        seen |= set(batch.wording_T.tolist())
    assert len(seen) == 18


def test_pictures_without_captions_have_no_text():
    one = mixture(MixturePart(pack=toy_pack(6, [("a dog",) if row < 2 else () for row in range(6)])), size=6)
    batch = one.batch(0)
    assert batch.tokens_TL.shape[0] == 2
    assert all(one.rows(0, 0)[row] < 2 for row in batch.picture_of_text_T)


def test_a_picture_that_is_in_a_batch_twice_is_not_its_own_negative():
    """A batch larger than its source holds pictures twice, with captions that may differ."""
    captions = [(f"caption one of {row}", f"caption two of {row}") for row in range(3)]
    batch = mixture(MixturePart(pack=toy_pack(3, captions)), MixturePart(pack=toy_pack(3)), size=12).batch(0)
    numbers = torch.from_numpy(batch.picture_B)
    assert len(set(batch.picture_B.tolist())) == 6
    positive = positives(numbers, numbers[torch.from_numpy(batch.picture_of_text_T)])
    assert positive.sum(dim=1).tolist() == [2] * 12


def test_apportion_is_exact_and_leaves_nobody_out():
    assert apportion([1, 1, 2], 8) == [2, 2, 4]
    assert apportion([1000, 1, 1], 10) == [8, 1, 1]
    assert sum(apportion([5, 0.9, 0.6, 2], 384)) == 384


def noise(count: int, height: int, width: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=random)


def test_crop_of_the_whole_frame_is_the_frame_and_mirroring_mirrors():
    pixels = noise(2, 16, 16)
    frame = torch.tensor([[0.0, 0.0, 1.0, 1.0]] * 2)
    assert torch.equal(crop(pixels, frame, torch.tensor([False, False]), size=16), pixels.float())
    same = crop(pixels, frame, torch.tensor([False, True]), size=16)
    assert torch.equal(same[0], pixels[0].float()) and torch.equal(same[1], pixels[1].flip(-1).float())
    corner = crop(pixels, torch.tensor([[0.5, 0.0, 1.0, 0.5]] * 2), torch.tensor([False, False]), size=8)
    assert torch.equal(corner[0], pixels[0, :, :8, 8:].float())


@pytest.mark.parametrize("size", [5, 16, 40])
@pytest.mark.parametrize("half", [False, True])
def test_crop_is_bilinear_sampling_along_a_grid(size: int, half: bool):
    """The slow, obvious way: torch's own sampling at the points of each box, for towers of any precision."""
    pixels, random = noise(6, 16, 24), torch.Generator().manual_seed(1)
    corner_B2, side_B2 = torch.rand(6, 2, generator=random) * 0.4, torch.rand(6, 2, generator=random) * 0.6
    boxes, mirror = torch.cat([corner_B2, corner_B2 + side_B2], dim=1), torch.arange(6) % 2 == 1
    left, top, right, bottom = (boxes * 2 - 1).unbind(dim=1)
    steps = (torch.arange(size) + 0.5) / size
    x = (
        torch.where(mirror, right, left)[:, None]
        + torch.where(mirror, left - right, right - left)[:, None] * steps
    )
    y = top[:, None] + (bottom - top)[:, None] * steps
    grid = torch.stack([x[:, None, :].expand(-1, size, -1), y[:, :, None].expand(-1, -1, size)], dim=-1)
    expected = torch.nn.functional.grid_sample(
        pixels.float(), grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        found = crop(pixels, boxes, mirror, size=size)
    torch.testing.assert_close(found, expected, atol=0.01, rtol=0)


def test_learning_rate_warms_up_and_ends_at_zero():
    settings = Optimisation(learning_rate=1.0, warmup_steps=10)
    rates = [learning_rate(step, steps=100, settings=settings) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_are_whole(name: str):
    config = load_preset(name, data=None if name == "tiny" else "some/folder")
    assert config.preset == name
    assert "{data}" not in config.model_dump_json()


def test_overrides_and_their_errors():
    config = load_preset("tiny", overrides=["steps=5", "optimisation.learning_rate=0.5", "model.name=mine"])
    assert (config.steps, config.optimisation.learning_rate, config.model.name) == (5, 0.5, "mine")
    with pytest.raises(
        ConfigError, match=r"unknown key 'optimisation\.learning_rat': did you mean 'learning_rate'"
    ):
        load_preset("tiny", overrides=["optimisation.learning_rat=1"])
    with pytest.raises(ConfigError, match=r"steps: must be at least 1 .got 0"):
        load_preset("tiny", overrides=["steps=0"])
    with pytest.raises(ConfigError, match="unknown preset 'tinny': did you mean 'tiny'"):
        load_preset("tinny")
    with pytest.raises(ConfigError, match="--set 'steps' must have the form name=value"):
        load_preset("tiny", overrides=["steps"])
    with pytest.raises(ConfigError, match="preset 'mini' needs images: give --data"):
        load_preset("mini")
    with pytest.raises(ConfigError, match="level_weights has 1 numbers and the model has 4"):
        load_preset("tiny", overrides=["objective.level_weights=[1]"])


def test_a_preset_round_trips_through_json():
    config = load_preset("mini", data="d")
    assert parse(TrainConfig, json.loads(config.model_dump_json()), where="json") == config


def test_a_run_tells_how_likely_a_match_is(tmp_path, caplog):
    """Learned on pictures held back, kept with the model, and used where an index was not tuned."""
    from hivlp import Index, load

    validation = [{"spec": "scenes:8?size=32", "split": "val"}, {"spec": "scenes:60?size=32", "split": "val"}]
    run(micro_run(steps=2, validation=validation), out=tmp_path / "r")
    folder = tmp_path / "r" / "model"
    kept = json.loads((folder / "match.json").read_text())
    assert kept["queries"] == 60
    with Index.create(tmp_path / "x.hivlp", load(folder)) as index:
        index.add("scenes:10?size=32")
        (hit,) = index.search("a red boat", k=1)
        logit = kept["slope"] * hit.score + kept["intercept"]
        assert hit.probability == pytest.approx(1 / (1 + math.exp(-logit)))
        sure = index.search("a red boat", k=10, min_probability=1.0)
        assert not sure.hits or all(one.probability == 1.0 for one in sure)
    (folder / "match.json").write_text("{}")
    assert Index.open(tmp_path / "x.hivlp").match is None
    assert re.search(r"match\.json is not a valid match model .*remove this file", caplog.text)
    (folder / "match.json").unlink()
    assert Index.open(tmp_path / "x.hivlp").match is None
