"""The contact sheet: its size, its pictures, and what it does about those that are missing."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from fakes import COLOURS, gallery, painted, png
from hivlp.errors import DataError
from hivlp.sheets import contact_sheet as sheets
from hivlp.sheets import lettering
from hivlp.sheets.contact_sheet import EMPTY, HEADING, RIGHT, SheetLayout, SheetRow, contact_sheet, save
from hivlp.types import Hit, Hits, Timings

LAYOUT = SheetLayout(columns=3, thumb=120)
FIRST = (LAYOUT.margin + LAYOUT.padding, LAYOUT.margin + HEADING + LAYOUT.padding + 40)


def hits(*uris: str | Path, caption: str | None = None) -> Hits:
    found = tuple(
        Hit(
            rank=rank,
            id=str(uri),
            uri=str(uri),
            score=1 - rank / 10,
            coarse_score=0.5,
            coarse_rank=rank,
            caption=caption,
        )
        for rank, uri in enumerate(uris, start=1)
    )
    return Hits(hits=found, timings_ms=Timings(encode=1.5), plan={})


def centre(sheet: Image.Image, column: int) -> tuple[int, ...]:
    """The colour in the middle of a thumbnail of the first row."""
    x = FIRST[0] + column * (LAYOUT.thumb + LAYOUT.gap) + LAYOUT.thumb // 2
    return sheet.getpixel((x, FIRST[1] + LAYOUT.thumb // 2))  # type: ignore[return-value]


def near(found: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return max(abs(a - b) for a, b in zip(found, wanted, strict=True)) < 12


def test_every_hit_is_in_its_place(tmp_path: Path) -> None:
    pictures = gallery(tmp_path)
    row = SheetRow(
        query="colours", hits=hits(*(pictures / f"{c}.png" for c in ("red", "green", "blue", "pink")))
    )
    sheet = contact_sheet([row, row], layout=LAYOUT)
    assert (sheet.mode, sheet.width) == ("RGB", LAYOUT.width)
    assert sheet.height == 2 * LAYOUT.margin + HEADING + 2 * LAYOUT.row_height(1) + LAYOUT.gap
    for column, colour in enumerate(("red", "green", "blue")):
        assert near(centre(sheet, column), COLOURS[colour])
    last = (sheet.width - LAYOUT.margin // 2, FIRST[1] + LAYOUT.thumb // 2)
    assert not near(sheet.getpixel(last), COLOURS["pink"]), "no more than the columns"  # type: ignore[arg-type]


def test_a_missing_or_broken_picture_is_an_empty_tile(tmp_path: Path) -> None:
    (tmp_path / "words.jpg").write_text("words")
    row = SheetRow(
        query="x", hits=hits(tmp_path / "gone.jpg", tmp_path / "words.jpg", "archive.tar#gone.jpg")
    )
    sheet = contact_sheet([row], layout=LAYOUT)
    corner = (FIRST[0] + LAYOUT.thumb // 2, FIRST[1] + 10)
    assert sheet.getpixel(corner) == EMPTY


def test_a_member_of_a_tar_is_shown(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        info = tarfile.TarInfo("in/red.png")
        info.size = len(png("red"))
        tar.addfile(info, io.BytesIO(png("red")))
    names = (f"{tmp_path}/a.tar#in/red.png", f"{tmp_path}/a.tar#in/blue.png")
    sheet = contact_sheet([SheetRow(query="x", hits=hits(*names))], layout=LAYOUT)
    assert near(centre(sheet, 0), COLOURS["red"])
    assert not near(centre(sheet, 1), COLOURS["blue"])


def test_the_query_picture_comes_first(tmp_path: Path) -> None:
    pictures = gallery(tmp_path)
    found = hits(*(pictures / f"{colour}.png" for colour in ("red", "green", "blue")))
    sheet = contact_sheet([SheetRow(query="pink", hits=found, picture=painted("pink"))], layout=LAYOUT)
    assert [near(centre(sheet, n), COLOURS[c]) for n, c in enumerate(("pink", "red", "green"))] == [True] * 3


def test_the_expected_answer_is_framed(tmp_path: Path) -> None:
    pictures = gallery(tmp_path)
    found = hits(pictures / "red.png", pictures / "blue.png")
    sheet = contact_sheet([SheetRow(query="x", hits=found, expected=[found[1].id])], layout=LAYOUT)
    beside = [(FIRST[0] + n * (LAYOUT.thumb + LAYOUT.gap) - 4, FIRST[1] + 60) for n in range(2)]
    assert [sheet.getpixel(point) == RIGHT for point in beside] == [False, True]


@pytest.mark.parametrize("query", ["", "x" * 10_000, "word " * 2_000, "雪地里的一只狗 🐕❄️", "two\nlines"])
def test_any_words_fit(tmp_path: Path, query: str) -> None:
    row = SheetRow(query=query, hits=hits("gone.jpg", caption=query))
    sheet = contact_sheet([row], layout=LAYOUT)
    right = [sheet.getpixel((sheet.width - LAYOUT.margin // 2, y)) for y in range(sheet.height)]
    assert len(set(right)) == 1, "nothing is drawn into the margin"


def test_no_rows_and_no_hits() -> None:
    assert contact_sheet([], layout=LAYOUT).width == LAYOUT.width
    nothing = contact_sheet([SheetRow(query="nothing like it", hits=hits())], layout=LAYOUT)
    assert nothing.height > LAYOUT.row_height(0)


def test_saving_names_what_is_wrong(tmp_path: Path) -> None:
    sheet = contact_sheet([], layout=LAYOUT)
    save(sheet, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as again:
        assert again.size == sheet.size
    with pytest.raises(DataError, match=r"must end in \.png"):
        save(sheet, tmp_path / "a.txt")
    with pytest.raises(DataError, match="folder exists"):
        save(sheet, tmp_path / "no" / "a.png")


def test_a_row_is_as_high_as_its_captions() -> None:
    def height(caption: str) -> int:
        row = SheetRow(query="x", hits=hits("gone.jpg", caption=caption))
        return contact_sheet([row], layout=SheetLayout(columns=3, caption_lines=3)).height

    one, two, three = height("short"), height("a longer caption of some words"), height("word " * 50)
    assert two - one == three - two > 10
    assert height("雪" * 100) in (one, two, three), "said in words, or broken between letters"


def test_letters_that_no_font_has_are_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lettering, "_OTHERS", ())
    text, font = lettering.readable("雪地里的一只狗 and a 🐕🏽, 5", 20)
    assert text == "[7 letters this font lacks] and a :dog:, 5"
    assert lettering.readable("雪 snow", 20)[0] == "[1 letter this font lacks] snow"
    assert lettering.readable("two\nlines\tof words", 20)[0] == "two lines of words"
    assert font.getlength(text) > 100


def test_the_font_that_lacks_the_fewest_letters_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    # Cyrillic is in DejaVu Sans and not in the face inside of Pillow, which stands in for a missing font.
    if lettering._load("DejaVuSans.ttf", 16) is None:
        pytest.skip("DejaVu Sans is not installed")
    monkeypatch.setattr(lettering, "_OTHERS", ("DejaVuSans.ttf",))
    monkeypatch.setattr(lettering, "_FIRST", ("no such font.ttf", "no such font.ttf"))
    text, font = lettering.readable("снег", 20)
    assert text == "снег"
    assert font.getname()[0] == "DejaVu Sans"  # type: ignore[union-attr]
    assert lettering.readable("snow", 20)[1] is lettering.font(20)


def test_how_likely_the_best_hit_matches_is_told_where_there_is_room() -> None:
    hit = Hit(rank=1, id="a", uri="a.jpg", score=0.6983, coarse_score=0.6, coarse_rank=1, probability=0.894)
    told = [sheets._numbers(hit, room) for room in (184, 110, 60)]
    assert told == ["0.698 · 89% match", "0.698 · 89%", "0.698"]
    assert sheets._numbers(replace(hit, probability=None), 184) == "0.698"
    assert sheets._numbers(replace(hit, rank=2), 184) == "0.698"


@pytest.mark.parametrize("name", ["boat.jpg", "1000268201_693b08cb0e.jpg", "y" * 5_000 + ".jpg", "雪" * 300])
def test_shortened_names_fit_and_keep_both_ends(name: str) -> None:
    font = lettering.font(13)
    line = lettering.shortened(name, font, 120)
    assert font.getlength(line) <= 120
    start, dots, end = line.partition("…")
    assert name.startswith(start) and name.endswith(end)
    assert (line == name) == (name == "boat.jpg") and bool(dots) == (line != name)
    assert abs(len(start) - len(end)) <= 1 or not dots


@pytest.mark.parametrize("text", ["a few words of a caption", "雪" * 300, "x" * 5_000, "a " + "y" * 80, ""])
def test_wrapped_lines_fit(text: str) -> None:
    font = lettering.font(13)
    lines = lettering.wrap(text, font, 120, 3)
    assert len(lines) <= 3
    assert all(font.getlength(line) <= 120 for line in lines)
    shown = "".join(lines).replace(" ", "")
    assert text.replace(" ", "").startswith(shown.rstrip("…"))
    assert len(text) > 30 or "…" not in shown
