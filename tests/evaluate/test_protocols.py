"""The Karpathy protocol on painted pictures, whose colours are their captions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from fakes import COLOURS, WIDTHS, ColourEncoder, png
from hivlp.errors import NothingUsableError, QueryError
from hivlp.evaluate import metrics, report
from hivlp.evaluate.protocols import EncodedPairs, at_level, encode_pairs, evaluate_karpathy, through_cascade
from hivlp.search.plan import Plan
from hivlp.types import Embeddings, Failure, Sample


def painted_samples(*, split: str | None = "val", captions: int = 2) -> list[Sample]:
    names = list(COLOURS)
    pairs = [(a, b) for n, a in enumerate(names) for b in names[n + 1 :]][:40]
    words = ("a picture of {0} and {1}", "{0} {1} stripes", "{1} beside {0}")
    return [
        Sample(
            id=f"{a}-{b}",
            uri=f"{a}-{b}.png",
            image=png(a, b),
            captions=tuple(line.format(a, b) for line in words[:captions]),
            split=split,
        )
        for a, b in pairs
    ]


def random_pairs(images: int, each: int, seed: int) -> EncodedPairs:
    rng = np.random.default_rng(seed)

    def levels(wide_ND: np.ndarray) -> Embeddings:
        parts = {w: wide_ND[:, :w].astype(np.float32) for w in WIDTHS}
        return Embeddings(
            {w: part / np.linalg.norm(part, axis=1, keepdims=True) for w, part in parts.items()}
        )

    picture_ND = rng.standard_normal((images, WIDTHS[-1]))
    picture_of = np.repeat(np.arange(images), each)
    text_ND = picture_ND[picture_of] + 1.5 * rng.standard_normal((images * each, WIDTHS[-1]))
    return EncodedPairs(images=levels(picture_ND), texts=levels(text_ND), picture_of=picture_of, failed=[])


def test_the_whole_protocol_on_painted_pictures() -> None:
    encoder = ColourEncoder()
    result = evaluate_karpathy(encoder, painted_samples(), plan=Plan(candidates=15), batch_size=7)
    assert result.protocol == "40 images, 80 texts (2 a picture), split val"
    assert (encoder.pictures_seen, len(encoder.texts_seen)) == (40, 80), "each is encoded once"
    document = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert {
        "protocol",
        "images",
        "texts",
        "text_to_image",
        "image_to_text",
        "AR",
        "levels",
        "cascade",
    } <= set(document)
    assert (document["images"], document["texts"]) == (40, 80)
    assert set(document["text_to_image"]) == {"R@1", "R@5", "R@10", "median_rank"}
    assert list(document["levels"]) == ["8", "16", "32"]
    assert document["levels"]["32"]["AR"] == document["AR"]
    assert document["cascade"]["candidates"] == 15
    assert document["text_to_image"]["R@5"] > 90, "the fake encoder does see colours"
    assert document["failed"] == []


def test_the_top_numbers_are_those_of_a_slow_obvious_twin() -> None:
    pairs = random_pairs(60, 3, seed=3)
    found = at_level(pairs, 16)
    scores_TI = pairs.texts[16] @ pairs.images[16].T
    own_T = scores_TI[np.arange(180), pairs.picture_of]
    assert found.text_to_image.at[5] == pytest.approx(100 * np.mean((scores_TI > own_T[:, None]).sum(1) < 5))
    hits = [any(text // 3 == image for text in np.argsort(-scores_TI[:, image])[:5]) for image in range(60)]
    assert found.image_to_text.at[5] == pytest.approx(100 * np.mean(hits))
    assert 20 < found.average < 95, "a task that is neither trivial nor hopeless"


def test_a_cascade_of_all_candidates_equals_the_finest_level() -> None:
    pairs = random_pairs(50, 5, seed=5)
    whole = through_cascade(pairs, Plan(candidates="all"))
    assert whole.as_dict() == at_level(pairs, WIDTHS[-1]).as_dict()
    assert through_cascade(pairs, Plan(candidates=250)).as_dict() == whole.as_dict()


def test_a_narrow_cascade_loses_what_its_coarse_level_misses() -> None:
    pairs = random_pairs(80, 2, seed=8)
    narrow = through_cascade(pairs, Plan(candidates=1))
    coarse = at_level(pairs, WIDTHS[0])
    # One candidate: the answer is the coarse level's first, so R@1 is the coarse level's, and R@10 no better.
    assert narrow.text_to_image.at == pytest.approx(
        dict.fromkeys((1, 5, 10), coarse.text_to_image.at[1]), abs=2
    )
    assert narrow.average < at_level(pairs, WIDTHS[-1]).average


def test_kept_is_the_share_of_the_finest_average_recall() -> None:
    # A caption of one colour fits several pictures: among the first ten the right one is, among one seldom.
    vague = [replace(sample, captions=(sample.id.split("-")[0],)) for sample in painted_samples()]
    result = evaluate_karpathy(ColourEncoder(), vague, plan=Plan(candidates=1))
    assert result.kept == pytest.approx(result.cascade.average / result.levels[32].average)
    assert result.kept is not None
    assert 0 < result.kept < 1


def test_what_fails_is_listed_and_left_out() -> None:
    bad = Sample(id="bad", uri="bad.png", image=b"not a picture", captions=("a bad one",))
    mute = Sample(id="mute", uri="mute.png", image=png("red"))
    blind = Sample(id="blind", uri="blind.txt", image=None, captions=("no picture",))
    result = evaluate_karpathy(ColourEncoder(), [*painted_samples(split=None), bad, mute, blind])
    assert result.protocol == "40 images, 80 texts (2 a picture)"
    assert {failure.uri for failure in result.failed} == {"bad.png", "mute.png", "blind.txt"}
    assert all(failure.error for failure in result.failed)


def test_failures_of_the_source_itself_are_listed_too() -> None:
    class Source:
        def __init__(self) -> None:
            self.failures = [Failure(uri="row 7", error="has no picture")]

        def __iter__(self) -> Iterator[Sample]:
            return iter(painted_samples())

    assert evaluate_karpathy(ColourEncoder(), Source()).failed == Source().failures


def test_pictures_with_different_numbers_of_captions_say_so() -> None:
    first, *others = painted_samples(captions=3)
    result = evaluate_karpathy(ColourEncoder(), [replace(first, captions=first.captions[:1]), *others])
    assert result.protocol == "40 images, 118 texts (1 to 3 a picture), split val"
    assert result.texts == 118


def test_a_source_without_captions_is_refused() -> None:
    with pytest.raises(NothingUsableError, match=r"no picture with a caption.*red\.png"):
        evaluate_karpathy(ColourEncoder(), [Sample(id="red", uri="red.png", image=png("red"))])


def test_batches_do_not_matter() -> None:
    whole = encode_pairs(ColourEncoder(), painted_samples(), batch_size=64)
    parts = encode_pairs(ColourEncoder(), painted_samples(), batch_size=3, workers=1)
    np.testing.assert_array_equal(whole.images.fine, parts.images.fine)
    np.testing.assert_array_equal(whole.texts.fine, parts.texts.fine)


def test_a_hopeless_model_keeps_nothing_rather_than_nan() -> None:
    class Blind(ColourEncoder):
        def encode_pixels(self, pixels_BCHW: np.ndarray, /) -> Embeddings:
            return self.encode_texts(["same"] * len(pixels_BCHW))

    result = evaluate_karpathy(Blind(), painted_samples(captions=1))
    assert result.fine.text_to_image.at[10] == 0.0, "ties go against the model"
    assert json.dumps(result.as_dict(), allow_nan=False)


def test_the_table_for_people_holds_every_row() -> None:
    result = evaluate_karpathy(ColourEncoder(), painted_samples(), plan=Plan(candidates=15)).as_dict()
    result["failed"] = [{"uri": "bad.png", "error": "not a picture"}]
    console = Console(width=80, force_terminal=False)
    with console.capture() as captured:
        console.print(report.table(result))
    text = captured.get()
    for expected in (
        result["protocol"],
        "level 8",
        "level 32",
        "cascade 15",
        "Without 1 picture that",
        "keeps",
    ):
        assert expected in text
    assert f"{result['AR']:.2f}" in text


def test_average_recall_of_both_ways_is_that_of_the_six() -> None:
    pairs = random_pairs(30, 1, seed=1)
    found = at_level(pairs, 32)
    assert found.average == pytest.approx(metrics.average_recall(found.text_to_image, found.image_to_text))
    assert found.as_dict()["AR"] == round(found.average, 2)


def labelled_samples() -> list[Sample]:
    """Nine pictures with three labels; one of the blue ones is red, so that it is taken for red."""
    shown = ["red"] * 3 + ["green"] * 3 + ["blue", "blue", "red"]
    labels = ["red"] * 3 + ["green"] * 3 + ["Blue", "blue", "blue"]
    return [
        Sample(id=str(n), uri=f"{n}.png", image=png(colour, "white"), captions=(f"a {label} flag",))
        for n, (colour, label) in enumerate(zip(shown, labels, strict=True))
    ]


def test_equal_captions_are_right_answers_for_each_other() -> None:
    result = evaluate_karpathy(ColourEncoder(), labelled_samples(), plan=Plan(candidates="all"))
    # By hand: the picture in the wrong colour is found by no caption of its own, and ties with the three that
    # have its colour, which counts against these. Without equal captions not one caption had rank 1.
    assert result.fine.text_to_image.at[1] == pytest.approx(100 * 6 / 9)
    assert result.fine.image_to_text.at[1] == pytest.approx(100 * 8 / 9)
    assert result.cascade.as_dict() == result.fine.as_dict()
    assert result.notes == [
        "9 of 9 captions are worded like one of another picture; each of these pictures counts as a right "
        "answer"
    ]
    own = evaluate_karpathy(ColourEncoder(), painted_samples())
    assert own.notes == [], "no caption of these is shared"


def test_right_answers_follow_wordings() -> None:
    pairs = replace(random_pairs(3, 2, seed=1), captions=["a dog", "one", "A dog", "two", "three", "two"])
    assert [list(rows) for rows in pairs.of_texts()] == [[0, 1], [0], [0, 1], [1, 2], [2], [1, 2]]
    assert [sorted(rows) for rows in pairs.of_images()] == [[0, 1, 2], [0, 2, 3, 5], [3, 4, 5]]
    without = replace(pairs, captions=())
    assert [list(rows) for rows in without.of_texts()] == [[0], [0], [1], [1], [2], [2]]
    assert [list(rows) for rows in without.of_images()] == [[0, 1], [2, 3], [4, 5]]


def test_the_accuracy_of_each_class() -> None:
    result = evaluate_karpathy(ColourEncoder(), labelled_samples(), classes=True)
    document = json.loads(json.dumps(result.as_dict()))
    assert document["classes"] == [
        {"class": "a Blue flag", "pictures": 3, "right": 2, "accuracy": 66.67, "taken_for": "a red flag"},
        {"class": "a green flag", "pictures": 3, "right": 3, "accuracy": 100.0, "taken_for": None},
        {"class": "a red flag", "pictures": 3, "right": 3, "accuracy": 100.0, "taken_for": None},
    ]
    assert (document["accuracy"], document["mean_class_accuracy"]) == (88.89, 88.89)
    console = Console(width=100)
    with console.capture() as capture:
        console.print(report.table(document))
    shown = capture.get()
    assert "a Blue flag" in shown and "66.67" in shown and "88.89 % of the pictures" in shown
    assert "classes" not in evaluate_karpathy(ColourEncoder(), labelled_samples()).as_dict()


def test_a_picture_with_several_labels_is_right_with_any_of_them() -> None:
    first, *others = labelled_samples()
    both = replace(first, captions=("a blue flag", "a red flag"))
    result = evaluate_karpathy(ColourEncoder(), [both, *others], classes=True)
    assert result.classes is not None
    assert {one.name: (one.right, one.pictures) for one in result.classes.each} == {
        "a blue flag": (3, 4),
        "a green flag": (3, 3),
        "a red flag": (3, 3),
    }


def test_captions_that_are_no_labels_have_no_classes() -> None:
    with pytest.raises(QueryError, match=r"40 pictures have 80 different captions.*leave --classes out"):
        evaluate_karpathy(ColourEncoder(), painted_samples(), classes=True)


def test_long_captions_are_counted() -> None:
    first, *others = painted_samples()
    long = replace(first, captions=(" ".join(["word"] * 40), "a red flag"))
    result = evaluate_karpathy(ColourEncoder(), [long, *others])
    assert result.notes == ["1 of 80 captions are longer than the model reads; the rest of each is ignored"]
