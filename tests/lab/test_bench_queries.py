"""Queries are captions that no model has trained on; plans are chosen on other ones than those reported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fakes import ColourEncoder
from hivlp.errors import DataError, QueryError
from hivlp_lab.bench.queries import described, query_sets, require_enough

COLOURS = ("red", "green", "blue", "white", "black", "yellow")


@pytest.fixture
def table(tmp_path: Path) -> str:
    """Sixty pictures, of which those of odd number are of the split val, with three captions each."""
    lines = ["image\tsplit\tcaption"]
    for number in range(60):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(tmp_path / f"{number}.png")
        split = "val" if number % 2 else "train"
        lines += [
            f"{number}.png\t{split}\t{split} {COLOURS[number % 6]} n{number} c{place}" for place in range(3)
        ]
    (tmp_path / "pairs.tsv").write_text("\n".join(lines))
    return str(tmp_path / "pairs.tsv")


def test_queries_are_captions_of_val_and_no_picture_is_in_both_halves(table: str) -> None:
    sets = query_sets([table], [], ColourEncoder(), count=40, seed=0)
    assert {name: len(one.texts) for name, one in sets.items()} == {"choose": 20, "report": 20}
    pictures = {name: {text.split()[2] for text in one.texts} for name, one in sets.items()}
    assert not pictures["choose"] & pictures["report"]
    for one in sets.values():
        assert all(text.startswith("val ") for text in one.texts)
        assert np.allclose(one.vectors_QD, ColourEncoder().encode_texts(one.texts).fine)
        assert len(np.unique(one.vectors_QD, axis=0)) == 20
    again = query_sets([table], [], ColourEncoder(), count=40, seed=0)
    assert again["report"].texts == sets["report"].texts


def test_captions_of_drawn_scenes_stand_apart(table: str) -> None:
    sets = query_sets([table, "scenes:50?size=16"], [], ColourEncoder(), count=40, seed=0)
    assert list(sets) == ["choose", "report", "scenes"]
    assert not any(text.startswith("val ") for text in sets["scenes"].texts)
    assert all(text.startswith("val ") for name in ("choose", "report") for text in sets[name].texts)
    assert described([table, "scenes:50"], []) == "captions of photographs of split val"
    assert described(["scenes:50"], []) == "captions of drawn scenes"


def test_given_captions_take_the_place_of_val(table: str, tmp_path: Path) -> None:
    lines = ["image\tcaption", *(f"{number}.png\tgiven red g{number}" for number in range(60))]
    (tmp_path / "given.tsv").write_text("\n".join(lines))
    sets = query_sets([table], [str(tmp_path / "given.tsv")], ColourEncoder(), count=40, seed=0)
    assert all(text.startswith("given ") for one in sets.values() for text in one.texts)


def test_captions_that_may_have_been_trained_on_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "0.png")
    (tmp_path / "plain.tsv").write_text("image\tcaption\n0.png\ta red thing")
    with pytest.raises(DataError, match=r"no captions of a split val.*name captions with --queries"):
        query_sets([str(tmp_path / "plain.tsv")], [], ColourEncoder(), count=4, seed=0)


def test_too_few_captions_are_refused(table: str) -> None:
    with pytest.raises(DataError, match=r"captions are too few for a half of 400 queries.*--query-count"):
        query_sets([table], [], ColourEncoder(), count=400, seed=0)


def test_fewer_queries_than_can_hold_the_target_are_refused() -> None:
    require_enough(536, 0.99)
    with pytest.raises(QueryError, match=r"query_count=200 is invalid for recall=0.99: .* at most 0.97"):
        require_enough(200, 0.99)
