"""Queries as people word them: what a model is given to read, what is kept away from, and what is said."""

from __future__ import annotations

import numpy as np
import pytest

from fakes import ColourEncoder
from hivlp.errors import QueryError
from hivlp.search.query import WORDS_BESIDE_IMAGE, Part, beside, mixed, parts_of, words_of
from hivlp.search.wording import MINUS_WEIGHT, Wording, notes_on, read


@pytest.mark.parametrize(
    "written",
    [
        '"a dog"', "'a dog'", "“a dog”", "„a dog“", "«a dog»", "‹a dog›", "‘a dog’", "`a dog`", "「a dog」",
        "a dog?", "a dog!!", "a dog.", "a dog…", "a dog;", "a dog:", "(a dog)", "[a dog]", "*a dog*",
        "#a dog",
        "a_dog", "- a dog", "— a dog", "a dog -", "• a dog", "ａ ｄｏｇ", "a dog.jpg", "a dog 🙂", "a dog ❤️",
        "show me pictures of a dog", "Show me all the photos of a dog!", "find all images with a dog",
        "Can you find photos of a dog, please?", "I'm looking for a picture that shows a dog",
        "I’m searching for images containing a dog", "please give me a photo of a dog", "get pics of a dog",
        "which photos show a dog?", "what pictures have a dog", "do I have any photos of a dog?",
        "are there any pictures of a dog", "is there a dog?", "search for a dog", "look for a dog",
        "find a dog", "show me a dog", "a photo of a dog", "an image of a dog", "a photograph of a dog.",
        "photo: a dog", "tag:a dog", "“Show me photos of ‘a dog’…”",
    ],
)  # fmt: skip
def test_what_surrounds_the_words_is_not_read(written: str) -> None:
    assert read(written) == Wording("a dog")


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("dog pictures", "dog"),
        ("where is the dog?", "the dog"),
        ("my dog", "dog"),
        ("fish + water", "fish water"),
        ("black/white", "black white"),
        ("🐶", "dog"),
        ("🐟 in the sea", "fish in the sea"),
        ("🙂", "slightly smiling face"),
    ],
)
def test_marks_and_emoji_become_words(written: str, words: str) -> None:
    assert read(written) == Wording(words)


@pytest.mark.parametrize(
    "written",
    [
        "a t-shirt", "black-and-white", "a dog's bone", "don't run", "a man taking pictures", "pictures",
        "woman taking photos", "a picture on a wall", "people looking at pictures", "show jumping",
        "looking out of a window", "black and white photos", "a photo", "雪地里的一只狗", "???", "50% off $5",
        "a list of names", "a man getting a haircut",
    ],
)  # fmt: skip
def test_words_of_the_picture_stay(written: str) -> None:
    assert read(written) == Wording(written)


@pytest.mark.parametrize(
    ("written", "wanted", "unwanted"),
    [
        ("dog -water", "dog", ("water",)),
        ("-water dog", "dog", ("water",)),
        ("a dog \u2212water", "a dog", ("water",)),
        ("dog –water", "dog", ("water",)),
        ('a dog -"red car" -people', "a dog", ("red car", "people")),
        ("show me photos of a dog -“deep water”!", "a dog", ("deep water",)),
        ("t-shirt -red", "t-shirt", ("red",)),
    ],
)
def test_a_minus_takes_words_away(written: str, wanted: str, unwanted: tuple[str, ...]) -> None:
    assert read(written) == Wording(wanted, unwanted)
    parts = parts_of(written)
    assert parts == [Part(text=wanted), *(Part(text=text, weight=MINUS_WEIGHT) for text in unwanted)]
    assert words_of(parts) is None


def test_a_minus_in_a_mix_keeps_the_weights() -> None:
    parts = parts_of([Part(text="a beach -people", weight=2.0), Part(item="x", weight=0.5)])
    assert parts == [
        Part(text="a beach", weight=2.0),
        Part(text="people", weight=2 * MINUS_WEIGHT),
        Part(item="x", weight=0.5),
    ]
    away = parts_of([Part(text="sea"), Part(text='"boats" -red', weight=-1.0)])
    assert away == [Part(text="sea"), Part(text="boats", weight=-1.0)]


def test_only_what_not_to_find_is_no_query() -> None:
    with pytest.raises(
        QueryError, match="only says what not to find: add what to look for, such as 'people -"
    ):
        read("-water")


def test_too_many_words_behind_a_minus_are_refused() -> None:
    with pytest.raises(QueryError, match="has 17 words behind a minus: must have at most 16"):
        read("dog " + " ".join(f"-w{n}" for n in range(17)))


def test_words_beside_a_picture_count_less_than_the_picture() -> None:
    image = Part(image="bike.jpg")
    assert 0 < WORDS_BESIDE_IMAGE < 1
    assert beside(["at night"], [image], ["people"]) == [
        Part(text="at night", weight=WORDS_BESIDE_IMAGE),
        image,
        Part(text="people", weight=MINUS_WEIGHT),
    ]
    assert beside(["at night"], []) == [Part(text="at night")]


@pytest.mark.parametrize(
    ("query", "word", "remedy"),
    [
        ("a dog without a leash", "without", "'a dog -leash'"),
        ("a beach with no people", "no", "'a beach -people'"),
        ("a car that is not red", "not", "'a car -red'"),
        ("everything except water", "except", "'everything -water'"),
        ("no people", "no", "such as 'a beach -people'"),
        ("nobody", "nobody", "such as 'a beach -people'"),
        ("a dog that isn't running", "isn't", "such as 'a beach -people'"),
    ],
)
def test_a_negation_is_said_with_its_remedy(query: str, word: str, remedy: str) -> None:
    (note,) = notes_on(query)
    assert note.startswith(f"the model does not understand {word!r}; put a minus before ")
    assert note.endswith(remedy)


@pytest.mark.parametrize(
    "query", ["a dog on a knot", "snow", "a northern light", "a notebook", "an empty beach"]
)
def test_no_negation_no_note(query: str) -> None:
    assert notes_on(query) == ()


def test_an_address_is_said() -> None:
    address = "https://example.org/a_dog.jpg"
    assert read(address) == Wording(address)
    (note,) = notes_on(address)
    assert "is an address" in note and "search by it" in note


@pytest.mark.parametrize("part", ["i would like you to ", "the ", "-", '"', "please ", "no "])
def test_a_document_of_repetitions_is_read_at_once(part: str) -> None:
    # a pattern that tries every way to split these would not end
    assert read(part * (20_000 // len(part)) + "a").wanted
    assert read(part * (450 // len(part)) + "a").wanted


def test_the_minus_moves_the_query_away() -> None:
    encoder = ColourEncoder()
    red_D, blue_D = encoder.encode_texts(["red", "blue"]).fine
    parts = parts_of("red -blue")
    query = mixed(
        [encoder.encode_texts([part.text or ""]) for part in parts], [part.weight for part in parts]
    )
    assert np.dot(query.fine[0], blue_D) < np.dot(red_D, blue_D)
    assert np.dot(query.fine[0], red_D) > 0.7
