"""The page with words as people type them, filters without words, links of results, and Escape."""

from __future__ import annotations

from page_driver import Driver, Server


def test_words_behind_a_minus_are_a_search_without_probabilities(page: Driver, server: Server) -> None:
    page.open(q="a red boat")
    assert page.text("#least-name") == "Match at least"
    page.tab.locator("#least").fill("0.01")
    page.settled(min_probability=0.01)
    page.type(" -sea")
    assert page.text("#least-name") == "Score at least"
    assert page.ids == server.ids(q="a red boat -sea")
    assert page.tab.locator("#results .match").count() == 0


def test_a_misspelt_word_is_said_and_corrected_at_a_click(page: Driver, server: Server) -> None:
    page.open(q="a red baot")
    page.says("#status", "the model does not know 'baot'; did you mean 'boat'?")
    assert "--spell" not in page.text("#status")
    page.tab.get_by_role("button", name="Search for that").click()
    page.settled(spell=1)
    assert page.ids == server.ids(q="a red boat")
    page.says("#status", "searched for 'a red boat' instead of 'a red baot'")
    page.type("s")
    assert "spell" not in page.tab.url


def test_the_match_is_told_of_the_best_result_only(page: Driver, server: Server) -> None:
    page.open(q="a red boat", kind="image")
    assert page.tab.locator("#results .match").count() == 1
    assert page.tab.locator("#results li").first.locator(".match").count() == 1
    page.tab.locator(".frame").nth(1).click()
    assert "The index holds such a picture" not in page.text("#detail")


def test_filters_without_words_list_what_passes(page: Driver, server: Server) -> None:
    page.open(where="price >= 70")
    page.says("#status", "10 pass the filters, the newest first")
    assert page.ids == [f"hall/{n}#?&.jpg" for n in range(79, 69, -1)]
    assert not page.tab.locator("#start").is_visible()
    page.tab.locator(".frame").first.click()
    assert page.tab.locator("#detail .scores").count() == 0


def test_escape_closes_the_filters_from_anywhere(page: Driver) -> None:
    page.open(q="a boat")
    for inside in ("#where", "#filters-toggle"):
        page.tab.locator("#filters-toggle").click()
        page.tab.locator(inside).focus()
        page.tab.keyboard.press("Escape")
        assert not page.tab.locator("#filters").is_visible()
        page.tab.keyboard.press("?")
        assert page.tab.locator("#help[open]").count() == 1
        page.tab.keyboard.press("Escape")
    assert page.tab.locator("#words").input_value() == "a boat"


def test_a_result_is_a_link_to_itself(page: Driver, server: Server) -> None:
    page.open(q="a red boat")
    second = page.ids[1]
    with page.context.expect_page() as other:
        page.tab.locator(".frame").nth(1).click(modifiers=["Control"])
    tab = other.value
    tab.locator("#detail[open]").wait_for()
    assert tab.evaluate("new URLSearchParams(location.search).get('open')") == second
    assert tab.evaluate("new URLSearchParams(location.search).get('q')") == "a red boat"
    assert page.tab.locator("#detail[open]").count() == 0


def test_a_link_to_an_index_that_is_gone_says_so(page: Driver) -> None:
    page.tab.goto(f"{page.server.url}?q=a+boat&index=nope")
    page.says(
        "#notice", "The link names the index “nope”, which is not here. These pictures are from gallery."
    )
    assert "index=" not in page.tab.url


def test_a_small_picture_is_not_blown_up(page: Driver) -> None:
    page.open(q="a red boat", kind="image")
    page.tab.locator(".frame").first.click()
    page.tab.locator("#detail img.loaded").wait_for()
    assert page.tab.locator("#detail img").evaluate("img => img.getBoundingClientRect().width") <= 256
