"""`hivlp search`: words as people type them, what is said of them, listing, and pages of hits."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fakes import ColourEncoder
from hivlp.data.vocabulary import Spelling
from ran import Ran

Hivlp = Callable[..., Ran]


def ids(ran: Ran) -> list[str]:
    assert ran.code == 0, ran.err
    return [hit["id"] for hit in ran.document["hits"]]


def test_the_same_words_are_read_however_they_are_put(
    photos: Path, hivlp: Hivlp, colours: ColourEncoder
) -> None:
    plain = hivlp("search", photos, "red", "--json").document["hits"]
    for words in ('"red"', "“red”", "show me pictures of red!", "Find all photos with red", "red 🙂", "#red"):
        assert hivlp("search", photos, words, "--json").document["hits"] == plain
    assert set(colours.texts_seen[-6:]) == {"red"}


def test_words_behind_a_minus_are_kept_away_from(photos: Path, hivlp: Hivlp) -> None:
    def scores(*words: str) -> dict[str, float]:
        ran = hivlp("search", photos, "-k", "12", "--json", *words)
        return {hit["id"]: hit["score"] for hit in ran.document["hits"]}

    plain, less = scores("red"), scores("red -blue")
    assert max(less, key=less.__getitem__) == "red.png"
    assert less["blue.png"] == min(less.values()) < plain["blue.png"] - 0.2
    for same in (("red", "--not", "blue"), ("--", "-blue red"), ("show me photos of red -“blue”",)):
        assert scores(*same) == less
    ran = hivlp("search", photos, "red -blue", "--min-probability", "0.5", "--json")
    assert "only for searches by words" in ran.document["error"]


def test_only_words_to_keep_away_from_are_refused(photos: Path, hivlp: Hivlp) -> None:
    ran = hivlp("search", photos, "--json", "--", "-blue")
    assert (ran.code, "add what to look for" in ran.document["error"]) == (2, True)
    ran = hivlp("search", photos, "--not", "blue", "--where", "width > 1", "--json")
    assert ran.document["error"].startswith("--not needs something to search with: give words")


def test_misspelt_words_are_said_and_corrected_on_request(
    photos: Path, hivlp: Hivlp, colours: ColourEncoder
) -> None:
    known = Spelling({"rde": "red", "xqz": None}, english=True)
    colours.spelling = lambda text: known if "rde" in text else Spelling({})  # type: ignore[attr-defined]
    ran = hivlp("search", photos, "rde xqz", "--json")
    note = "the model does not know 'rde', 'xqz'; did you mean 'red'? The option spell (--spell) corrects it"
    assert ran.document["notes"] == [note]
    assert note in ran.err
    ran = hivlp("search", photos, "rde xqz", "--spell", "-k", "1", "--json")
    assert ids(ran) == ["red.png"]
    assert ran.document["notes"] == ["searched for 'red xqz' instead of 'rde xqz'"]


def test_unknown_words_and_another_language_are_said(
    photos: Path, hivlp: Hivlp, colours: ColourEncoder
) -> None:
    colours.spelling = lambda text: Spelling({text: None}, english=True)  # type: ignore[attr-defined]
    (note,) = hivlp("search", photos, "xqz", "--json").document["notes"]
    assert note == "the model does not know 'xqz': describe it with other English words"
    colours.spelling = lambda text: Spelling({text: "hand"}, foreign=True, english=True)  # type: ignore[attr-defined]
    (note,) = hivlp("search", photos, "ein Hund", "--spell", "--json").document["notes"]
    assert "does not seem to be English" in note and "hand" not in note


def test_a_negation_is_said_with_its_remedy(photos: Path, hivlp: Hivlp) -> None:
    ran = hivlp("search", photos, "red without blue", "--json")
    assert ran.document["notes"][0].endswith("put a minus before what to keep away from: 'red -blue'")


def test_a_file_as_the_words_gets_a_hint(photos: Path, hivlp: Hivlp) -> None:
    file = photos.parent / "pictures" / "red.png"
    ran = hivlp("search", photos, file, "--json")
    assert ran.code == 0
    assert f"To search with the image: hivlp search {photos} --image '{file}'" in ran.err
    assert "is a file" not in hivlp("search", photos, "x" * 5_000 + ".png").err


def test_an_address_is_not_searched_with(photos: Path, hivlp: Hivlp) -> None:
    ran = hivlp("search", photos, "--image", "https://example.org/dog.jpg", "--json")
    assert (ran.code, "save the image as a file" in ran.document["error"]) == (2, True)
    (note,) = hivlp("search", photos, "https://example.org/dog.jpg", "--json").document["notes"]
    assert "is an address" in note


def test_an_item_is_named_by_its_id_or_its_path(
    photos: Path, hivlp: Hivlp, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_id = ids(hivlp("search", photos, "--item", "red.png", "--json"))
    assert "red.png" not in by_id
    file = photos.parent / "pictures" / "red.png"
    assert ids(hivlp("search", photos, "--item", file, "--json")) == by_id
    monkeypatch.chdir(file.parent.parent)
    assert ids(hivlp("search", photos, "--item", "pictures/red.png", "--json")) == by_id
    assert "has no item 'nosuch'" in hivlp("search", photos, "--item", "nosuch").err


def test_a_filter_alone_lists_what_passes_it_newest_first(photos: Path, hivlp: Hivlp) -> None:
    folder = photos.parent / "pictures"
    shutil.copy(folder / "red.png", folder / "a-new-one.png")
    hivlp("index", folder, "--out", photos)
    ran = hivlp("search", photos, "--where", "width > 1", "-k", "3", "--json")
    assert (ran.code, ran.document["total"], ran.document["next_offset"]) == (0, 13, 3)
    first = [item["id"] for item in ran.document["items"]]
    assert first[0] == "a-new-one.png"
    ran = hivlp("search", photos, "--where", "width > 1", "-k", "20", "--offset", "3", "--json")
    assert (len(ran.document["items"]), ran.document["next_offset"]) == (10, None)
    assert not {item["id"] for item in ran.document["items"]} & set(first)
    ran = hivlp("search", photos, "--where", "id = 'red.png'")
    assert str(folder / "red.png") in ran.out and "1 of 1 item" in ran.out
    assert "no item passes the filter" in hivlp("search", photos, "--where", "width > 9000").out


@pytest.mark.parametrize("option", [("--exact",), ("--spell",), ("--min-score", "0.2"), ("--sheet", "x.png")])
def test_what_only_a_search_can_do_needs_a_query(photos: Path, hivlp: Hivlp, option: tuple[str, ...]) -> None:
    ran = hivlp("search", photos, "--kind", "image", *option, "--json")
    assert ran.code == 2
    assert ran.document["error"].startswith(f"{option[0]} needs something to search with: give words")


def test_pages_of_hits_follow_each_other(photos: Path, hivlp: Hivlp) -> None:
    whole = hivlp("search", photos, "red", "-k", "12", "--json").document["hits"]
    pages = [
        hivlp("search", photos, "red", "-k", "5", "--offset", str(offset), "--json").document["hits"]
        for offset in (0, 5, 10)
    ]
    assert [hit for page in pages for hit in page] == whole
    assert [hit["rank"] for hit in pages[1]] == [6, 7, 8, 9, 10]
    past = hivlp("search", photos, "red", "--offset", "50", "--json").document
    assert (past["hits"], past["notes"]) == ([], ["offset=50 leaves out all hits; there are 12"])
    assert "offset=-1 is invalid" in hivlp("search", photos, "red", "--offset", "-1").err
    least = whole[3]["score"]
    ran = hivlp("search", photos, "red", "--min-score", str(least), "-k", "10", "--offset", "2", "--json")
    assert ran.document["hits"] == whole[2:4]


def test_a_wrong_option_gets_a_near_one_or_none(photos: Path, hivlp: Hivlp) -> None:
    for command in (("search", photos, "red"), ("index", "x", "--out", "y")):
        assert f"No such option: --watch. See: hivlp {command[0]} --help" in hivlp(*command, "--watch").err
    ran = hivlp("search", photos, "red", "--candidate", "3")
    assert "No such option: --candidate. Did you mean --candidates? See: hivlp search --help" in ran.err
    assert "No such command 'idx'. Did you mean 'index'? See: hivlp --help" in hivlp("idx").err
