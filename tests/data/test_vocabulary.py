"""Words that a vocabulary lacks: which they are, what was meant, and whether the language is another one."""

from __future__ import annotations

import pytest

from hivlp.data.tokenizer import SPECIAL, Tokenizer
from hivlp.data.vocabulary import Spelling
from hivlp.encode import load
from hivlp.encode.base import spelling_by

LETTERS = [piece for letter in "abcdefghijklmnopqrstuvwxyz'" for piece in (letter, f"##{letter}")]
# commonest first, as in a trained vocabulary
WORDS = [
    "a",
    "the",
    "and",
    "with",
    "in",
    "on",
    "of",
    "two",
    "dog",
    "man",
    "woman",
    "child",
    "children",
    "beach",
    "water",
    "snow",
    "ball",
    "bicycle",
    "street",
    "umbrella",
    "skateboarder",
    "friend",
    "running",
    "boat",
    "go",
    "zebra",
    "red",
    "watt",
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    pieces = [*SPECIAL, *LETTERS, *WORDS, "##s", "##ing", "##ed", "##er"]
    return Tokenizer.of_pieces(list(dict.fromkeys(pieces)), max_tokens=32)


@pytest.mark.parametrize(
    "text",
    ["", "a dog", "Two DOGS on the beach", "zebras", "the dog's ball", "2024", "a dog, running", "dög", "x"],
)
def test_known_words(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.spelling(text).unknown == {}


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("a dgo", {"dgo": "dog"}),  # two letters swapped, and not the rarer "go"
        ("bycicle", {"bycicle": "bicycle"}),  # two slips
        ("Sonw on the beahc", {"Sonw": "snow", "beahc": "beach"}),
        ("watter", {"watter": "water"}),  # not the watt with an ending
        ("umbrela", {"umbrela": "umbrella"}),
        ("skateborder", {"skateborder": "skateboarder"}),
        ("a freind", {"freind": "friend"}),
        ("xqzzt", {"xqzzt": None}),
        ("a giraffe", {"giraffe": None}),
    ],
)
def test_unknown_words_and_what_was_meant(
    tokenizer: Tokenizer, text: str, unknown: dict[str, str | None]
) -> None:
    assert tokenizer.spelling(text) == Spelling(unknown, foreign=False, english=True)


@pytest.mark.parametrize(
    "text",
    [
        "ein Hund", "ein Hund im Schnee", "un perro", "un chien sur la plage", "due cani nella neve",
        "een hond in de sneeuw", "cachorro na praia", "pies na plaży", "собака",
        "Собака в снегу", "雪地里的一只狗", "犬",
        "σκύλος", "كلب",
    ],
)  # fmt: skip
def test_another_language(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.spelling(text).foreign


@pytest.mark.parametrize(
    "text", ["a dog on la playa", "xqzzt blorp", "cafe", "a man in the sneeuw", "dög", "Dog 犬 on the beach"]
)
def test_english_with_strange_words_stays_english(tokenizer: Tokenizer, text: str) -> None:
    assert not tokenizer.spelling(text).foreign


def test_correcting(tokenizer: Tokenizer) -> None:
    text = "A dgo, a watter and a dogg; xqzzt"
    assert tokenizer.spelling(text).corrected(text) == "A dog, a water and a dog; xqzzt"
    german = "ein Hund im Watter"
    assert tokenizer.spelling(german).corrected(german) == german


def test_a_model_of_another_language_knows_its_own_words() -> None:
    pieces = [*SPECIAL, *LETTERS, "ein", "hund", "und", "der", "schnee", "собака", "снег"]
    german = Tokenizer.of_pieces(list(dict.fromkeys(pieces)), max_tokens=32)
    assert german.spelling("ein Hund und собака") == Spelling({})
    assert german.spelling("der Hudn") == Spelling({"Hudn": "hund"})


def test_the_shipped_model_knows_the_words_of_captions() -> None:
    encoder = load("mini")
    known = "three children in bathing suits play in the waves while a skateboarder jumps over a red umbrella"
    assert spelling_by(encoder, known) == Spelling({}, english=True)
    assert spelling_by(encoder, "a golden retreiver") == Spelling({"retreiver": "retriever"}, english=True)
    assert spelling_by(encoder, "Kinder spielen mit einem Ball").foreign


def test_an_encoder_that_does_not_say_knows_all_words() -> None:
    assert spelling_by(object(), "xqzzt") == Spelling({})  # type: ignore[arg-type]
