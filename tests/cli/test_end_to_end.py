"""The whole way with a real model: train, export, index, search, evaluate, each by its command."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hivlp import scenes
from ran import Ran

pytest.importorskip("torch")

import hivlp as package
from hivlp.cli.main import main
from micro import model_values

Hivlp = Callable[..., Ran]
COUNT = 24
WIDTHS = [8, 16, 32]


@dataclass(frozen=True)
class Made:
    """What the first commands made, once for all tests of this file."""

    pictures: Path
    model: Path
    index: Path
    trained: dict[str, Any]
    exported: dict[str, Any]
    indexed: dict[str, Any]
    queries: dict[str, str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    root = tmp_path_factory.mktemp("whole")
    pictures, model, index = root / "pictures", root / "run" / "model", root / "photos.hivlp"
    queries = draw(pictures)
    settings = {
        "model": model_values(),
        "sources": [{"spec": str(pictures), "crop": False}],
        "validation": [],
        "steps": 120,
        "batch_size": COUNT,
        "precision": "float32",
        "threads": 1,
        "device": "cpu",
        "augmentation": {"mirror": False},
    }
    changes = [word for key, value in settings.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    trained = answer("train", "--preset", "tiny", *changes, "--out", root / "run")
    exported = answer("export", model)
    indexed = answer("index", pictures, "--out", index, "--model", model)
    yield Made(pictures, model, index, trained, exported, indexed, queries)


def draw(folder: Path) -> dict[str, str]:
    """Scenes as files with captions beside them; gives a caption of each by the name of its picture."""
    folder.mkdir()
    queries: dict[str, str] = {}
    for sample in scenes.samples(COUNT, seed=5, size=64):
        (folder / f"{sample.id}.jpg").write_bytes(sample.read())
        (folder / f"{sample.id}.txt").write_text("\n".join(sample.captions) + "\n", encoding="utf-8")
        queries[f"{sample.id}.jpg"] = sample.captions[0]
    return queries


def answer(*arguments: object) -> dict[str, Any]:
    """The document of a command, for the fixture of the whole file, which has no capture of its own."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main([*(str(argument) for argument in arguments), "--json"])
    document = json.loads(out.getvalue().splitlines()[-1])
    assert code == 0, document
    return document


def test_training_and_export_give_their_documents(made: Made) -> None:
    assert {"model", "steps", "seconds", "eval"} <= set(made.trained)
    assert (made.trained["model"], made.trained["steps"]) == (str(made.model), 120)
    assert {"files", "max_abs_diff"} <= set(made.exported)
    assert 0 < made.exported["max_abs_diff"] <= 1e-4
    assert [Path(file).name for file in made.exported["files"]] == ["image.onnx", "text.onnx"]
    assert all(Path(file).is_file() for file in made.exported["files"])


def test_indexing_gives_its_document_and_a_second_run_skips_all(made: Made, hivlp: Hivlp) -> None:
    assert {"indexed", "skipped", "failed", "seconds", "items_per_s"} <= set(made.indexed)
    assert (made.indexed["indexed"], made.indexed["skipped"], made.indexed["failed"]) == (COUNT, 0, [])
    again = hivlp("index", made.pictures, "--out", made.index, "--json").document
    assert (again["indexed"], again["skipped"], again["items"]) == (0, COUNT, COUNT)
    assert hivlp("verify", made.index, "--json").document["problems"] == []


def test_words_find_the_pictures_that_the_model_was_trained_on(made: Made, hivlp: Hivlp) -> None:
    found = 0
    for name, query in made.queries.items():
        document = hivlp("search", made.index, query, "-k", "3", "--json").document
        found += name in [hit["id"] for hit in document["hits"]]
    assert found >= COUNT // 2, "by chance it were one in eight"


def test_searching_gives_its_document(made: Made, hivlp: Hivlp) -> None:
    document = hivlp("search", made.index, "a red boat", "-k", "5", "--json").document
    assert {"hits", "timings_ms", "plan"} <= set(document)
    assert [hit["rank"] for hit in document["hits"]] == [1, 2, 3, 4, 5]
    expected = [
        "rank",
        "id",
        "uri",
        "kind",
        "score",
        "coarse_score",
        "coarse_rank",
        "probability",
        "rerank_score",
        "width",
        "height",
        "caption",
        "meta",
        "similar",
    ]
    assert all(set(hit) == set(expected) for hit in document["hits"])
    scores = [hit["score"] for hit in document["hits"]]
    assert scores == sorted(scores, reverse=True)
    assert all(Path(hit["uri"]).is_file() for hit in document["hits"])
    times = document["timings_ms"]
    assert times["total"] == pytest.approx(
        sum(times[stage] for stage in ("encode", "coarse", "fine", "rerank"))
    )


def test_as_many_candidates_as_items_are_the_exact_answer(made: Made, hivlp: Hivlp) -> None:
    for query in list(made.queries.values())[:6]:
        exact = hivlp("search", made.index, query, "-k", COUNT, "--exact", "--json").document
        assert len(exact["hits"]) == COUNT
        for candidates in (COUNT, 10 * COUNT):
            every = hivlp("search", made.index, query, "-k", COUNT, "--candidates", candidates, "--json")
            assert every.document["hits"] == exact["hits"]


def test_the_answers_are_the_cosines_of_the_model(made: Made, hivlp: Hivlp) -> None:
    query = "two yellow houses in the snow"
    model = package.load(made.model)
    names = sorted(made.queries)
    pictures = model.encode_images([made.pictures / name for name in names])
    scores_N = pictures.fine @ model.encode_texts([query]).fine[0]
    hits = hivlp("search", made.index, query, "-k", COUNT, "--exact", "--json").document["hits"]
    assert {hit["id"]: hit["score"] for hit in hits} == pytest.approx(
        dict(zip(names, scores_N.tolist(), strict=True)), abs=2e-3
    ), "up to the half precision of what is stored"
    np.testing.assert_allclose(np.linalg.norm(pictures.fine, axis=1), 1, atol=1e-5)


def test_a_picture_finds_itself(made: Made, hivlp: Hivlp) -> None:
    name = sorted(made.queries)[3]
    document = hivlp("search", made.index, "--image", made.pictures / name, "-k", "1", "--json").document
    assert document["hits"][0]["id"] == name
    assert document["hits"][0]["score"] == pytest.approx(1, abs=2e-3)


def test_evaluating_gives_its_document(made: Made, hivlp: Hivlp) -> None:
    document = hivlp("eval", "--model", made.model, "--data", made.pictures, "--json").document
    fields = {"protocol", "images", "texts", "text_to_image", "image_to_text", "AR", "levels", "cascade"}
    assert fields <= set(document)
    texts = sum(
        len((made.pictures / name).with_suffix(".txt").read_text().splitlines()) for name in made.queries
    )
    assert (document["images"], document["texts"]) == (COUNT, texts)
    assert document["protocol"].startswith(f"{COUNT} images, {texts} texts")
    for direction in (document["text_to_image"], document["image_to_text"]):
        assert set(direction) == {"R@1", "R@5", "R@10", "median_rank"}
        assert direction["R@1"] <= direction["R@5"] <= direction["R@10"]
    assert list(document["levels"]) == [str(width) for width in WIDTHS]
    assert document["levels"][str(WIDTHS[-1])]["AR"] == document["AR"]
    assert document["cascade"]["AR"] == pytest.approx(document["AR"], abs=2), "200 candidates are all"


def test_info_of_the_model_and_of_the_index_agree(made: Made, hivlp: Hivlp) -> None:
    model = hivlp("info", made.model, "--json").document
    index = hivlp("info", made.index, "--json").document
    assert (model["kind"], index["kind"]) == ("model", "index")
    assert model["widths"] == index["widths"] == WIDTHS
    assert model["fingerprint"] == index["model"]["fingerprint"]
    assert model["preprocessing"] == index["preprocessing"]
    assert index["items"] == COUNT
