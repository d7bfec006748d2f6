"""The page when something goes wrong: it says what, in words, and recovers by itself where it can."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from page_driver import Driver, Server

SEARCHES = re.compile("/v1/search")
NETWORK = "ERR_|Failed to load resource"


@pytest.fixture
def other(gallery: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    """A service of one test's own, with the keys that its parameter names."""
    indexes = [gallery / "gallery.hivlp", gallery / "small.hivlp"]
    with Server(indexes, keys=getattr(request, "param", "")) as server:
        yield server


def test_a_service_that_stops_is_told_and_its_return_noticed(browser: Any, other: Server) -> None:
    page = Driver(browser, other)
    page.expected += [NETWORK]
    page.open(q="a boat")
    before = page.ids
    other.stop()
    page.tab.locator("#words").fill("a boat at night")
    page.says("#notice", "The service does not answer")
    assert page.ids == before
    other.start()
    page.settled(q="a boat at night")
    assert page.ids == other.ids(q="a boat at night")
    assert not page.tab.locator("#notice").is_visible()
    page.close()
    assert page.complaints == []


@pytest.mark.parametrize("other", ["right-key-0123456789,another-key-0123456789"], indirect=True)
def test_a_key_is_asked_for_once(browser: Any, other: Server) -> None:
    page = Driver(browser, other)
    page.expected += ["401"]
    page.tab.goto(f"{other.url}?q=a+boat&kind=image")
    page.says("#key", "This service needs a key")
    page.tab.locator("#key-field").fill("wrong")
    page.tab.keyboard.press("Enter")
    page.says("#key", "not accepted")
    page.tab.locator("#key-field").fill("right-key-0123456789")
    page.tab.keyboard.press("Enter")
    page.settled(q="a boat")
    assert len(page.ids) == 24
    page.tab.locator(".box img.loaded").first.wait_for()
    assert page.tab.eval_on_selector(".box img.loaded", "img => img.src.startsWith('blob:')")
    page.tab.locator(".frame").first.click()
    page.tab.locator("#detail img.loaded").wait_for()
    page.tab.reload()
    page.settled(q="a boat")  # the tab remembers
    assert "right-key" not in page.tab.url
    page.close()
    assert page.complaints == []


def test_one_of_several_indexes_is_chosen(browser: Any, other: Server) -> None:
    page = Driver(browser, other)
    page.open(q="a room")
    page.tab.locator("#index").select_option("small")
    page.settled(q="a room", index="small")
    assert page.ids == other.ids(q="a room", index="small")
    assert len(page.ids) == 2
    page.tab.go_back()
    page.settled(q="a room", index="")
    assert page.tab.locator("#index").input_value() == "gallery"
    page.close()
    assert page.complaints == []


def test_an_old_answer_never_paints_over_a_newer_one(page: Driver, server: Server) -> None:
    held: list[Any] = []

    def hold_the_first(route: Any) -> None:
        if "q=slow" in route.request.url:
            held.append(route)
        else:
            route.continue_()

    page.open()
    page.tab.route(SEARCHES, hold_the_first)
    page.tab.locator("#words").fill("slow")
    page.until("document.querySelector('#results').getAttribute('aria-busy') === 'true'")
    page.tab.locator("#words").fill("a red boat")
    page.settled(q="a red boat")
    wanted = server.ids(q="a red boat")
    assert page.ids == wanted
    for route in held:
        route.fulfill(json=server.asked(q="slow"))
    page.tab.wait_for_timeout(100)
    assert len(held) == 1
    assert page.ids == wanted
    assert page.address == {"q": "a red boat"}


def test_old_results_stay_dimmed_until_new_ones_come(page: Driver) -> None:
    held: list[Any] = []
    page.open(q="a boat")
    before = page.ids
    page.tab.route(SEARCHES, lambda route: held.append(route))
    page.tab.locator("#words").fill("a tree")
    page.tab.locator("#results.waiting").wait_for()
    assert page.ids == before
    page.until("Number(getComputedStyle(document.querySelector('#results')).opacity) < 0.9")
    held[0].continue_()
    page.settled(q="a tree")
    assert page.ids != before


def test_too_many_searches_are_told_and_tried_again(page: Driver, server: Server) -> None:
    error = {"code": "rate_limited", "message": "more than 5 requests a second", "request_id": "x"}
    answers = [lambda route: route.fulfill(status=429, headers={"Retry-After": "1"}, json={"error": error})]
    page.expected += ["429"]
    page.open()
    page.tab.route(SEARCHES, lambda route: answers.pop()(route) if answers else route.continue_())
    page.tab.locator("#words").fill("a boat")
    page.says("#notice", "too much to do. Trying again in 1 second")
    page.settled(q="a boat")
    assert page.ids == server.ids(q="a boat")
    assert not page.tab.locator("#notice").is_visible()


def test_other_errors_are_shown_in_the_services_words(page: Driver) -> None:
    page.expected += ["404"]
    page.tab.goto(f"{page.server.url}?item=of+another+index")
    page.says("#notice", "has no item 'of another index'")
    page.tab.locator("#words").fill("a boat")
    page.tab.locator("#chip-drop").click()
    page.settled(q="a boat", item="")
    assert not page.tab.locator("#notice").is_visible()


def test_a_service_that_is_not_ready_yet_is_waited_for(page: Driver) -> None:
    starting = [True]
    page.expected += ["503"]

    def stats(route: Any) -> None:
        route.fulfill(
            json={"indexes": [], "limits": {}, "needs_key": False}
        ) if starting else route.continue_()

    error = {"code": "not_ready", "message": "warming up", "request_id": "x"}
    page.tab.route("**/v1/stats", stats)
    page.tab.route("**/readyz", lambda route: route.fulfill(status=503, json={"error": error}))
    page.tab.goto(page.server.url)
    page.says("#notice", "not ready yet")
    starting.clear()
    page.settled(q="")
    assert page.tab.locator("#start").is_visible()
