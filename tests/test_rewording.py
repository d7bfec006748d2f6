"""Other wordings of captions: as true as they are, and as likely of what is wrong."""

from __future__ import annotations

import re
import zlib

import numpy as np
import pytest

from hivlp.data.batches import Part
from hivlp.data.pack import pack
from hivlp.data.rewording import SAME_MEANING, Said, reworded, said
from hivlp.data.sources import open_source
from test_training import mixture

TEXT = "Two kids jumping next to a big bike, near the biker"


def test_words_become_others_of_their_meaning_and_nothing_else_changes():
    random = np.random.default_rng(0)
    assert reworded(TEXT, 0.0, random) == TEXT
    assert reworded("Kids next to it, next too", 1.0, random) in {
        f"{kids} beside it, next too" for kids in ("Children", "Youngsters")
    }
    seen = {reworded(TEXT, 0.5, random) for _ in range(300)}
    assert len(seen) > 30
    for text in seen:
        assert re.fullmatch(
            r"Two (kids|children|youngsters) (jumping|leaping) (next to|beside) a (big|large) (bike|bicycle),"
            r" (near|close to) the biker",
            text,
        )


def test_groups_do_not_overlap_and_take_one_article():
    words = [word for group in SAME_MEANING for word in group]
    assert len(words) == len(set(words))
    for group in SAME_MEANING:
        assert len({word[0] in "aeiou" for word in group}) == 1, group


def test_another_caption_follows_and_what_is_wrong_stays_in_front():
    random = np.random.default_rng(0)
    mixed = [
        said("A cat .", ["A cat .", "It sleeps"], synonyms=0, mixing=0.5, random=random) for _ in range(400)
    ]
    assert set(mixed) == {Said("A cat .", "A cat ."), Said("A cat. It sleeps", "A cat .")}
    share = sum(text.endswith("sleeps") for text, _ in mixed) / len(mixed)
    assert share == pytest.approx(0.5, abs=0.06)
    assert said("A cat", [], synonyms=0, mixing=1, random=random).text == "A cat"


def test_batches_say_captions_and_hard_negatives_in_other_words_alike(tmp_path):
    """Else a model could tell what is wrong by its words or its length."""
    taken = pack(open_source("scenes:60?size=32"), tmp_path, size=32, key="k", negatives="near_misses")
    part = Part(pack=taken, captions=2, negatives=2)
    plain = mixture(part, size=60).batch(0)
    changed = mixture(part, size=60, mixing=0.6, synonyms=0.5).batch(0)
    wrong_T = changed.picture_of_text_T < 0
    shares = [
        (changed.mask_TT[kind].sum() / plain.mask_TT[plain_kind].sum()).item()
        for kind, plain_kind in (
            (wrong_T, plain.picture_of_text_T < 0),
            (~wrong_T, plain.picture_of_text_T >= 0),
        )
    ]
    assert min(shares) > 1.0
    known = {text.lower() for texts in (*taken.captions, *taken.negatives) for text in texts}
    assert set(changed.wording_T.tolist()) <= {zlib.crc32(text.encode()) for text in known}
