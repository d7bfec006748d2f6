"""The page finds what the service finds: by words, pictures, items, mixes, filters and thresholds."""

from __future__ import annotations

import base64
from pathlib import Path

from page_driver import Driver, Server


def test_words_show_the_services_answer_as_they_are_typed(page: Driver, server: Server) -> None:
    page.open().type("a red boat")
    assert page.ids == server.ids(q="a red boat")
    assert page.address == {"q": "a red boat"}
    assert page.tab.title() == "a red boat · HiVLP"
    page.says("#status", "24 results")
    page.says("#status", "ms")
    page.type(" at night")
    assert page.ids == server.ids(q="a red boat at night")


def test_before_any_search_the_page_says_what_is_here(page: Driver) -> None:
    page.open()
    assert page.text("#start h1") == "80 pictures, 3 texts"
    example = page.tab.locator(".example").first
    words = example.inner_text()
    example.click()
    page.settled(q=words)
    assert page.tab.locator("#words").input_value() == words
    assert not page.tab.locator("#start").is_visible()


def test_a_dropped_picture_finds_itself(page: Driver, gallery: Path, server: Server) -> None:
    data = (gallery / "scene 5.jpg").read_bytes()
    page.open()
    page.bring("dragover", data)
    assert page.tab.locator("#drop").is_visible()
    page.bring("drop", data)
    page.settled(picture=1)
    assert not page.tab.locator("#drop").is_visible()
    assert page.ids[0] == "hall/5#?&.jpg"
    assert page.ids == server.ids({"image_base64": base64.b64encode(data).decode()})
    assert page.text("#chip-name") == "mine.jpg"
    page.says("#status", "the link does not include your picture")


def test_a_picture_is_pasted_and_chosen(page: Driver, gallery: Path) -> None:
    page.open()
    page.bring("paste", (gallery / "scene 8.jpg").read_bytes())
    page.settled(picture=1)
    assert page.ids[0] == "hall/8#?&.jpg"
    page.tab.locator("#file").set_input_files(gallery / "scene 9.jpg")
    page.settled(picture=2)
    assert page.ids[0] == "hall/9#?&.jpg"
    page.tab.go_back()
    page.settled(picture=1)
    assert page.ids[0] == "hall/8#?&.jpg"


def test_a_large_picture_is_sent_small(page: Driver, gallery: Path, tmp_path: Path) -> None:
    from PIL import Image

    with Image.open(gallery / "scene 6.jpg") as image:
        image.resize((3000, 3000)).save(tmp_path / "large.jpg", quality=95)
    sizes: list[int] = []
    page.tab.on("request", lambda request: sizes.append(int(request.all_headers().get("content-length", 0))))
    page.open()
    page.tab.locator("#file").set_input_files(tmp_path / "large.jpg")
    page.settled(picture=1)
    assert page.ids[0] == "hall/6#?&.jpg"
    assert 1_000 < max(sizes) < (tmp_path / "large.jpg").stat().st_size / 2


def test_what_is_no_picture_is_refused_in_words(page: Driver, server: Server) -> None:
    page.open(q="a boat")
    page.bring("drop", b"some text", name="notes.txt", media="text/plain")
    page.says("#notice", "That is not a picture")
    page.expected += ["422"]
    page.bring("drop", b"no jpeg at all", name="broken.jpg")
    page.says("#notice", "That did not work")
    assert page.ids == server.ids(q="a boat")


def test_a_picture_with_words_is_a_mix(page: Driver, gallery: Path, server: Server) -> None:
    data = (gallery / "scene 5.jpg").read_bytes()
    picture = {"image_base64": base64.b64encode(data).decode()}
    page.open()
    page.bring("drop", data)
    page.settled(picture=1)
    page.type("at night")
    # as the service weighs them: the picture counts more
    assert page.ids == server.ids({"mix": [{"query": "at night", "weight": 0.8}, picture]})
    page.tab.locator("#blend").fill("0.9")
    page.settled(blend=0.9)
    assert page.ids == server.ids(
        {"mix": [{"query": "at night", "weight": 0.9}, {**picture, "weight": 1 - 0.9}]}
    )
    page.tab.locator("#chip-drop").click()
    page.settled(picture="")
    assert page.ids == server.ids(q="at night")


def test_more_like_this_and_this_one_but(page: Driver, server: Server) -> None:
    page.open(q="a red boat")
    first, second = page.ids[:2]
    page.tab.locator(".frame").nth(1).click()
    page.tab.get_by_role("button", name="More like this").click()
    page.settled(item=second)
    assert page.ids == server.ids(item=second)
    assert page.tab.locator("#chip").is_visible()
    page.tab.go_back()
    page.tab.locator("#detail[open]").wait_for()
    page.tab.go_back()
    page.settled(q="a red boat", item="")
    page.tab.locator(".frame").first.click()
    page.tab.get_by_placeholder("This one, but …").fill("at night")
    page.tab.keyboard.press("Enter")
    page.settled(item=first, q="at night")
    assert page.ids == server.ids(item=first, q="at night")


def test_filters_from_the_metadata(page: Driver, server: Server) -> None:
    page.open(q="a boat")
    page.tab.locator("#filters-toggle").click()
    page.tab.locator("#filters").get_by_label("shelf mark").select_option("o'er the door")
    page.settled(**{"is.shelf mark": "o'er the door"})
    assert page.ids == server.ids(q="a boat", where="\"shelf mark\" = 'o''er the door'")
    page.tab.get_by_label("price, at least").fill("10")
    page.tab.get_by_label("price, at most").fill("50")
    page.settled(**{"min.price": 10, "max.price": 50})
    where = "\"shelf mark\" = 'o''er the door' and price between 10 and 50"
    assert page.ids == server.ids(q="a boat", where=where)
    page.tab.locator("#where").fill("caption like '%red%' or caption like '%blue%'")
    page.settled(where="caption like '%red%' or caption like '%blue%'")
    both = f"(caption like '%red%' or caption like '%blue%') and {where}"
    assert page.ids == server.ids(q="a boat", where=both)
    assert page.text("#filters-toggle").split() == ["Filters", "3"]
    page.tab.locator("#filters-clear").click()
    page.settled(where="", **{"min.price": ""})
    assert page.ids == server.ids(q="a boat")
    assert page.tab.locator("#where").input_value() == ""


def test_folder_dates_and_the_newest_first(page: Driver, server: Server) -> None:
    page.open(q="a boat")
    page.tab.locator("#filters-toggle").click()
    page.tab.get_by_label("Taken on this day or later").fill("2021-03-01")
    page.tab.get_by_label("Taken on this day or before").fill("2021-05-31")
    page.tab.get_by_label("Folder").fill("hall")
    page.tab.get_by_label("Order").select_option("newest first")
    page.settled(since="2021-03-01", until="2021-05-31", folder="hall", sort="date")
    wanted = {"since": "2021-03-01", "until": "2021-05-31", "folder": "hall", "sort": "date"}
    expected = server.ids(q="a boat", **wanted)
    assert 5 < len(expected) < 24
    assert page.ids == expected
    assert page.text("#filters-toggle").split() == ["Filters", "3"]
    page.tab.reload()
    page.settled(**wanted)
    assert page.ids == expected
    page.tab.locator("#filters-toggle").click()
    page.tab.locator("#filters-clear").click()
    page.settled(since="", folder="")
    assert page.ids == server.ids(q="a boat", sort="date")


def test_a_wrong_filter_is_told_beside_its_field(page: Driver, server: Server) -> None:
    page.expected += ["400"]
    page.open(q="a boat")
    page.tab.locator("#filters-toggle").click()
    page.tab.locator("#where").fill("prize < 20")
    page.says("#where-error", "prize")
    page.says("#where-error", "price")  # the service names the nearest key
    assert page.tab.locator("#where").get_attribute("aria-invalid") == "true"
    assert page.ids == server.ids(q="a boat")
    page.tab.locator("#where").fill("price < 20")
    page.settled(where="price < 20")
    assert page.ids == server.ids(q="a boat", where="price < 20")
    assert not page.tab.locator("#where-error").is_visible()


def test_kinds(page: Driver, server: Server) -> None:
    page.open(q="a red boat in the harbour")
    page.tab.locator("#filters-toggle").click()
    page.tab.get_by_label("Kind").select_option("text")
    page.settled(kind="text")
    assert page.ids == server.ids(q="a red boat in the harbour", kind="text")
    assert page.ids[0] == "boat"
    assert page.text(".box.text .inside >> nth=0") == "A red boat lies in the harbour"


def test_a_threshold_that_nothing_reaches_says_what_the_best_was(page: Driver, server: Server) -> None:
    page.open(q="a zebra in a bathtub")
    assert page.text("#least-name") == "Match at least"
    page.tab.locator("#least").fill("1")
    page.settled(min_probability=1)
    (note,) = server.asked(q="a zebra in a bathtub", min_probability=1)["notes"]
    assert page.ids == []
    assert page.text("#nothing h2") == "Nothing found"
    rule, _, best = note.removeprefix("nothing found: ").rpartition(" ")
    assert f"{rule[1:]} {float(best):.0%}".replace("%", " %") in page.text("#nothing")
    page.tab.get_by_role("button", name="Show the nearest all the same").click()
    page.settled(min_probability="")
    assert page.ids == server.ids(q="a zebra in a bathtub")
    assert not page.tab.locator("#nothing").is_visible()


def test_where_there_are_no_probabilities_the_threshold_is_a_score(page: Driver, server: Server) -> None:
    item = "hall/5#?&.jpg"
    fourth, fifth = (hit["score"] for hit in server.asked(item=item)["hits"][3:5])
    least = round((fourth + fifth) / 2, 4)
    page.open(item=item, min_score=least)
    assert page.text("#least-name") == "Score at least"
    assert page.text("#least-value") == f"{least:.2f}"
    assert page.ids == server.ids(item=item)[:4]


def test_show_more_keeps_what_is_there(page: Driver, server: Server) -> None:
    page.open(q="a boat")
    page.tab.evaluate("document.querySelector('#results li').kept = true")
    page.tab.get_by_role("button", name="Show 24 more").click()
    page.settled(k=48)
    assert page.ids == server.ids(q="a boat", k=48)
    assert page.tab.evaluate("document.querySelector('#results li').kept")


def test_markup_in_captions_and_words_stays_text(page: Driver) -> None:
    page.open(q="<img src=x onerror=alert(1)>", kind="text")
    shown = page.tab.locator("[data-id=markup]")
    assert "<b>bold</b>" in shown.locator(".inside").inner_text()
    shown.locator(".frame").click()
    assert "<b>bold</b>" in page.text("#detail blockquote")
    assert page.tab.locator("#detail b, #results .inside b").count() == 0
