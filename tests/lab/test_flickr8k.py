"""The comparison on Flickr8k: the parts against slow twins, and a tiny run of the whole command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from flickr8k_scenes import LEFT_OVER, TRAIN, VAL, drawn  # noqa: E402
from hivlp.cli.main import main  # noqa: E402
from hivlp.errors import DataError, QueryError  # noqa: E402
from hivlp.evaluate.protocols import EncodedPairs, through_cascade  # noqa: E402
from hivlp.search.plan import Plan  # noqa: E402
from hivlp.train.starts import cca  # noqa: E402
from hivlp.types import Embeddings  # noqa: E402
from hivlp_lab.flickr8k import (  # noqa: E402
    ablations,
    chart,
    claims,
    features,
    pages,
    pools,
    report,
    scoring,
    training,
)
from hivlp_lab.flickr8k.batches import RegionBatches  # noqa: E402
from hivlp_lab.flickr8k.compare import Comparison  # noqa: E402
from hivlp_lab.flickr8k.features import RandomBackbone  # noqa: E402
from hivlp_lab.flickr8k.learners import TeacherTargets  # noqa: E402
from hivlp_lab.flickr8k.materials import Materials  # noqa: E402
from hivlp_lab.flickr8k.recipes import SMALL, SYSTEMS, small  # noqa: E402
from hivlp_lab.flickr8k.systems import Systems  # noqa: E402
from hivlp_lab.speed.clock import TimeLimit  # noqa: E402
from hivlp_lab.speed.ledger import Ledger  # noqa: E402
from index_tools import unit  # noqa: E402


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn(tmp_path_factory.mktemp("scenes"))


@pytest.fixture
def materials(table: Path, tmp_path: Path) -> Materials:
    return Materials(data=str(table), path=None, work=tmp_path, sizes=SMALL)


@pytest.fixture
def systems(materials: Materials, tmp_path: Path) -> Systems:
    return Systems(materials=materials, tiny=True, work=tmp_path, ledger=Ledger(tmp_path / "kept.jsonl"))


def vectors(count: int, *, width: int = 16, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32))


# What is given


def test_splits_are_those_of_the_data_and_what_is_left_over_is_put_aside(materials: Materials) -> None:
    corpus = materials.corpus
    counts = {split: len(corpus.images(split)) for split in ("train", "val", "tune")}
    assert counts == {"train": TRAIN, "val": VAL, "tune": LEFT_OVER}
    texts_T = corpus.texts(corpus.images("val"))
    assert set(corpus.image_of_T[texts_T]) == set(corpus.images("val"))


def test_data_without_val_are_refused(table: Path, tmp_path: Path) -> None:
    lines = table.read_text().splitlines()
    without = table.with_name("without.tsv")
    without.write_text("\n".join(line for line in lines if "\tval\t" not in line) + "\n")
    with pytest.raises(DataError, match=r"no captioned pictures of the split 'val'.*captions.tsv"):
        Materials(data=str(without), path=None, work=tmp_path, sizes=SMALL).corpus  # noqa: B018


def test_features_are_stored_once_and_a_stopped_run_goes_on(
    materials: Materials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples, backbone = materials.corpus.samples, RandomBackbone()

    def kept(name: str) -> np.ndarray:
        return features.stored_grids(samples, backbone, tmp_path / name, mirror=False, say=lambda line: None)

    whole = np.array(kept("whole"))
    seen: list[int] = []
    monkeypatch.setattr("hivlp.train.resumable_array.SAVE_EVERY", 10)

    def stop(pixels: Any) -> Any:
        seen.append(1)
        if len(seen) == 16:
            raise KeyboardInterrupt
        return RandomBackbone().grid(pixels)

    monkeypatch.setattr(backbone, "grid", stop)
    with pytest.raises(KeyboardInterrupt):
        kept("stopped")
    np.testing.assert_array_equal(kept("stopped"), whole)
    assert len(seen) == 16 + len(samples) - 10, "the first ten were on the disk"


def test_averaged_regions_are_those_of_adaptive_pooling(materials: Materials) -> None:
    grid_ICF = materials._grids[0][:5]
    found = features.as_tensors([grid_ICF], materials.backbone, materials.scaling, grid=4)
    numbers = (
        torch.from_numpy(np.array(grid_ICF)).float() - materials.backbone.zero
    ) * materials.backbone.scale
    numbers = (numbers - materials.scaling.mean_F) / materials.scaling.std_F
    maps = numbers.transpose(1, 2).unflatten(2, (7, 7))
    pooled = torch.nn.functional.adaptive_avg_pool2d(maps, 4).flatten(2).transpose(1, 2)
    torch.testing.assert_close(found.regions_VIRF[0].float(), pooled, atol=2e-2, rtol=2e-3)
    torch.testing.assert_close(found.pooled_VIF[0], numbers.mean(dim=1), atol=1e-4, rtol=1e-4)
    left, top, right, bottom, width, _, area = found.boxes_R7.T
    torch.testing.assert_close((right - left) * (bottom - top), area)
    assert (width > 0).all() and float(right.max()) == 1 and float(top[0]) == 0 and len(left) == 16


def test_a_picture_is_not_mirrored_where_a_caption_says_left(table: Path, tmp_path: Path) -> None:
    said = table.with_name("sided.tsv")
    lines = table.read_text().splitlines()
    said.write_text("\n".join([lines[0], *(f"{line} to the left of it" for line in lines[1:])]) + "\n")
    materials = Materials(data=str(said), path=None, work=tmp_path, sizes=SMALL)
    batches = RegionBatches(materials.corpus, materials.images, batch=8, captions=2, drop=0.1, seed=0)
    assert all(int(batches.batch(step).views_B.sum()) == 0 for step in range(6))


# Batches and training


def test_a_batch_holds_captions_of_its_pictures_and_an_epoch_every_picture(materials: Materials) -> None:
    batches = RegionBatches(materials.corpus, materials.images, batch=8, captions=2, drop=0.5, seed=3)
    rows = torch.cat([batches.batch(step).rows_B for step in range(batches.an_epoch)])
    assert sorted(rows.tolist()) == materials.corpus.images("train").tolist()
    batch = batches.batch(1)
    assert (materials.corpus.image_of_T[batch.texts_T] == batch.rows_B[batch.owner_T].numpy()).all()
    assert len(set(batch.texts_T.tolist())) == len(batch.texts_T)
    assert batch.positive_BT[batch.owner_T, torch.arange(len(batch.texts_T))].all()
    again = RegionBatches(materials.corpus, materials.images, batch=8, captions=2, drop=0.5, seed=3).batch(1)
    assert (again.tokens_TL == batch.tokens_TL).all() and (again.views_B == batch.views_B).all()
    assert (batch.tokens_TL != batch.full_TL).any()


@pytest.mark.parametrize("name", ["hivlp", "uniter"])
def test_a_stopped_training_ends_as_one_that_was_never_stopped(
    systems: Systems, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    recipe = systems.recipe(name)
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 1)

    def run(folder: str, stop_at: int | None = None) -> Any:
        learner = systems._built(recipe, 0, TeacherTargets())
        materials = systems.materials
        batches = RegionBatches(materials.corpus, materials.images, batch=8, captions=1, drop=0.1, seed=0)
        budget = 5 * training.count_macs(learner.eval(), batches)
        done: list[int] = []

        def evaluate() -> dict[str, float]:
            done.append(training.curve(tmp_path / folder)[-1]["step"])
            if done[-1] == stop_at:
                raise KeyboardInterrupt
            return {"AR": 1.0}

        training.train(
            learner, batches, recipe, tmp_path / folder, seed=0, budget=budget, evaluate=evaluate,
            evaluations=5,
        )  # fmt: skip
        return learner.state_dict(), done

    whole, _ = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("stopped", stop_at=4)
    resumed, done = run("stopped")
    assert done == [4], "the step that was not saved is done again, and those before are not"
    assert [point["step"] for point in training.curve(tmp_path / "stopped")] == [1, 2, 3, 4, 5]
    restored = systems._built(recipe, 1, TeacherTargets())
    training.restore(restored, tmp_path / "stopped")
    assert all(torch.equal(value, restored.state_dict()[key]) for key, value in whole.items())
    for key, value in whole.items():
        torch.testing.assert_close(resumed[key], value, atol=0, rtol=0)


def test_transformers_begin_where_the_floor_puts_words_and_regions(systems: Systems) -> None:
    floor, rarity_V = systems.materials.floor, systems.materials.rarity_V
    room = SMALL.stack.width
    for name in ("hivlp", "uniter", "meter"):
        learner = systems._built(systems.recipe(name), 0, TeacherTargets())
        words = [part for key, part in learner.named_modules() if key.endswith("word_embeddings")]
        assert len(words) == 1, name
        seen = rarity_V > 0
        wanted_VD, found_VD = (
            (floor.text_VD[:, :room] * rarity_V[:, None])[seen],
            words[0].weight.detach()[seen, :room],
        )
        turned = torch.nn.functional.cosine_similarity(wanted_VD.flatten(), found_VD.flatten(), dim=0)
        assert float(turned) > 0.95, name
    model = systems._built(systems.recipe("hivlp"), 0, TeacherTargets()).eval().towers.model
    text, image = model.towers.text_tower, model.towers.image_tower
    states = text.words(input_ids=systems.tokens(np.arange(3))[0])
    torch.testing.assert_close(text.encoder(states)[0], image.encoder(states)[0])


@pytest.mark.parametrize("levels", ["nested", "separate"])
def test_compact_towers_begin_as_the_floor(systems: Systems, levels: str) -> None:
    recipe = replace(systems.recipe("hivlp-compact"), levels=levels)
    learner = systems._built(recipe, 0, TeacherTargets()).eval()
    materials, rows = systems.materials, np.arange(10)
    floor = materials.floor
    images, texts = systems.images(learner, rows, view=0), systems.texts(learner, rows)
    wanted_ID = floor.images(materials.images.pooled_VIF[0, :10]).numpy()
    np.testing.assert_allclose(images[32], wanted_ID, atol=1e-4)
    np.testing.assert_allclose(images[8], unit(wanted_ID[:, :8]), atol=1e-4)
    once = [row for row in rows if len(set(tokens := used(materials, row))) == len(tokens)]
    assert once, "the bag weighs a word that is there twice otherwise than TF-IDF"
    wanted_TD = floor.texts(materials.words_TV.index_select(0, torch.tensor(once))).numpy()
    np.testing.assert_allclose(texts[32][once], wanted_TD, atol=1e-4)


def used(materials: Materials, row: int) -> list[int]:
    return [token for token in materials.corpus.tokens_TL[row].tolist() if token >= 5]


def test_systems_without_epochs_spend_the_same(systems: Systems) -> None:
    for name in ("lightningdot", "hivlp", "uniter", "meter"):
        result = systems.result(name, systems.recipe(name), 0)
        step = result["macs"] / result["steps"]
        assert abs(result["macs"] - SMALL.budget) <= step, name


def test_scores_of_pairs_do_not_depend_on_what_is_scored_beside_them(
    systems: Systems, tmp_path: Path
) -> None:
    for name in ("uniter", "meter"):
        recipe = systems.recipe(name)
        systems.result(name, recipe, 0)
        images_P = systems.materials.small_pool()
        texts_T = systems.materials.corpus.texts(images_P)
        whole_TP = systems.small_pool_scores(recipe, 0)
        learner = systems.learner(recipe, 0)
        for text, picture in ((0, 3), (7, 1), (len(texts_T) - 1, 0)):
            one = systems.scores(
                learner,
                texts_T[text : text + 1],
                images_P[None, picture : picture + 1],
                tmp_path / f"{name}{text}",
            )
            assert float(one[0, 0]) == pytest.approx(float(whole_TP[text, picture]), abs=1e-4)


# The floor


def test_cca_finds_what_the_eigenvalue_problem_says() -> None:
    """Against Cx⁻¹ Cxy Cy⁻¹ Cyx w = ρ² w, solved for dense matrices."""
    random = np.random.default_rng(0)
    hidden = random.standard_normal((400, 3))
    x = hidden @ random.standard_normal((3, 8)) + random.standard_normal((400, 8))
    y = np.maximum(hidden @ random.standard_normal((3, 12)) + random.standard_normal((400, 12)) - 1, 0)
    ridges = (0.1, 0.05)
    fitted = cca.fit(
        torch.from_numpy(x).float(),
        torch.from_numpy(y).float().to_sparse(),
        components=3,
        ridges=ridges,
        power=0,
    )
    x, y = x - x.mean(0), y - y.mean(0)
    cx, cy = x.T @ x / 400 + 0.1 * np.eye(8), y.T @ y / 400 + 0.05 * np.eye(12)
    cross = x.T @ y / 400
    values = np.linalg.eigvals(np.linalg.inv(cx) @ cross @ np.linalg.inv(cy) @ cross.T)
    wanted = np.sqrt(np.sort(values.real)[::-1][:3])
    np.testing.assert_allclose(fitted.correlation_D, wanted, atol=1e-4)
    across = fitted.image_FD.double().numpy().T @ cross @ fitted.text_VD.double().numpy()
    np.testing.assert_allclose(across, np.diag(wanted), atol=1e-4)


def test_tf_idf_by_hand() -> None:
    tokens = torch.tensor([[5, 6, 6, 0], [2, 7, 0, 0]])
    rows = cca.tf_idf(tokens, tokens >= 5, torch.tensor([0, 0, 0, 0, 0, 3.0, 2.0, 1.0])).to_dense()
    assert rows[0].tolist() == pytest.approx([0, 0, 0, 0, 0, 0.6, 0.8, 0])
    assert rows[1].tolist() == [0, 0, 0, 0, 0, 0, 0, 1]


# Scores


def test_a_cascade_by_matrices_is_that_of_the_library_and_with_all_candidates_brute_force() -> None:
    images = {4: unit(vectors(30)[:, :4]), 16: vectors(30)}
    texts = {4: unit(vectors(60, seed=1)[:, :4]), 16: vectors(60, seed=1)}
    owners = np.repeat(np.arange(30), 2)
    pairs = EncodedPairs(images=Embeddings(images), texts=Embeddings(texts), picture_of=owners, failed=[])
    fine, coarse = texts[16] @ images[16].T, texts[4] @ images[4].T
    for candidates in (5, 12):
        wanted = through_cascade(pairs, Plan(candidates=candidates)).text_to_image
        found = scoring.recalls_of(scoring.cascaded(coarse, fine, candidates), owners[:, None].tolist())
        assert {k: v for k, v in found.at.items() if k <= candidates} == {
            k: v for k, v in wanted.at.items() if k <= candidates
        }
    np.testing.assert_array_equal(scoring.cascaded(coarse, fine, 30), fine)


def test_re_ranking_all_candidates_by_the_fusion_model_alone_is_its_own_order() -> None:
    random = np.random.default_rng(2)
    dual, fusion = random.standard_normal((2, 8, 12)).astype(np.float32)
    every = scoring.best_columns(dual, 12)
    said = np.take_along_axis(fusion, every, axis=1)
    alone = scoring.reranked(dual, every, said, depth=12, share=1.0)
    np.testing.assert_array_equal(scoring.best_columns(alone, 12), scoring.best_columns(fusion, 12))
    untouched = scoring.reranked(dual, every, said, depth=5, share=0.0)
    np.testing.assert_array_equal(scoring.best_columns(untouched, 12), every)


def test_re_ranking_leaves_what_is_behind_the_depth() -> None:
    random = np.random.default_rng(2)
    dual, fusion = random.standard_normal((2, 8, 12)).astype(np.float32)
    every = scoring.best_columns(dual, 12)
    mixed = scoring.reranked(dual, every, np.take_along_axis(fusion, every, axis=1), depth=5, share=0.5)
    order = scoring.best_columns(mixed, 12)
    np.testing.assert_array_equal(order[:, 5:], every[:, 5:])
    assert all(set(head) == set(before) for head, before in zip(order[:, :5], every[:, :5], strict=True))


def test_ranks_in_a_pool_are_those_of_all_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "_APPEND", 7)
    pool, texts, owners = vectors(40), vectors(12, seed=1), np.arange(12) * 3
    pool[5] = pool[3]  # a tie counts against the model
    wanted = scoring.metrics.ranks(texts @ pool.T, owners[:, None].tolist())
    np.testing.assert_array_equal(pools.ranks_in(pool, texts, owners), wanted)


def test_a_collage_is_half_of_each_picture() -> None:
    left, right = torch.zeros(1, 16, 2), torch.ones(1, 16, 2)
    made = pools.collage(left, right).reshape(4, 4, 2)
    assert (made[:, :2] == 0).all() and (made[:, 2:] == 1).all()


# The whole


@pytest.fixture(scope="module")
def ran(table: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    work = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patched:
        for name in ("separate", "consistency", "VLM", "LRM"):  # each of these parts is in another variant
            patched.delitem(ablations.VARIANTS, name)
        patched.setattr(pools, "_EFFORT", TimeLimit(most=3, seconds=1))
        return work, comparison(table, work).run()


def comparison(table: Path, work: Path, **changes: Any) -> Comparison:
    values = {"seeds": [0], "distractors": ["scenes:30?size=48"], "ablate": True, "small": True}
    return Comparison(data=str(table), backbone=None, work=work, **{**values, **changes})


def test_the_document_holds_every_system_and_table(ran: tuple[Path, dict[str, Any]]) -> None:
    _, document = ran
    assert json.loads(json.dumps(document)) == document
    assert document["small"] and set(document["systems"]) == set(SYSTEMS)
    for name, by_seed in document["systems"].items():
        assert by_seed["0"]["small_pool"]["AR"] >= 0 and by_seed["0"]["macs"] > 0, name
        assert ("cascade" in by_seed["0"]) == (name.startswith("hivlp"))
    assert set(document["reranked"]) == {
        f"{dual}+{fusion}" for dual in ("hivlp-compact", "hivlp-distilled") for fusion in ("uniter", "meter")
    }
    assert [row["candidates"] for row in document["pools"]["rows"]] == [20, 60] * 3
    assert set(document["ablations"]["candidates"]["0"]) == {"4"}


def test_a_second_run_does_nothing_again(
    ran: tuple[Path, dict[str, Any]], table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, document = ran
    monkeypatch.setattr(training, "train", lambda *_, **__: pytest.fail("something was trained"))
    monkeypatch.setattr(RandomBackbone, "grid", lambda *_: pytest.fail("a picture was looked at"))
    monkeypatch.setattr(
        ablations, "VARIANTS", {name: ablations.VARIANTS[name] for name in document["ablations"]["variants"]}
    )
    again = comparison(table, work).run()
    for part in ("systems", "reranked", "pools", "ablations", "floor", "targets"):
        assert again[part] == document[part], part


def test_fusion_models_may_have_fewer_seeds(ran: tuple[Path, dict[str, Any]], table: Path) -> None:
    few = ["uniter", "hivlp-compact"]
    asked = {"seeds": [0, 1], "fusion_seeds": 1, "systems": few, "distractors": (), "ablate": False}
    document = comparison(table, ran[0], **asked).run()
    assert {name: list(by_seed) for name, by_seed in document["systems"].items()} == {
        "uniter": ["0"],
        "hivlp-compact": ["0", "1"],
    }
    assert list(document["reranked"]["hivlp-compact+uniter"]) == ["0"]
    assert "--seeds 0,1 --fusion-seeds 1`" in pages.markdown(document, "x.json")


def test_targets_are_means_over_seeds_and_said_plainly(ran: tuple[Path, dict[str, Any]]) -> None:
    _, document = ran
    systems = {"lightningdot": {"0": {"AR": 30.0}, "1": {"AR": 32.0}}}
    for seed, average in (("0", 34.0), ("1", 35.0)):
        level = {"AR": average, "text_to_image": {"R@10": 61.0}, "cascade": {"kept": 0.99}}
        systems.setdefault("hivlp-compact", {})[seed] = level
    floor = {"text_to_image": {"R@10": 57.0}}
    found = claims.targets({"systems": systems, "floor": floor, "reranked": {}})
    by_what = {one["what"]: (one["reached"], one["met"]) for one in found}
    assert by_what["AR over LightningDOT's"] == (3.5, False)
    assert by_what["text→image R@10"] == (61.0, True)
    assert by_what["text→image R@10, the goal"] == (61.0, False)
    assert by_what["text→image R@10 over the linear floor's"] == (4.0, True)
    assert by_what["AR kept by the cascade"] == (0.99, False)
    assert document["targets"] == claims.targets(document)


@pytest.mark.parametrize(
    ("share", "fusion", "counts"), [(0.2, 50.0, True), (0.0, 50.0, False), (0.2, 4.4, False)]
)
def test_only_real_re_ranking_by_a_model_above_chance_counts(
    share: float, fusion: float, counts: bool
) -> None:
    level = {"AR": 40.0, "text_to_image": {"R@10": 61.0}, "cascade": {"kept": 1.0}}
    pool = {"fusion": {"AR": fusion}, "mixed-10": {"AR": 60.0}, "mixed-50": {"AR": 66.0}}
    reranked = {"hivlp-compact+uniter": {"0": {"share": share, "small_pool": pool}}}
    floor = {"text_to_image": {"R@10": 57.0}}
    document = {"systems": {"hivlp-compact": {"0": level}}, "floor": floor, "reranked": reranked}
    found = [one for one in claims.targets(document) if one["what"].startswith("AR re-ranked")]
    assert [(one["reached"], one["system"]) for one in found] == [
        (16.0, "hivlp-compact+uniter, top 50")
    ] * counts


def test_markdown_has_a_row_for_each_system_and_even_tables(ran: tuple[Path, dict[str, Any]]) -> None:
    _, document = ran
    text = pages.markdown(document, "results/x.json")
    for part in ("[All numbers](results/x.json)", "Growing pools", "Ablations", "Candidates kept", "Curves"):
        assert part in text
    for block in text.split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in rows}) <= 1, block
    assert all(f"| {pages.NAMES[name]} |" in text for name in SYSTEMS)


def test_the_picture_is_drawn(ran: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    chart.draw(ran[1], tmp_path / "x.png")
    chart.draw({**ran[1], "pools": None}, tmp_path / "y.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_ends_with_one_document(
    ran: tuple[Path, dict[str, Any]], table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work, document = ran
    place = ["--data", str(table), "--work", str(work), "--seeds", "0", "--small"]
    assert main(["reproduce", "flickr8k", *place, "--out", str(tmp_path / "out"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert printed["systems"] == document["systems"] and printed["pools"] is None
    assert (tmp_path / "out" / f"{report.result_name(printed)}.json").is_file()
    assert main(["reproduce", "flickr8k", *place, "--systems", "lightningdot,hivlp"]) == 0
    assert "LightningDOT-like" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"systems": ["hivlp-compct"]}, "no system 'hivlp-compct': did you mean 'hivlp-compact'"),
        ({"small": False}, "name the file of the quantised MobileNetV2 with --backbone"),
        ({"seeds": []}, "no seed is given"),
        ({"fusion_seeds": 0}, "--fusion-seeds 0 would train no fusion model; give 1 or more"),
    ],
)
def test_what_can_not_be_is_refused(
    table: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(QueryError, match=message):
        comparison(table, tmp_path, **options)


def test_small_recipes_keep_what_tells_systems_apart() -> None:
    for name, recipe in SYSTEMS.items():
        assert small(recipe).kind == recipe.kind and small(recipe).cosine == recipe.cosine, name
