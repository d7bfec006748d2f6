"""The page in use: keys, links and Back, narrow windows, other looks, and its arithmetic."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from hivlp.index.where import parse
from page_driver import Driver, Server


def test_the_keyboard_alone_is_enough(page: Driver, server: Server) -> None:
    page.open()
    press = page.tab.keyboard.press
    focused = "document.activeElement.closest('.hit')?.dataset.id"
    page.until("document.activeElement.id === 'words'")  # one may type at once
    page.tab.evaluate("document.activeElement.blur()")
    press("/")
    page.tab.keyboard.type("a red boat")
    page.settled(q="a red boat")
    ids = page.ids
    press("ArrowDown")
    assert page.tab.evaluate(focused) == ids[0]
    press("ArrowRight")
    assert page.tab.evaluate(focused) == ids[1]
    press("ArrowDown")
    below = page.tab.evaluate(focused)
    row = page.tab.evaluate("[...document.querySelectorAll('.hit')].map(hit => Math.round(hit.offsetTop))")
    assert row[ids.index(below)] == sorted(set(row))[1]
    press("ArrowUp")
    assert page.tab.evaluate(focused) == ids[1]
    press("Enter")
    page.tab.locator("#detail[open]").wait_for()
    assert page.address["open"] == ids[1]
    press("ArrowRight")
    page.says("#detail .place", "3 of 24")
    press("Escape")
    page.tab.locator("#detail[open]").wait_for(state="detached")
    # the browser first gives the focus back to what had it, and tells the page of the end after that
    page.until(f"{focused} === {json.dumps(ids[2])}")
    page.until("!new URLSearchParams(location.search).has('open')")
    press("m")
    page.settled(item=ids[2])
    assert page.ids == server.ids(item=ids[2])
    page.tab.evaluate("document.activeElement.blur()")
    press("?")
    assert page.tab.locator("#help").is_visible()
    press("Escape")
    press("f")
    assert page.tab.locator("#filters").is_visible()
    press("/")
    press("Escape")
    page.settled(item="", q="")
    assert page.tab.locator("#start").is_visible()


def test_escape_after_moving_in_the_results_leads_back_to_the_field(page: Driver) -> None:
    page.open(q="a boat")
    page.tab.keyboard.press("/")
    page.tab.keyboard.press("ArrowDown")
    page.tab.keyboard.press("ArrowUp")
    assert page.tab.evaluate("document.activeElement.id") == "words"
    page.tab.keyboard.press("ArrowDown")
    page.tab.keyboard.press("Escape")
    assert page.tab.evaluate("document.activeElement.id") == "words"


def test_a_link_reproduces_the_search(page: Driver, server: Server) -> None:
    link = {
        "q": "a boat", "item": "hall/5#?&.jpg", "kind": "image", "k": 12, "where": "price < 60",
        "min.price": 5, "is.shelf mark": "cellar", "min_score": 0.05, "blend": 0.7,
    }  # fmt: skip
    page.open(**link)
    where = "(price < 60) and price >= 5 and \"shelf mark\" = 'cellar'"
    mix = [{"query": "a boat", "weight": 0.7}, {"item": "hall/5#?&.jpg", "weight": 1 - 0.7}]
    body = {"mix": mix, "k": 12, "kind": "image", "min_score": 0.05, "where": where}
    assert page.ids == server.ids(body)
    assert 0 < len(page.ids) <= 12
    page.tab.locator("#filters-toggle").click()
    assert page.tab.get_by_label("price, at least").input_value() == "5"
    assert page.tab.locator("#filters").get_by_label("shelf mark").input_value() == "cellar"
    assert page.tab.locator("#where").input_value() == "price < 60"
    assert page.address == {name: str(value) for name, value in link.items()}


def test_back_and_forth(page: Driver, server: Server) -> None:
    page.open(q="a boat")
    page.tab.locator(".frame").nth(2).click()
    page.tab.locator("#detail[open]").wait_for()
    page.tab.go_back()
    page.tab.locator("#detail[open]").wait_for(state="detached")
    page.tab.locator("#words").fill("a tree")
    page.settled(q="a tree")
    page.tab.go_back()
    page.settled(q="a boat")
    assert page.tab.locator("#words").input_value() == "a boat"
    assert page.ids == server.ids(q="a boat")
    page.tab.go_forward()
    page.settled(q="a tree")
    assert page.ids == server.ids(q="a tree")


def test_a_link_opens_one_item_also_beyond_the_results(page: Driver) -> None:
    page.open(open="hall/5#?&.jpg")
    page.says("#detail .facts", "scene 5.jpg")
    assert page.tab.locator("#detail .scores").count() == 0
    page.expected += ["404"]
    page.open(open="nothing of this name", q="a boat")
    page.says("#notice", "nothing of this name")


def test_a_picture_of_ones_own_is_not_in_the_link_and_the_page_says_so(page: Driver) -> None:
    page.open(picture=3, q="")
    page.says("#notice", "a picture that the link can't hold")
    assert page.address == {}


def test_the_detail_tells_all_that_is_known(page: Driver, server: Server) -> None:
    page.open(q="a red boat", kind="image")
    hit = server.asked(q="a red boat", kind="image")["hits"][0]
    page.tab.locator(".frame").first.click()
    told = page.text("#detail")
    known = [f"{hit['score']:.3f}", f"{hit['coarse_score']:.3f}", hit["caption"], hit["id"]]
    for value in (
        *known,
        str(hit["meta"]["price"]),
        hit["meta"]["shelf mark"],
        "The index holds such a picture",
        "128 × 128",
    ):
        assert value in told, value
    assert hit["uri"] not in told  # it tells strangers of the machine
    page.tab.keyboard.press("z")
    page.until("document.querySelector('#detail img').src.includes('/original')")
    assert page.tab.locator(".stage-area.zoomed").count() == 1
    page.tab.locator("#detail img").click()
    assert page.tab.locator(".stage-area.zoomed").count() == 0


@pytest.mark.parametrize("width", [390, 820, 1440])
def test_no_window_is_too_narrow(page: Driver, width: int) -> None:
    page.tab.set_viewport_size({"width": width, "height": 844})
    page.open(q="a red boat at sunset with a large white bird")
    page.tab.locator("#filters-toggle").click()
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.tab.evaluate(overflow) == 0
    edges = page.tab.eval_on_selector_all(".hit", "all => all.map(one => one.getBoundingClientRect().right)")
    assert max(edges) <= width
    small = page.tab.eval_on_selector_all(
        "header button, header a, header select",
        """all => all.filter(one => one.offsetParent && one.getBoundingClientRect().height < 24)
                  .map(one => one.id)""",
    )
    assert small == []
    page.tab.locator(".frame").first.click()
    page.tab.locator("#detail[open]").wait_for()
    assert page.tab.evaluate("document.querySelector('#detail').scrollWidth") <= width


def test_the_layout_is_known_before_the_pictures(page: Driver) -> None:
    boxes = """[...document.querySelectorAll('.hit')].map(hit => {
      const {left, top, width, height} = hit.getBoundingClientRect();
      return [left, top, width, height];
    })"""
    held: list[Any] = []
    page.tab.route(re.compile("/thumbnail"), lambda route: held.append(route))
    page.open(q="a boat")
    before = page.tab.evaluate(boxes)
    for _ in range(500):  # frames are there a moment before their pictures are asked for
        if held:
            break
        page.tab.wait_for_timeout(20)
    assert held
    for route in held:
        route.continue_()
    page.tab.locator(".box img.loaded").first.wait_for()
    assert page.tab.evaluate(boxes) == before


def test_a_picture_that_is_gone_leaves_a_calm_place(page: Driver) -> None:
    page.expected += ["410", "404"]
    page.open(q="anything", where="price = 3")
    place = page.tab.locator("[data-id='hall/3#?&.jpg'] .box.missing")
    place.wait_for()
    assert "of" in place.locator(".inside").inner_text()
    page.tab.locator(".frame").first.click()
    page.says("#detail", "The picture itself is not there any more.")


def test_the_look_can_be_chosen_and_is_kept(page: Driver) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    page.tab.emulate_media(color_scheme="light")
    page.open()
    light = page.tab.evaluate(paper)
    page.tab.locator("#theme").click()
    dark = page.tab.evaluate(paper)
    assert dark != light
    page.open()
    assert page.tab.evaluate(paper) == dark
    page.tab.locator("#theme").click()
    page.tab.emulate_media(color_scheme="dark")
    assert page.tab.evaluate(paper) == light


def test_everything_that_can_be_used_has_a_name(page: Driver) -> None:
    page.open(q="a boat")
    page.tab.locator("#filters-toggle").click()
    page.tab.locator(".frame").first.click()
    nameless = page.tab.evaluate(
        """[...document.querySelectorAll("button, input:not([type=file]), select, a")].filter(one => !(
             one.getAttribute("aria-label") || one.textContent.trim() || one.labels?.length))
           .map(one => one.outerHTML)"""
    )
    assert nameless == []
    first = page.tab.locator(".frame").first.get_attribute("aria-label") or ""
    assert first.startswith("1. ") and ", score 0." in first
    page.says("#live", "24 results")


def test_the_filter_of_odd_names_is_one_the_library_understands(page: Driver) -> None:
    page.open()
    fields = {
        'a "b"': {"is": "x"}, "a b'c": {"is": "it's"}, "and": {"min": "1"}, "caption": {"is": "x"},
        "width": {"max": "1e3"}, "camera.lens": {"is": "50 mm"}, "plain": {"min": "2", "max": "no number"},
    }  # fmt: skip
    where = page.tab.evaluate(
        "async state => (await import('/page/state.js')).whereOf(state)",
        {"fields": fields, "where": " price < 3 or price > 5 "},
    )
    assert where == (
        "(price < 3 or price > 5) and \"a b'c\" = 'it''s' and \"and\" >= 1 and \"caption\" = 'x' "
        "and width <= 1000 and \"camera.lens\" = '50 mm' and plain >= 2"
    )
    assert [key.written for key in parse(where).keys]


def test_an_address_keeps_every_search(page: Driver) -> None:
    page.open()
    search = {
        "q": " a & b=c #?%", "item": "ä/ö?#", "picture": None, "blend": 0.25, "index": "two",
            "kind": "text", "spell": True,
        "k": 96, "minScore": -0.5, "minProbability": 0.35, "where": "x = '\"'", "open": "é",
        "folder": "2021/a & b", "since": "2021-06-01", "until": "2021-09-30", "sort": "date",
        "fields": {"is.min.x": {"is": "="}, "price": {"min": "1", "max": "2"}},
    }  # fmt: skip
    there_and_back = """async search => {
      const {toAddress, fromAddress} = await import("/page/state.js");
      return fromAddress(toAddress(search));
    }"""
    assert page.tab.evaluate(there_and_back, search) == search
    assert page.tab.evaluate(there_and_back, {**search, "k": 10**9})["k"] == 1000


def test_rows_of_pictures_fill_the_width_and_keep_their_shapes(page: Driver) -> None:
    page.open()
    ratios = [1, 1.5, 0.7, 2.4, 0.55, 1, 1, 1.33, 1.78, 0.8, 1.2, 1.5, 0.66]
    for width in (358, 764, 1348):
        placed = page.tab.evaluate(
            "async ([ratios, width]) => (await import('/page/layout.js')).justified(ratios, width, 200, 14)",
            [ratios, width],
        )
        rows = [[one for one in placed if one["row"] == row] for row in range(placed[-1]["row"] + 1)]
        assert sum(map(len, rows)) == len(ratios)
        for row in rows[:-1]:
            assert sum(one["width"] for one in row) + 14 * (len(row) - 1) == width
        assert sum(one["width"] for one in rows[-1]) + 14 * (len(rows[-1]) - 1) <= width
        for one, ratio in zip(placed, ratios, strict=True):
            assert abs(one["width"] / one["height"] - ratio) < 0.06 * ratio, json.dumps(placed)
