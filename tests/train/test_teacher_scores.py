"""A re-ranker as a teacher: its scores stored once, the hardest captions asked, learned in both forms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hivlp.config import Augmentation, Objective, RerankerDistillation, TrainConfig, parse
from hivlp.data.images import decode
from hivlp.data.sources import open_source
from hivlp.errors import ConfigError, DataError, ModelError
from hivlp.objectives.distill import from_scores
from hivlp.objectives.dynamic import dynamic_distillation
from hivlp.train import resumable_array as array_module
from hivlp.train.batches.mixture import Mixture, MixturePart
from hivlp.train.batches.pack import Pack, pack
from hivlp.train.batches.targets import StoredViews
from hivlp.train.run import run
from hivlp.train.step import Task
from hivlp.train.teachers.embeddings import stored_embeddings
from hivlp.train.teachers.features import crop_of, view_boxes
from hivlp.train.teachers.scores import RerankerTeacher, stored_scores
from micro import micro_folder, micro_model, micro_run

FUSION = {"layers": 1}
SPEC = "scenes:9?size=32"


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Path:
    return micro_folder(tmp_path_factory.mktemp("teacher"), fusion=FUSION)


@pytest.fixture
def packed(tmp_path: Path) -> Pack:
    return pack(open_source(SPEC), tmp_path / "packs", size=32, key="k")


def reranker_of(teacher: Path, **settings: Any) -> RerankerTeacher:
    reranker = RerankerTeacher.of(RerankerDistillation(model=str(teacher), **{"negatives": 3, **settings}))
    assert reranker is not None
    return reranker


def scores_of(reranker: RerankerTeacher, packed: Pack, boxes: np.ndarray) -> Any:
    source, whole = open_source(SPEC), np.zeros((len(packed), 1, 4), np.float32)
    whole[..., 2:] = 1
    said = stored_embeddings(source, packed, reranker.encoder, whole, key="whole")
    return stored_scores(source, packed, reranker, said, boxes, key="b")


def test_the_hardest_captions_are_kept_with_the_scores_of_every_view(teacher: Path, packed: Pack):
    reranker, boxes = reranker_of(teacher), view_boxes(9, views=2, min_area=0.3, seed=0)
    found = scores_of(reranker, packed, boxes)
    captions = [caption for of_one in packed.captions for caption in of_one]
    texts_CD = reranker.encoder.encode_texts(captions).fine
    for row, sample in enumerate(open_source(SPEC)):
        own, image = packed.captions[row], decode(sample.read())
        pixels = np.stack([reranker.encoder.load_picture(crop_of(image, box)).pixels for box in boxes[row]])
        scores_VC = np.stack([reranker.scorer.scores(caption, pixels) for caption in captions], axis=1)
        place = captions.index(own[0])
        np.testing.assert_allclose(
            found.own_NVP[row, :, : len(own)], scores_VC[:, place : place + len(own)], atol=2e-3
        )
        wrong = [n for n, caption in enumerate(captions) if caption not in own]
        (picture_D,) = reranker.encoder.encode_images([image]).fine
        pool = sorted(wrong, key=lambda n, p=picture_D: -float(texts_CD[n] @ p))[:12]
        hard = sorted(pool, key=lambda n, s=scores_VC: -float(s[:, n].mean()))[:3]
        kept = found.wrong_NK[row].tolist()
        np.testing.assert_allclose(  # of captions that score alike to half precision any may be kept
            scores_VC[:, kept].mean(axis=0), scores_VC[:, hard].mean(axis=0), atol=2e-3
        )
        assert not {captions[n] for n in kept} & set(own)
        np.testing.assert_allclose(found.wrong_NVK[row], scores_VC[:, kept], atol=2e-3)


def test_scores_are_computed_once_and_gone_on_with_after_a_stop(
    teacher: Path, packed: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    boxes, whole = view_boxes(9, views=2, min_area=0.3, seed=0), reranker_of(teacher)
    expected = scores_of(whole, pack(open_source(SPEC), tmp_path / "other", size=32, key="k"), boxes)
    reranker, table, pictures = reranker_of(teacher), reranker_of(teacher).scorer.table, 0

    def counted(texts: Any, pixels: Any) -> Any:
        nonlocal pictures
        pictures += 1
        if pictures == 6:
            raise KeyboardInterrupt
        return table(texts, pixels)

    monkeypatch.setattr(array_module, "SAVE_EVERY", 2)
    monkeypatch.setattr(reranker.scorer, "table", counted)
    with pytest.raises(KeyboardInterrupt):
        scores_of(reranker, packed, boxes)
    scores_of(reranker, packed, boxes)
    assert pictures == 6 + 9 - 4, "four pictures were on the disk"
    found = scores_of(reranker, packed, boxes)
    assert pictures == 6 + 9 - 4
    for name in ("own_NVP", "wrong_NVK", "wrong_NK"):
        assert np.array_equal(getattr(found, name), getattr(expected, name))


def test_a_source_with_too_few_wrong_captions_is_refused(teacher: Path, packed: Pack):
    reranker = reranker_of(teacher, negatives=90)
    with pytest.raises(
        DataError,
        match=r"only 48 differently worded captions of others.* objective\.reranker\.negatives=90; lower it",
    ):
        scores_of(reranker, packed, view_boxes(9, views=1, min_area=1, seed=0))


def a_task(teacher: Path, packed: Pack, **settings: Any) -> tuple[Task, Mixture, Any]:
    reranker, boxes = reranker_of(teacher), view_boxes(9, views=2, min_area=0.3, seed=0)
    found = scores_of(reranker, packed, boxes)
    model, tokenizer = micro_model()
    views = StoredViews(boxes, np.zeros((9, 2, 0), np.float16), (), found)
    parts = [MixturePart(pack=packed, views=views), MixturePart(pack=packed)]
    mixture = Mixture(parts, tokenizer, batch_size=6, augmentation=Augmentation(), seed=0)
    objective = parse(Objective, {"reranker": {"weight": 0.5, **settings}}, where="test")
    return Task(model, objective).eval(), mixture, found


def test_a_batch_asks_the_pictures_of_taught_sources_by_their_view(teacher: Path, packed: Pack):
    _, mixture, found = a_task(teacher, packed)
    tokenizer = micro_model()[1]
    captions = [caption for of_one in packed.captions for caption in of_one]
    for step in range(3):
        batch = mixture.batch(step)
        assert batch.reranker is not None
        assert batch.reranker.image_Q.tolist() == [0, 1, 2], "the other three are of a source without views"
        for place in range(3):
            row = int(batch.picture_B[place])
            (view,) = np.flatnonzero(
                (view_boxes(9, views=2, min_area=0.3, seed=0)[row] == batch.boxes_B4[place]).all(axis=1)
            )
            tokens = batch.reranker.tokens_CL[place * 4 : place * 4 + 4]
            (text,) = np.flatnonzero(batch.picture_of_text_T == place)
            length = int(batch.mask_TL[text].sum())
            assert tokens[0, :length].tolist() == batch.tokens_TL[text, :length].tolist()
            for said, number in zip(tokens[1:], found.wrong_NK[row], strict=True):
                ((words,), (mask,)) = tokenizer.encode([captions[number]])
                assert said[: int(mask.sum())].tolist() == words[: int(mask.sum())].tolist()
            assert batch.reranker.scores_QK[place, 1:].tolist() == found.wrong_NVK[row, view].tolist()
            pick = next(
                n for n, own in enumerate(packed.captions[row])
                if tokenizer.encode([own])[0][0].tolist()[:length] == tokens[0, :length].tolist()
            )  # fmt: skip
            assert batch.reranker.scores_QK[place, 0] == found.own_NVP[row, view, pick]


@pytest.mark.parametrize("form", ["softmax", "dynamic"])
def test_the_loss_of_a_step_is_that_of_the_stored_scores(teacher: Path, packed: Pack, form: str):
    task, mixture, _ = a_task(teacher, packed, form=form)
    model, batch = task.model, mixture.batch(1)
    assert batch.reranker is not None
    with torch.no_grad():
        terms = task(batch)
        image = model.image_levels(task._passes.pictures(batch))
        tokens, mask = torch.from_numpy(batch.reranker.tokens_CL), torch.from_numpy(batch.reranker.mask_CL)
        text = model.encode_tokens(tokens, mask)
    scores = torch.from_numpy(batch.reranker.scores_QK)
    for width in (8, 16, 32):
        cosines = torch.stack(
            [image[width][q] @ text[width][4 * q : 4 * q + 4].T for q in batch.reranker.image_Q.tolist()]
        )
        if form == "softmax":
            expected = {"reranker": from_scores(14.3 * cosines, scores)}
        else:  # the factor begins as the model's, the offset as 0
            expected = dynamic_distillation(14.3 * cosines, scores)
        for name, value in expected.items():
            torch.testing.assert_close(terms[f"{name}_{width}"], 0.5 / 3 * value, atol=1e-5, rtol=1e-4)


def learning(teacher: Path, **changes: Any) -> TrainConfig:
    values = {
        "sources": [{"spec": "scenes:20?size=32", "views": 2}, {"spec": "scenes:9?size=32", "crop": False}],
        "validation": [],
        "objective": {"reranker": {"model": str(teacher), "negatives": 3, "form": "dynamic"}},
        "batch_size": 8,
        "steps": 5,
        "log_every": 1,
    }
    return micro_run(**{**values, **changes})


def test_a_run_that_learns_from_a_reranker_resumes_bit_equal_also_in_chunks(teacher: Path, tmp_path: Path):
    config = learning(teacher, grad_cache=5)
    run(config, out=tmp_path / "whole")
    run(config, out=tmp_path / "parts", stop_after=2)
    run(config, out=tmp_path / "parts", resume=True)
    one, two = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    log = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    for line in log:
        assert {f"dcd_{what}_{width}" for what in ("imitate", "label") for width in (8, 16, 32)} <= set(line)


def test_a_student_comes_to_rank_as_the_scores_do():
    torch.manual_seed(0)
    student_QK, teacher_QK = torch.randn(6, 4, requires_grad=True), torch.randn(6, 4)
    optimiser = torch.optim.Adam([student_QK], lr=0.1)
    for _ in range(200):
        optimiser.zero_grad()
        from_scores(student_QK, teacher_QK).backward()
        optimiser.step()
    assert torch.equal(student_QK.argsort(dim=1), teacher_QK.argsort(dim=1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sources": [{"spec": "scenes:9"}]}, r"objective\.reranker\.model needs a source with views"),
        ({"objective": {"reranker": {"negative": 3}}}, r"negative.*negatives"),
        (
            {"objective": {}},
            r"nothing uses them; set distil\.models, objective\.reranker\.model or",
        ),
    ],
)
def test_rerankers_that_can_not_teach_are_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        learning(Path("teacher"), **changes)


def test_a_teacher_without_a_fusion_head_is_refused(tmp_path: Path):
    with pytest.raises(ModelError, match="has no fusion head"):
        run(learning(micro_folder(tmp_path / "plain")), out=tmp_path / "run")


def test_a_source_without_captions_asks_nothing(teacher: Path, tmp_path: Path):
    from PIL import Image

    from hivlp.train.teachers.embeddings import stored_views

    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.new("RGB", (32, 32), "red").save(pictures / "red.png")
    source = open_source(str(pictures))
    config = learning(teacher)
    found = stored_views(
        source,
        pack(source, tmp_path / "packs", size=32, key="p"),
        config.sources[0],
        config,
        [],
        reranker_of(teacher),
    )
    assert found is not None and found.scores is None and found.embeddings == ()
