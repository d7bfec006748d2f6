"""Levels for a frozen encoder: the cache, what is learned, what ships, and the folders it becomes."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import device

from fakes import ColourEncoder, gallery, painted
from hivlp.config import FitLevelsConfig, Optimisation, parse
from hivlp.data.sources import Source, open_source
from hivlp.data.sources.base import Report
from hivlp.encode import load
from hivlp.encode.heads import Head, HeadsEncoder, Mlp, unit, write_heads
from hivlp.errors import ConfigError, DataError, HivlpError, ModelError
from hivlp.evaluate.metrics import Recalls
from hivlp.evaluate.protocols import BothWays, EncodedPairs
from hivlp.export.fold import can_fold, fold
from hivlp.fit_levels import run as fitting
from hivlp.fit_levels.cache import Cached, cached
from hivlp.fit_levels.learn import LevelMaps, VectorBatches, learn, recalls
from hivlp.fit_levels.run import fit_levels
from hivlp.index.rotation import joint_rotation
from hivlp.search.plan import Plan
from hivlp.stores.local import LocalStore
from hivlp.train.loop import LoopSettings, fit
from hivlp.types import Embeddings, Sample
from hub_models import made
from micro import micro_folder, with_bag
from ran import Ran

CPU = device("cpu")
TEXTS = ["a red boat", "two dogs in the snow", "x"]
PICTURES = [painted(*names, size=(40, 30)) for names in (["red"], ["blue", "green"], ["white", "black"])]


def some_heads(fine: int, random: np.random.Generator, *, narrow: int = 0) -> dict[int, Head]:
    """A map of each kind: an MLP, other ones for texts than for pictures, a prefix, and the whole turned."""

    def drawn(width: int) -> np.ndarray:
        return random.standard_normal((fine, width)).astype(np.float32)

    def mlp(width: int, hidden: int) -> Mlp:
        return Mlp(drawn(hidden), random.standard_normal((hidden, width)).astype(np.float32))

    return {
        2: Head(source=fine, image_SD=drawn(2), text_SD=drawn(2), image_mlp=mlp(2, 6), text_mlp=mlp(2, 12)),
        4: Head(source=fine, image_SD=drawn(4), text_SD=drawn(4)),
        8: Head.prefix(narrow or fine, 8, "kept"),
        fine: Head.shared(np.linalg.qr(drawn(fine))[0], "pca"),
    }


@pytest.mark.parametrize("kind", ["nested", "separate"])
def test_folded_heads_give_the_same_as_heads_on_top(tmp_path: Path, kind: str) -> None:
    base = micro_folder(tmp_path / "base", levels={"kind": kind, "widths": [8, 16, 32]})
    heads = some_heads(32, np.random.default_rng(0), narrow=8)
    fold(base, heads, tmp_path / "folded")
    on_top = HeadsEncoder.of(load(base), heads)
    for runtime in ("onnx", "torch"):
        folded = load(tmp_path / "folded", runtime=runtime)
        assert folded.widths == (2, 4, 8, 32)
        for width in folded.widths:
            for name in ("encode_texts", "encode_images"):
                given = TEXTS if name == "encode_texts" else PICTURES
                expected, found = getattr(on_top, name)(given)[width], getattr(folded, name)(given)[width]
                np.testing.assert_allclose(found, expected, atol=1e-4)


def test_levels_of_more_than_one_layer_take_no_heads_in(tmp_path: Path) -> None:
    base = micro_folder(tmp_path / "base", **with_bag(hidden=4))
    assert not can_fold(base)
    with pytest.raises(ModelError, match="more than one linear layer already"):
        fold(base, some_heads(32, np.random.default_rng(0)), tmp_path / "folded")
    assert not (tmp_path / "folded").exists()


def test_a_map_is_applied_to_the_level_it_reads() -> None:
    rows_NS = unit(np.random.default_rng(0).standard_normal((5, 6)).astype(np.float32))
    base = Embeddings({4: unit(rows_NS[:, :4]), 6: rows_NS})
    turned = Head(
        source=6, image_SD=np.eye(6, 2, dtype=np.float32), text_SD=np.eye(6, 2, k=-1, dtype=np.float32)
    )
    np.testing.assert_allclose(turned.images(base), unit(rows_NS[:, :2]), atol=1e-6)
    np.testing.assert_allclose(turned.texts(base), unit(rows_NS[:, 1:3]), atol=1e-6)
    np.testing.assert_allclose(Head.prefix(4, 4, "kept").texts(base), base[4], atol=1e-6)


def test_a_folder_of_heads_is_a_model_that_can_be_moved(tmp_path: Path) -> None:
    base, _, _ = made("clip", tmp_path / "clip")
    (base / "pytorch_model.bin").write_bytes(b"not needed and not copied")
    heads = some_heads(24, np.random.default_rng(1))
    write_heads(tmp_path / "made", base, heads, name="test")
    expected = HeadsEncoder.of(load(base), heads)
    shutil.rmtree(base)
    moved = Path(shutil.move(tmp_path / "made", tmp_path / "moved"))
    encoder = load(moved)
    assert not (moved / "base" / "pytorch_model.bin").exists()
    assert (encoder.widths, encoder.fingerprint) == ((2, 4, 8, 24), expected.fingerprint)
    for width in (2, 4, 24):
        np.testing.assert_allclose(encoder.encode_texts(TEXTS)[width], expected.encode_texts(TEXTS)[width])
    other = HeadsEncoder.of(load(moved / "base"), some_heads(24, np.random.default_rng(2)))
    assert other.fingerprint != encoder.fingerprint
    with pytest.raises(ModelError, match="levels on top of another model, which the runtime 'onnx' does"):
        load(moved, runtime="onnx")


def test_damaged_heads_and_those_of_a_later_version_are_refused(tmp_path: Path) -> None:
    base, _, _ = made("clip", tmp_path / "clip")
    folder = tmp_path / "heads"
    write_heads(folder, base, some_heads(24, np.random.default_rng(1)), name="test")
    whole = (folder / "heads.npz").read_bytes()
    (folder / "heads.npz").write_bytes(whole[:200])
    with pytest.raises(ModelError, match=r"the heads of .* are damaged .* copy the model again"):
        load(folder)
    (folder / "heads.npz").write_bytes(whole)
    record = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps({**record, "version": 3}), "utf-8")
    with pytest.raises(ModelError, match="has version 3 of the format hivlp-heads, this HiVLP reads up to 2"):
        load(folder)


class Broken(Source):
    """A gallery that fails when it is read too far."""

    def __init__(self, folder: Path, until: int) -> None:
        super().__init__("broken")
        self.folder, self.until = folder, until

    def _samples(self, report: Report) -> Iterator[Sample]:
        for number, sample in enumerate(open_source(self.folder)):
            if number >= self.until:
                raise KeyboardInterrupt
            yield sample


def test_what_the_cache_holds_is_not_encoded_again(tmp_path: Path) -> None:
    photos = gallery(tmp_path / "photos")
    encoder = ColourEncoder()
    with pytest.raises(KeyboardInterrupt):
        cached(Broken(photos, 8), encoder, tmp_path, key="k", split=None, batch_size=2)
    done = encoder.pictures_seen
    assert 2 <= done <= 8
    whole = cached(open_source(photos), encoder, tmp_path, key="k", split=None, batch_size=2)
    assert encoder.pictures_seen == 12, "each picture once, the interruption included"
    again = cached(open_source(photos), encoder, tmp_path, key="k", split=None)
    assert encoder.pictures_seen == 12
    np.testing.assert_array_equal(whole.pairs.images.fine, again.pairs.images.fine)
    other = ColourEncoder(fingerprint="another")
    cached(open_source(photos), other, tmp_path, key="k", split=None)
    assert other.pictures_seen == 12, "another model has a cache of its own"


def test_the_cache_holds_what_the_encoder_gives(tmp_path: Path) -> None:
    photos = gallery(tmp_path / "photos", "red", "blue", "green-red")
    encoder = ColourEncoder()
    kept = cached(open_source(photos), encoder, tmp_path, key="k", split="train")
    pictures = encoder.encode_images([photos / name for name in kept.ids])
    texts = [f"something {name.removesuffix('.png').replace('-', ' and ')}" for name in kept.ids]
    for width in encoder.widths:
        np.testing.assert_allclose(kept.pairs.images[width], pictures[width], atol=1e-3)
        words = encoder.encode_texts([texts[picture] for picture in kept.pairs.picture_of])[width]
        np.testing.assert_allclose(kept.pairs.texts[width], words, atol=1e-3)
    part = kept.take(np.array([2, 0]))
    assert part.ids == [kept.ids[2], kept.ids[0]]
    for text, picture in enumerate(part.pairs.picture_of):
        expected = encoder.encode_texts([texts[kept.ids.index(part.ids[picture])]]).fine[0]
        np.testing.assert_allclose(part.pairs.texts.fine[text], expected, atol=1e-3)


def test_pairs_without_captions_are_refused_with_the_way_out(tmp_path: Path) -> None:
    photos = gallery(tmp_path / "photos", "red", "blue")
    for path in photos.glob("*.txt"):
        path.unlink()
    with pytest.raises(DataError, match=r"no picture with a caption.*docs/fit-levels\.md"):
        cached(open_source(photos), encoder := ColourEncoder(), tmp_path / "cache", key="k", split=None)
    assert encoder.pictures_seen == 0 and not (tmp_path / "cache").exists(), "said before the work"


def drawn_pairs(count: int, seed: int) -> Cached:
    """Pairs that agree in the last 8 of 32 numbers; the first 24 are noise, and louder."""
    random = np.random.default_rng(seed)
    common_ND = random.standard_normal((count, 8))
    sides = []
    for _ in range(2):
        noise = 1.2 * random.standard_normal((count, 24))
        sides.append(unit(np.hstack([noise, common_ND]).astype(np.float32)))
    image_ID, text_TD = sides
    pairs = EncodedPairs(
        images=Embeddings({32: image_ID}),
        texts=Embeddings({32: text_TD}),
        picture_of=np.arange(count),
        failed=[],
    )
    return Cached(pairs, [str(n) for n in range(count)], np.arange(count))


@pytest.mark.parametrize("kind", ["nested", "separate"])
@pytest.mark.parametrize("heads_", ["linear", "mlp"])
def test_learned_levels_find_what_rotation_and_truncation_miss(
    tmp_path: Path, kind: str, heads_: str
) -> None:
    train, val = drawn_pairs(800, 0), drawn_pairs(100, 1)
    turned = joint_rotation(train.pairs.images.fine, train.pairs.texts.fine)
    settings = {
        "kind": kind,
        "heads": heads_,
        "epochs": 30,
        "patience": 30,
        "batch_size": 200,
        "learning_rate": 0.02,
    }
    config = parse(FitLevelsConfig, settings, where="test")
    learned = learn(train, val.pairs, turned, (8, 32), config, tmp_path, device=CPU)
    free = recalls(val.pairs, {8: Head.prefix(32, 8, "truncated"), 32: Head.prefix(32, 32, "kept")})
    pca = recalls(val.pairs, {8: Head.shared(turned[:, :8], "pca")})
    found = recalls(val.pairs, learned.heads)
    assert found[8].average > 2 * max(free[8].average, pca[8].average)
    assert learned.epoch >= 1 and learned.steps == 30 * 4
    log = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log if "loss" in line] == list(range(4, 121, 4))
    averages = [line["evaluation"]["AR"] for line in log if "evaluation" in line]
    assert averages.index(max(averages)) == learned.epoch - 1
    again = learn(train, val.pairs, turned, (8, 32), config, tmp_path / "again", device=CPU)
    for width, head in learned.heads.items():
        np.testing.assert_allclose(again.heads[width].image_SD, head.image_SD, atol=1e-5)
    maps = LevelMaps(turned, None, (8, 32), config)
    steps = LoopSettings(steps=3, batch_size=200, optimisation=Optimisation(learning_rate=0.02))
    fit(maps, VectorBatches(train, 200, 0, CPU), steps, tmp_path / "maps", resume=False)
    heads = maps.heads()
    assert np.array_equal(heads[32].text_SD[:, :8], heads[8].text_SD) == (kind == "nested")


def test_learning_starts_from_the_rotation_and_ends_early(tmp_path: Path) -> None:
    train, val = drawn_pairs(60, 0), drawn_pairs(40, 1)
    turned = joint_rotation(train.pairs.images.fine, train.pairs.texts.fine)
    none = parse(FitLevelsConfig, {"epochs": 0}, where="test")
    start = learn(train, val.pairs, turned, (8, 32), none, tmp_path, device=CPU)
    np.testing.assert_allclose(start.heads[8].image_SD, turned[:, :8])
    assert (start.epoch, start.steps) == (0, 0)
    idle = parse(FitLevelsConfig, {"learning_rate": 1e-9, "patience": 2, "batch_size": 60}, where="test")
    assert learn(train, val.pairs, turned, (8, 32), idle, tmp_path, device=CPU).steps == 2
    train.pairs.images.fine[3] = np.nan
    with pytest.raises(
        HivlpError, match=r"became nan .* at step 1; lower learning_rate \(now 1e-09\)\. The batch is in"
    ):
        learn(train, val.pairs, turned, (8, 32), idle, tmp_path, device=CPU)
    with np.load(tmp_path / "bad-batch-00000000.npz", allow_pickle=False) as batch:
        assert np.isnan(batch["image_BS"]).any() and batch["positive_BB"].shape == (60, 60)


def test_a_rotation_keeps_every_cosine_and_packs_what_is_long_to_the_front() -> None:
    train = drawn_pairs(200, 3)
    image_ID, text_TD = train.pairs.images.fine, train.pairs.texts.fine
    turned_DD = joint_rotation(image_ID, text_TD[:50])
    np.testing.assert_allclose(turned_DD.T @ turned_DD, np.eye(32), atol=1e-5)
    np.testing.assert_allclose(
        (image_ID @ turned_DD) @ (text_TD @ turned_DD).T, image_ID @ text_TD.T, atol=1e-5
    )
    moment_DD = image_ID.T @ image_ID / len(image_ID) + text_TD[:50].T @ text_TD[:50] / 50
    lengths_D = np.diag(turned_DD.T @ moment_DD @ turned_DD)
    assert (np.diff(lengths_D) <= 1e-5).all()
    np.testing.assert_allclose(lengths_D, np.sort(np.linalg.eigvalsh(moment_DD))[::-1], atol=1e-4)


def test_a_batch_has_each_image_with_a_caption_of_its_own() -> None:
    picture_of = np.array([0, 0, 1, 2, 2, 2, 3, 4])
    numbers_T1 = np.arange(8, dtype=np.float32)[:, None]
    pairs = EncodedPairs(
        images=Embeddings({1: numbers_T1[:5]}),
        texts=Embeddings({1: numbers_T1}),
        picture_of=picture_of,
        failed=[],
    )
    train = Cached(pairs, list("abcde"), np.array([0, 1, 2, 3, 4, 5, 6, 2]))
    batches = VectorBatches(train, 2, 0, CPU)
    assert (batches.size, batches.an_epoch) == (2, 2)
    seen_images, seen_texts = [], set()
    for step, batch in enumerate(batches.batches(0, 40)):
        images_B, texts_B = batch.image_BS[:, 0].long().tolist(), batch.text_BS[:, 0].long().tolist()
        assert picture_of[texts_B].tolist() == images_B
        alike_B = train.wording_T[texts_B]
        assert batch.positive_BB.tolist() == (alike_B[:, None] == alike_B).tolist(), "equal wordings fit both"
        assert torch.equal(batches.batch(step).text_BS, batch.text_BS), "a function of the step alone"
        seen_images += images_B
        seen_texts |= set(texts_B)
        if step % 2:
            assert len(set(seen_images[-4:])) == 4, "no image twice in an epoch"
    assert seen_texts == set(range(8)), "all captions have their turn"


def both(average: float) -> BothWays:
    same = Recalls(at={1: average, 5: average, 10: average}, median_rank=1.0, queries=1)
    return BothWays(text_to_image=same, image_to_text=same)


@pytest.mark.parametrize(
    ("averages", "shipped"),
    [
        ({"kept": 50, "truncated": 50, "pca": 50, "learned": 50.1}, "kept"),
        ({"truncated": 40, "pca": 45, "learned": 45.1}, "pca"),
        ({"truncated": 40, "pca": 45, "learned": 45.3}, "learned"),
        ({"truncated": 46, "pca": 45, "learned": 45.3}, "truncated"),
    ],
)
def test_what_is_learned_ships_only_where_it_is_clearly_better(
    averages: dict[str, float], shipped: str
) -> None:
    found = {method: {8: both(averages[method])} if method in averages else {} for method in fitting.METHODS}
    found["kept"] = {**found["kept"], 32: both(60)}
    assert fitting._best(8, found, margin=0.2) == shipped


def test_the_full_width_stays_as_it_is_unless_learning_helps() -> None:
    found = {"kept": {32: both(60)}, "truncated": {32: both(60.04)}, "pca": {32: both(60.04)}}
    assert fitting._best(32, {**found, "learned": {32: both(60.1)}}, margin=0.2) == "kept"
    assert fitting._best(32, {**found, "learned": {32: both(61)}}, margin=0.2) == "learned"


def test_the_command_makes_a_model_like_any_other(tmp_path: Path, hivlp: Callable[..., Ran]) -> None:
    base = micro_folder(tmp_path / "base", levels={"kind": "nested", "widths": [32]})
    out, index = tmp_path / "levels", tmp_path / "scenes.hivlp"
    command = ("fit-levels", "--model", base, "--data", "scenes:60?size=32", "--out", out, "--widths", "4,16",
               "--set", "epochs=2", "--set", "held_out=0.3", "--json")  # fmt: skip
    done = hivlp(*command)
    assert done.code == 0, done.err
    document = done.document
    assert list(document["levels"]) == ["4", "16", "32"]
    for level in document["levels"].values():
        assert level["shipped"] in fitting.METHODS
        assert {"truncated", "pca", "learned"} <= set(level)
    assert "kept" in document["levels"]["32"] and "kept" not in document["levels"]["4"]
    assert document["levels"]["32"]["pca"]["AR"] == pytest.approx(
        document["levels"]["32"]["kept"]["AR"], abs=0.5
    )
    assert document["pictures"] + document["eval"][0]["images"] == 60
    assert json.loads((out / "result.json").read_text("utf-8")) == document
    assert "| 32 | kept |" in (out / "model" / "README.md").read_text("utf-8") or (
        document["levels"]["32"]["shipped"] != "kept"
    )
    assert load(out / "model").widths == (4, 16, 32)
    assert hivlp("export", out / "model", "--json").document["max_abs_diff"] < 1e-4
    assert hivlp("index", "scenes:5?size=32", "--out", index, "--model", out / "model").code == 0
    assert len(hivlp("search", index, "a red boat", "--no-group", "--json").document["hits"]) == 5
    again = hivlp(*command)
    assert again.code == 0 and "60 unchanged" in again.err
    assert again.document["levels"] == document["levels"]


def test_a_model_of_transformers_gets_its_levels_on_top(tmp_path: Path, hivlp: Callable[..., Ran]) -> None:
    base, _, _ = made("siglip", tmp_path / "siglip")
    photos, out = gallery(tmp_path / "photos"), tmp_path / "levels"
    done = hivlp("fit-levels", "--model", f"hf:{base}", "--data", photos, "--out", out, "--widths", "4,8",
                 "--set", "epochs=1", "--set", "held_out=0.4", "--json")  # fmt: skip
    assert done.code == 0, done.err
    encoder = load(out / "model")
    assert encoder.widths == (4, 8, 32)
    np.testing.assert_allclose(
        encoder.encode_texts(TEXTS).fine @ encoder.encode_texts(TEXTS).fine.T,
        load(base).encode_texts(TEXTS).fine @ load(base).encode_texts(TEXTS).fine.T,
        atol=1e-5 if done.document["levels"]["32"]["shipped"] == "kept" else 2,
    )
    measured = hivlp("eval", "--model", out / "model", "--data", photos, "--json")
    assert measured.code == 0 and list(measured.document["levels"]) == ["4", "8", "32"]
    index = tmp_path / "photos.hivlp"
    assert hivlp("index", photos, "--out", index, "--model", out / "model").code == 0
    assert hivlp("search", index, "red", "--json").code == 0


def test_impossible_runs_are_refused_before_anything_is_encoded(
    tmp_path: Path, hivlp: Callable[..., Ran]
) -> None:
    base = micro_folder(tmp_path / "base")
    out = tmp_path / "out"

    def message(*options: object, data: object = "scenes:8?size=32") -> str:
        done = hivlp("fit-levels", "--model", base, "--data", data, "--out", out, *options)
        assert done.code == 2
        return done.err

    assert "width 64 is invalid: must be at most 32" in message("--widths", "64")
    assert "levels must be positive" in message("--widths", "0")
    assert "unknown key 'epoch': did you mean 'epochs'?" in message("--set", "epoch=3")
    assert not out.exists()
    assert "too few to hold 1% of them out" in message("--set", "held_out=0.01", "--widths", "8")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letters.txt").write_text("mine", "utf-8")
    with pytest.raises(ConfigError, match="holds other files than those of fit-levels"):
        fit_levels(base, "scenes:8?size=32", FitLevelsConfig(widths=(8,)), out=tmp_path / "full")


def test_the_recipe_of_the_documentation_runs_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hivlp: Callable[..., Ran]
) -> None:
    made("clip", tmp_path / "models" / "clip")
    made("siglip", tmp_path / "models" / "siglip-wide", hidden_size=64)
    photos = gallery(tmp_path / "photos")
    rows = [("image", "caption", "split")]
    splits = ["train"] * 6 + ["val"] * 3 + ["test"] * 3
    for path, split in zip(sorted(photos.glob("*.png")), splits, strict=True):
        rows.append((f"photos/{path.name}", f"something {path.stem}", split))
    (tmp_path / "pairs.tsv").write_text("\n".join("\t".join(row) for row in rows) + "\n", "utf-8")
    page = (Path(__file__).parents[2] / "docs" / "fit-levels.md").read_text("utf-8")
    monkeypatch.chdir(tmp_path)
    commands = [
        line for block in re.findall(r"```bash\n(.*?)```", page, re.DOTALL) for line in block.splitlines()
    ]
    assert len(commands) >= 6
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "hivlp"
        done = hivlp(*arguments)
        assert done.code == 0, f"{command}\n{done.err}"
        if arguments[:2] == ["info", "rotated.hivlp"]:
            assert done.document["rotation"] == {"kind": "pca", "width": 32, "fitted_on": 12}
            shown = hivlp(*arguments[:2]).out
            assert "levels up to 32 are those of a PCA rotation, fitted on 12 items" in shown


def test_each_level_is_kept_as_it_was_in_its_best_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, val = drawn_pairs(60, 0), drawn_pairs(40, 1)
    turned = joint_rotation(train.pairs.images.fine, train.pairs.texts.fine)
    told = iter([(1, 1), (2, 9), (5, 3), (4, 4)])  # AR of the levels 8 and 32 at the start, then by epoch
    seen: list[dict[int, Head]] = []

    def averages(pairs: EncodedPairs, heads: dict[int, Head], bits: int) -> dict[int, float]:
        seen.append(heads)
        return dict(zip((8, 32), map(float, next(told)), strict=True))

    monkeypatch.setattr("hivlp.fit_levels.learn._averages", averages)
    config = parse(FitLevelsConfig, {"epochs": 3, "batch_size": 30}, where="test")
    learned = learn(train, val.pairs, turned, (8, 32), config, tmp_path, device=CPU)
    np.testing.assert_array_equal(learned.heads[8].image_SD, seen[2][8].image_SD)
    np.testing.assert_array_equal(learned.heads[32].image_SD, seen[1][32].image_SD)
    assert not np.array_equal(seen[1][32].image_SD, seen[2][32].image_SD)
    assert (learned.epoch, learned.steps) == (1, 6)


def test_an_mlp_starts_as_the_rotation_and_learns_what_no_map_can(tmp_path: Path) -> None:
    """Texts hold the absolute values of what pictures hold, which no linear map gives."""

    def folded_pairs(seed: int) -> Cached:
        random = np.random.default_rng(seed)
        image_ID = random.standard_normal((400, 12)).astype(np.float32)
        text_TD = np.abs(image_ID) - np.abs(image_ID).mean(axis=0)
        pairs = EncodedPairs(
            images=Embeddings({12: unit(image_ID)}), texts=Embeddings({12: unit(text_TD)}),
            picture_of=np.arange(400), failed=[],
        )  # fmt: skip
        return Cached(pairs, [str(n) for n in range(400)], np.arange(400))

    train, val = folded_pairs(0), folded_pairs(1)
    turned_SS = joint_rotation(train.pairs.images.fine, train.pairs.texts.fine)
    settings = {"epochs": 60, "patience": 60, "batch_size": 100, "learning_rate": 0.02}
    found = {}
    for heads in ("linear", "mlp"):
        config = parse(FitLevelsConfig, {**settings, "heads": heads}, where="test")
        start = LevelMaps(turned_SS, None, (8, 12), config).heads()
        np.testing.assert_allclose(
            start[8].images(val.pairs.images), unit(val.pairs.images.fine @ turned_SS[:, :8]), atol=1e-6
        )
        learned = learn(train, val.pairs, turned_SS, (8, 12), config, tmp_path, device=CPU)
        found[heads] = recalls(val.pairs, learned.heads)[12].average
    assert found["mlp"] > 1.5 * found["linear"]


def test_a_binary_level_is_learned_and_measured_by_its_signs(tmp_path: Path) -> None:
    train, val = drawn_pairs(800, 0), drawn_pairs(100, 1)
    settings = {"epochs": 30, "patience": 30, "batch_size": 200, "learning_rate": 0.02, "binary": 16}
    config = parse(FitLevelsConfig, settings, where="test")
    result = fitting.compare(train, val.pairs, (8, 32), (32,), config, tmp_path, device=CPU)
    assert sorted(result.ships) == [8, 16, 32] and result.ships[16] == "learned"
    assert set(result.as_dict()["16"]) == {"shipped", "rotated", "learned"}
    assert result.found["learned"][16].average > 1.5 * result.found["rotated"][16].average
    turn = result.heads["rotated"][16].image_SD
    np.testing.assert_allclose(turn.T @ turn, np.eye(16), atol=1e-5)
    head = result.shipped()[16]
    image_IK, text_TK = head.images(val.pairs.images) > 0, head.texts(val.pairs.texts) > 0
    alike_TI = (text_TK[:, None] == image_IK[None]).sum(axis=2)  # the slow way: bits that are alike
    ranks = [(row >= row[own]).sum() for own, row in enumerate(alike_TI)]
    share = 100 * np.mean(np.array(ranks) <= 10)
    assert result.found["learned"][16].text_to_image.at[10] == pytest.approx(share)


def test_the_coarse_index_of_bits_takes_the_signs_of_the_binary_level(
    tmp_path: Path, hivlp: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hivlp.index.coarse.faiss_index.FaissIndex.scan_up_to", 0)
    base = micro_folder(tmp_path / "base", levels={"kind": "nested", "widths": [32]})
    out, index = tmp_path / "levels", tmp_path / "scenes.hivlp"
    done = hivlp("fit-levels", "--model", base, "--data", "scenes:60?size=32", "--out", out, "--widths", "4",
                 "--set", "epochs=1", "--set", "binary=16", "--set", "heads=mlp",
                 "--set", "margin=0", "--json")  # fmt: skip
    assert done.code == 0, done.err
    assert (done.document["binary"], done.document["heads"]) == (16, "mlp")
    assert "goes by the signs" in (out / "model" / "README.md").read_text("utf-8")
    encoder = load(out / "model")
    assert encoder.widths == (4, 16, 32)
    assert hivlp("index", "scenes:40?size=32", "--out", index, "--model", out / "model").code == 0
    words = encoder.encode_texts(["a red boat"])
    with LocalStore.open(index) as store:
        (hits,) = store.search(words, k=5, plan=Plan(coarse="bits", coarse_width=16, candidates=5))
        level_NK = np.asarray(store.view().level(16)[:], np.float32)
        rows = list(store.rows_of(hit.id for hit in hits).values())
    apart_N = ((level_NK > 0) != (words[16][0] > 0)).sum(axis=1)
    assert sorted(apart_N[rows]) == sorted(apart_N)[:5]


def test_a_binary_level_needs_a_width_of_its_own(tmp_path: Path, hivlp: Callable[..., Ran]) -> None:
    base = micro_folder(tmp_path / "base")
    for bits in (8, 64):
        done = hivlp("fit-levels", "--model", base, "--data", "scenes:8?size=32", "--out", tmp_path / "out",
                     "--widths", "8", "--set", f"binary={bits}")  # fmt: skip
        assert done.code == 2 and f"binary={bits} is invalid: must be below 32" in done.err
