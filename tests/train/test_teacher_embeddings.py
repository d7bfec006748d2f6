"""Dual encoders as teachers: stored once, shown to the student crop by crop, learned at chosen levels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from hivlp.config import Augmentation, Distillation, Preprocessing, TrainConfig
from hivlp.data.images import decode
from hivlp.data.sources import open_source
from hivlp.data.tokenizer import Tokenizer
from hivlp.encode import load
from hivlp.errors import ConfigError
from hivlp.objectives.distill import from_embeddings
from hivlp.train import resumable_array as stored_module
from hivlp.train.batches.mixture import Mixture, MixturePart
from hivlp.train.batches.pack import Pack, pack
from hivlp.train.batches.targets import StoredEmbeddings, StoredViews
from hivlp.train.run import run
from hivlp.train.step import Task
from hivlp.train.teachers import embeddings as embeddings_module
from hivlp.train.teachers.embeddings import stored_embeddings
from hivlp.train.teachers.features import crop_of, images_of, pixels_of, view_boxes
from micro import micro_folder, micro_model, micro_run

SPEC = "scenes:7?size=32"


class Counting:
    """An encoder that counts what it is asked, and gives up after so many pictures."""

    def __init__(self, folder: Path, *, most: int = 1_000) -> None:
        self.real = load(folder)
        self.name, self.widths, self.fingerprint = "counting", self.real.widths, self.real.fingerprint
        self.pictures = self.texts = 0
        self.most = most

    def encode_images(self, images: list[Any]) -> Any:
        self.pictures += len(images)
        if self.pictures > self.most:
            raise KeyboardInterrupt
        return self.real.encode_images(images)

    def encode_texts(self, texts: list[str]) -> Any:
        self.texts += len(texts)
        return self.real.encode_texts(texts)


def test_a_lesson_is_what_the_encoder_says_of_each_crop_and_goes_on_after_a_stop(tmp_path, monkeypatch):
    source, folder = open_source(SPEC), micro_folder(tmp_path / "teacher")
    packed = pack(source, tmp_path / "packs", size=32, key="k")
    boxes = view_boxes(7, views=3, min_area=0.3, seed=0)
    monkeypatch.setattr(embeddings_module, "_AT_ONCE", 6)
    monkeypatch.setattr(stored_module, "SAVE_EVERY", 2)
    with pytest.raises(KeyboardInterrupt):
        stored_embeddings(source, packed, Counting(folder, most=14), boxes, key="b")  # type: ignore[arg-type]
    rest = Counting(folder)
    found = stored_embeddings(source, packed, rest, boxes, key="b")  # type: ignore[arg-type]
    assert rest.pictures == 3 * 3, "two blocks of two pictures were done"
    assert rest.texts == sum(map(len, packed.captions))
    idle = Counting(folder)
    again = stored_embeddings(source, packed, idle, boxes, key="b")  # type: ignore[arg-type]
    assert (idle.pictures, idle.texts) == (0, 0)
    assert np.array_equal(again.images_NVD, found.images_NVD)
    stored_embeddings(source, packed, idle, boxes[:, :1], key="other")  # type: ignore[arg-type]
    assert (idle.pictures, idle.texts) == (7, 0), "captions do not depend on the crops"
    encoder = load(folder)
    for row, sample in enumerate(source):
        for view in range(3):
            crop = crop_of(decode(sample.read()), boxes[row, view])
            expected = encoder.encode_images([crop]).fine[0]
            np.testing.assert_allclose(found.images_NVD[row, view], expected, atol=2e-3)
    captions = [caption for of_one in packed.captions for caption in of_one]
    np.testing.assert_allclose(found.captions_CD, encoder.encode_texts(captions).fine, atol=2e-3)


def test_teachers_are_shown_the_part_of_the_frame_that_the_pack_shows(tmp_path):
    folder = tmp_path / "wide"
    folder.mkdir()
    ramp = np.linspace(0, 255, 96, dtype=np.uint8)[None, :, None].repeat(48, axis=0).repeat(3, axis=2)
    Image.fromarray(ramp).save(folder / "ramp.png")
    source = open_source(str(folder))
    for how, edges in (
        ({}, (0, 255)),
        ({"fit": "crop"}, (64, 191)),
        ({"fit": "crop", "centre": 0.5}, (96, 159)),
    ):
        packed = pack(source, tmp_path / "packs", size=24, key="k", **how)
        ((_, shown),) = images_of(source, packed, skip=0)
        square = pixels_of(crop_of(shown, np.array([0, 0, 1, 1], np.float32)), 24)
        assert np.abs(square.astype(int) - packed.pixels_NCHW[0]).max() <= 4
        assert np.allclose(square[0, 0, [0, -1]], edges, atol=6)


def a_mixture(captions_at_once: int = 1) -> tuple[Mixture, Tokenizer]:
    """A taught part, whose numbers say which picture, view and caption they are of, and one that is not."""
    captions: list[tuple[str, ...]] = [
        tuple(f"picture {row} {n}" for n in range(row % 3)) for row in range(6)
    ]
    packed = Pack(
        folder=Path("unused"),
        pixels_NCHW=np.zeros((6, 3, 8, 8), np.uint8),
        captions=captions,
        ids=[str(row) for row in range(6)],
        failures=[],
        preprocessing=Preprocessing(size=8),
    )
    seen = np.stack(np.meshgrid(np.arange(6), np.arange(4), indexing="ij"), axis=-1).astype(np.float16)
    read = np.array([(row, n) for row in range(6) for n in range(row % 3)], dtype=np.float16)
    boxes = view_boxes(6, views=4, min_area=0.2, seed=3)
    views = StoredViews(
        boxes,
        np.zeros((6, 4, 0), np.float16),
        (StoredEmbeddings(seen, read), StoredEmbeddings(seen + 10, read + 10)),
    )
    tokenizer = Tokenizer.train(["picture 0 1 2 3 4 5"] * 4, vocabulary=100, max_tokens=16)
    parts = [MixturePart(pack=packed, views=views, captions=captions_at_once), MixturePart(pack=packed)]
    made = Mixture(parts, tokenizer, batch_size=8, augmentation=Augmentation(), seed=0)
    return made, tokenizer


@pytest.mark.parametrize("captions", [1, 2])
def test_a_batch_has_the_lessons_of_its_own_crops_and_captions(captions: int):
    mixture, tokenizer = a_mixture(captions)
    boxes = view_boxes(6, views=4, min_area=0.2, seed=3)
    seen_views = set()
    for step in range(6):
        batch = mixture.batch(step)
        assert batch.has_view_B.tolist() == [True] * 4 + [False] * 4
        (image_BD, text_BD), (image_BE, text_BE) = batch.teacher_embeddings
        for place in range(8):
            texts = np.flatnonzero(batch.picture_of_text_T == place)
            if place >= 4:
                assert not image_BD[place].any() and not text_BD[texts].any()
                continue
            row, view = map(int, image_BD[place])
            assert np.array_equal(batch.boxes_B4[place], boxes[row, view])
            assert row == batch.picture_B[place]
            assert np.array_equal(image_BE[place], image_BD[place] + 10)
            seen_views.add(view)
            assert len(texts) == min(row % 3, captions) == len(set(text_BD[texts, 1]))
            for text in texts:
                tokens, mask = tokenizer.encode([f"picture {row} {int(text_BD[text][1])}"])
                assert text_BD[text][0] == row
                length = int(mask.sum())
                assert batch.tokens_TL[text][:length].tolist() == tokens[0][:length].tolist()
                assert np.array_equal(text_BE[text], text_BD[text] + 10)
    assert seen_views == {0, 1, 2, 3}


def test_the_loss_of_a_step_is_that_of_the_taught_rows():
    mixture, _ = a_mixture()
    batch = mixture.batch(1)
    model, _ = micro_model()
    settings = Distillation(models=("a", "b"), weight=0.5, scale=0.1)
    task = Task(model, micro_run().objective, distil=settings).eval()
    with torch.no_grad():
        terms = task(batch)
        image, text = (
            model.image_levels(task._passes.pictures(batch)),
            model.text_levels(task._passes.texts(batch)),
        )
    kept = [t for t, row in enumerate(batch.picture_of_text_T) if 0 <= row < 4]
    teachers = [(torch.from_numpy(i)[:4], torch.from_numpy(t)[kept]) for i, t in batch.teacher_embeddings]
    for width in (8, 16, 32):
        expected = from_embeddings(
            image[width][:4], text[width][kept], model.logit_scales[width], teachers, teacher_scale=0.1
        )
        torch.testing.assert_close(terms[f"distil_{width}"], expected * 0.5 / 3)


def distilling(teacher: Path, **changes: Any) -> TrainConfig:
    values = {
        "sources": [{"spec": "scenes:20?size=32", "views": 3}, {"spec": "scenes:9?size=32", "crop": False}],
        "validation": [],
        "distil": {"models": [str(teacher)]},
        "batch_size": 8,
        "steps": 5,
        "log_every": 1,
    }
    return micro_run(**{**values, **changes})


def test_a_run_that_distils_resumes_bit_equal_also_in_chunks(tmp_path):
    config = distilling(micro_folder(tmp_path / "teacher"), grad_cache=5)
    run(config, out=tmp_path / "whole")
    run(config, out=tmp_path / "parts", stop_after=2)
    run(config, out=tmp_path / "parts", resume=True)
    one, two = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    log = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert all({"distil_8", "distil_16", "distil_32"} <= set(line) for line in log)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"sources": [{"spec": "scenes:9"}]},
            r"distil.models needs a source with views; set views=4 .* or views=1",
        ),
        ({"distil": {}}, r"nothing uses them; set distil.models, objective.reranker.model or lock_image"),
    ],
)
def test_teachers_that_can_not_teach_are_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        distilling(Path("teacher"), **changes)
