"""The fusion head, and searches whose best hits it scores again."""

from __future__ import annotations

import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hivlp.config import Fusion
from hivlp.data.images import decode
from hivlp.errors import ConfigError, ModelError, QueryError
from hivlp.model.folder import open_model
from hivlp.model.fusion import FusionHead
from hivlp.retriever import Index
from hivlp.search.query import Part
from hivlp.search.rerank import open_scorer
from hivlp.train.run import run
from micro import TEXTS, micro_folder, micro_model, micro_run, model_values
from ran import Ran

Hivlp = Callable[..., Ran]
FUSION = {"layers": 1}
NO_HEAD = r"rerank=5 needs a model with a fusion head, and .* has none\. Leave it out, or index with"
COLOURS = ("red", "green", "blue", "yellow", "black", "white")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return micro_folder(tmp_path_factory.mktemp("model"), fusion=FUSION)


@pytest.fixture
def index(model: Path, tmp_path: Path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number, colour in enumerate(COLOURS):
        Image.new("RGB", (40, 30 + number), colour).save(pictures / f"{colour}.png")
    with Index.create(tmp_path / "x.hivlp", model) as opened:
        opened.add(str(pictures))
        yield opened


def test_padding_and_other_pairs_change_no_score():
    torch.manual_seed(0)
    head = FusionHead(Fusion(**FUSION), regions=12, words=10).eval()
    regions_PGF, words_PTF = torch.randn(3, 9, 12), torch.randn(3, 5, 10)
    mask_PT = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0]])
    scores_P = head(regions_PGF, words_PTF, mask_PT)
    assert len(set(scores_P.tolist())) == 3
    for pair, length in enumerate(mask_PT.sum(dim=1).tolist()):
        alone = head(
            regions_PGF[[pair]], words_PTF[[pair], :length], torch.ones(1, length, dtype=torch.int64)
        )
        torch.testing.assert_close(alone[0], scores_P[pair])
    padding = words_PTF.clone()
    padding[1, 2:] = 7.0
    torch.testing.assert_close(head(regions_PGF, padding, mask_PT), scores_P)


def test_the_best_are_ordered_by_the_fusion_head(index: Index, model: Path):
    text = TEXTS[0]
    plain, again = index.search(text, k=3), index.search(text, k=3, rerank=5)
    torch_model, tokenizer = open_model(model), micro_model()[1]
    assert torch_model.fusion is not None
    tokens_1T, mask_1T = map(torch.from_numpy, tokenizer.encode([text]))
    expected: dict[str, float] = {}
    for hit in index.search(text, k=5):
        pixels = index.encoder.load_picture(decode(Path(hit.uri).read_bytes())).pixels[None]
        with torch.inference_mode():
            regions = torch_model.image_tower.regions(torch_model.normalise(torch.from_numpy(pixels)))
            words = torch_model.text_tower.states(tokens_1T, mask_1T)
            expected[hit.id] = torch_model.fusion(regions, words, mask_1T).item()
    best = sorted(expected, key=lambda name: -expected[name])[:3]
    assert [hit.id for hit in again] == best
    for hit in again:
        assert hit.rerank_score == pytest.approx(expected[hit.id], abs=1e-4)
    assert [hit.rerank_score for hit in plain] == [None] * 3
    assert again.timings_ms.rerank > 0 == plain.timings_ms.rerank
    assert again.plan["rerank"] == 5


def test_what_can_not_be_read_again_stands_last(index: Index):
    first = index.search(TEXTS[1], k=6)
    Path(first[0].uri).unlink()
    Image.new("RGB", (9, 9)).save(first[1].uri)
    index.add_texts(["a text among pictures"])
    again = index.search(TEXTS[1], k=7, rerank=7)
    last = [hit.id for hit in again][-3:]
    assert {first[0].id, first[1].id} <= set(last)
    assert any("3 of the best 7 have no readable image and come last" in note for note in again.notes)
    scores = np.array([hit.rerank_score for hit in again])
    assert np.all(np.diff(scores) <= 0)


def test_what_can_not_be_re_ranked_is_refused(index: Index, tmp_path: Path):
    with pytest.raises(QueryError, match=r"rerank=2 is less than k=5: re-rank at least as many hits"):
        index.search("a boat", k=5, rerank=2)
    with pytest.raises(QueryError, match="only for searches by words"):
        index.search([Part(text="a boat"), Part(text="a dog")], k=1, rerank=5)
    plain = micro_folder(tmp_path / "plain")
    with Index.create(tmp_path / "plain.hivlp", plain) as without:
        without.add_texts(["a boat"])
        with pytest.raises(QueryError, match=NO_HEAD):
            without.search("a boat", k=1, rerank=5)
    with pytest.raises(ModelError, match=r"the model .*plain has no fusion head: train one with hivlp train"):
        open_scorer(str(plain))


def test_a_model_without_a_fusion_head_is_said_to_have_none_everywhere(tmp_path: Path, hivlp: Hivlp):
    pytest.importorskip("fastapi")
    from serve_tools import client

    with Index.create(tmp_path / "x.hivlp", micro_folder(tmp_path / "plain")) as index:
        index.add_texts(["a boat"])
    refused = hivlp("search", tmp_path / "x.hivlp", "a boat", "-k", "1", "--rerank", "5", "--json")
    assert refused.code == 2 and re.search(NO_HEAD, refused.document["error"])
    with client(Index.open(tmp_path / "x.hivlp")) as api:
        answer = api.get("/v1/search", params={"q": "a boat", "k": 1, "rerank": 5})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_query")
    assert answer.json()["error"]["message"] == refused.document["error"]
    assert "plain" not in refused.document["error"], "nobody is told where the model lies"


def test_a_picture_that_was_sent_is_re_ranked_wherever_its_index_lies(model: Path, tmp_path: Path):
    pytest.importorskip("fastapi")
    from serve_tools import client

    picture = BytesIO()
    Image.new("RGB", (40, 40), "red").save(picture, "PNG")
    with client(Index.create(tmp_path / "x.hivlp", model), writable=True) as api:
        assert api.post("/v1/items", files={"image": picture.getvalue()}).json()["indexed"] == 1
    with Index.open((tmp_path / "x.hivlp").rename(tmp_path / "y.hivlp")) as moved:
        hits = moved.search(TEXTS[0], k=1, rerank=1)
    assert len(hits) == 1 and hits.notes == ()


def test_the_service_re_ranks_as_the_library_does(index: Index):
    pytest.importorskip("fastapi")
    from serve_tools import client

    expected = index.search(TEXTS[0], k=3, rerank=5)
    with client(index) as api:
        by_get = api.get("/v1/search", params={"q": TEXTS[0], "k": 3, "rerank": 5}).json()
        body = {"queries": [{"query": TEXTS[0]}, {"query": TEXTS[1]}], "k": 3, "rerank": 5}
        by_post = api.post("/v1/search", json=body).json()["results"][0]
        few = api.get("/v1/search", params={"q": TEXTS[0], "k": 6, "rerank": 5})
        item = api.get("/v1/search", params={"item": expected[0].id, "k": 1, "rerank": 5})
    for answer in (by_get, by_post):
        assert [hit["id"] for hit in answer["hits"]] == [hit.id for hit in expected]
        assert [hit["rerank_score"] for hit in answer["hits"]] == pytest.approx(
            [hit.rerank_score for hit in expected], abs=1e-4
        )
        assert answer["timings_ms"]["rerank"] > 0
    assert few.status_code == 400 and "rerank=5 is less than k=6" in few.json()["error"]["message"]
    assert item.status_code == 400 and "only for searches by words" in item.json()["error"]["message"]


def test_a_run_trains_the_head_and_goes_on_from_it(tmp_path: Path):
    changes = {
        "model": model_values(fusion=FUSION),
        "objective": {"itm": {"weight": 1.0}},
        "steps": 3,
        "log_every": 1,
    }
    run(micro_run(**changes), out=tmp_path / "one")
    log = (tmp_path / "one" / "metrics.jsonl").read_text().splitlines()
    assert len(log) == 3 and all('"itm"' in line for line in log)
    trained = open_model(tmp_path / "one" / "model")
    run(micro_run(**changes, start=str(tmp_path / "one" / "model")), out=tmp_path / "two", stop_after=1)
    begun = open_model(tmp_path / "two" / "start")
    assert trained.fusion is not None and begun.fusion is not None
    for mine, theirs in zip(trained.fusion.parameters(), begun.fusion.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    with pytest.raises(ConfigError, match=r"trains a fusion head, and the model has none; set model\.fusion"):
        micro_run(objective={"itm": {"weight": 1.0}})
