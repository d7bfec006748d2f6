"""A gallery, a service over it in a process of its own, and a browser that opens its page.

Without Debian's chromium and playwright these tests are skipped, and the end of the run says so.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from page_driver import Driver, Server

MISSING = (
    "no page was tested, since there is no {}. Install both: apt-get install chromium; pip install playwright"
)


@pytest.fixture(scope="session")
def chromium() -> str:
    pytest.importorskip("fastapi", reason=MISSING.format("fastapi (pip install '.[serve]')"))
    pytest.importorskip("playwright", reason=MISSING.format("playwright"))
    path = shutil.which("chromium")
    if path is None:
        pytest.skip(MISSING.format("chromium"))
    return path


@pytest.fixture(scope="session")
def gallery(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of 80 drawn scenes with prices and shelf marks, one of whose files is gone, and of 3 texts."""
    import hivlp
    from hivlp import scenes
    from hivlp.types import Sample

    folder = tmp_path_factory.mktemp("gallery")

    def drawn() -> Iterator[Sample]:
        for n, sample in enumerate(scenes.samples(80, split="test", size=128)):
            path = folder / f"scene {n}.jpg"
            path.write_bytes(sample.read())
            meta = {"shelf mark": ("upper", "o'er the door", "cellar")[n % 3], "price": n}
            meta["taken_at"] = f"2021-{1 + n % 12:02}-15T12:00:00"
            yield Sample(
                id=f"hall/{n}#?&.jpg", uri=str(path), image=path, captions=sample.captions[:1], meta=meta
            )

    with hivlp.Index.create(folder / "gallery.hivlp") as index:
        index.add(drawn())
        index.tune(count=60, kinds=("exact",))
        texts = [
            "A red boat lies in the harbour",
            "<img src=x onerror=alert(1)> & <b>bold</b>",
            "Nobody at home",
        ]
        index.add_texts(texts, ids=["boat", "markup", "home"])
    with hivlp.Index.create(folder / "small.hivlp") as index:
        index.add_texts(["an empty room", "a full room"])
    (folder / "scene 3.jpg").unlink()
    return folder


@pytest.fixture(scope="module")
def server(gallery: Path) -> Iterator[Server]:
    with Server([gallery / "gallery.hivlp"]) as server:
        yield server


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[object]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(server: Server, browser: object) -> Iterator[Driver]:
    """The page in a fresh profile. What its console complains of, such as the policy, fails the test."""
    driver = Driver(browser, server)
    yield driver
    driver.close()
    assert driver.complaints == []
