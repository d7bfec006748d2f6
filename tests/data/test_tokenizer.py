"""Texts to numbers: the same for the same texts, and something for every text."""

import subprocess
import sys

import numpy as np
import pytest

from hivlp.data.tokenizer import Tokenizer
from hivlp.errors import ModelError

TEXTS = [
    "A red boat on the sea",
    "two dogs in the snow",
    "a yellow house near a lake",
    "one café under a tree",
] * 3


def trained() -> Tokenizer:
    return Tokenizer.train(TEXTS, vocabulary=150, max_tokens=12)


def test_the_same_texts_give_the_same_vocabulary_in_every_process(tmp_path):
    """The library's own trainer orders pieces by a randomly seeded hash."""
    trained().save(tmp_path / "here.json")
    code = (
        "from pathlib import Path; from hivlp.data.tokenizer import Tokenizer; "
        f"there = Path({str(tmp_path / 'there.json')!r}); "
        f"Tokenizer.train({TEXTS!r}, vocabulary=150, max_tokens=12).save(there)"
    )
    for _ in range(3):
        subprocess.run([sys.executable, "-c", code], check=True)
        assert (tmp_path / "there.json").read_bytes() == (tmp_path / "here.json").read_bytes()


def test_padding_cutting_and_case():
    tokenizer = trained()
    tokens_BT, mask_BT = tokenizer.encode(
        ["a red boat", "A RED BOAT on the sea near the snow near a lake in the sea"]
    )
    assert tokens_BT.shape == mask_BT.shape == (2, 12)
    assert mask_BT.sum(axis=1).tolist() == [5, 12]
    assert (tokens_BT[0, 5:] == tokenizer.pad_id).all()
    assert np.array_equal(tokenizer.encode(["a red boat"])[0][0], tokens_BT[0, :5])
    assert tokenizer.cuts("a b c d e f g h i j k l m n o p")
    assert not tokenizer.cuts("a red boat")


@pytest.mark.parametrize("text", ["狗在雪里奔跑", "🐶❄️", "x" * 10_000, "", "\u0000", "CAFÉ"])
def test_every_text_has_tokens(text: str):
    tokens_BT, mask_BT = trained().encode([text])
    assert tokens_BT.shape[0] == 1
    assert 2 <= mask_BT.sum() <= 12


def test_letters_that_were_never_met_are_told_as_they_are_written():
    tokenizer = trained()
    assert tokenizer.unread("A RED 狗 on 🐶 and 狗") == ["狗", "🐶"]
    assert tokenizer.unread("a red boat") == tokenizer.unread("") == []


def test_opened_equals_saved(tmp_path):
    tokenizer = trained()
    tokenizer.save(tmp_path / "t.json")
    again = Tokenizer.open(tmp_path / "t.json", max_tokens=12)
    assert np.array_equal(tokenizer.encode(TEXTS)[0], again.encode(TEXTS)[0])
    assert again.mask_id == tokenizer.mask_id


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "t.json").write_text("{")
    with pytest.raises(ModelError, match=r"t.json can't be read as a tokenizer"):
        Tokenizer.open(tmp_path / "t.json", max_tokens=12)
