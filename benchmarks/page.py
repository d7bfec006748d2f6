"""How fast the search page is in a browser: prints one JSON document, and takes screenshots.

    python benchmarks/page.py photos.hivlp
    hivlp demo --out demo && python benchmarks/page.py demo/gallery.hivlp --screenshots docs/images

Needs chromium and playwright: apt-get install chromium; pip install playwright.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from hivlp_lab.bench.machine import environment

LOADS = 5
SEARCHES = (
    "a dog running through snow", "two people on a beach", "a red car in the city", "a child with a ball",
    "mountains at sunset", "a man on a bicycle", "a boat on the water", "a black cat", "a crowd at night",
    "a woman in a blue dress", "horses in a field", "an airplane in the sky", "a yellow flower",
    "children playing football", "a house by the lake", "a bird over the sea", "a train in the snow",
    "people eating at a table", "a jumping skateboarder", "a green tree in the rain",
)  # fmt: skip

# From the last key to the frame in which the results of just these words are on the screen.
WATCH = """words => {
  window.result = new Promise(done => {
    let pressed = 0;
    const field = document.querySelector("#words");
    const list = document.querySelector("#results");
    field.addEventListener("input", () => {
      if (field.value === words) pressed = performance.now();
    });
    const watcher = new MutationObserver(() => {
      if (new URLSearchParams(list.dataset.shown).get("q") !== words) return;
      watcher.disconnect();
      requestAnimationFrame(() => setTimeout(() => done(performance.now() - pressed)));
    });
    watcher.observe(list, {attributeFilter: ["data-shown"]});
  });
}"""
FIRST_PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
PICTURES = "() => [...document.querySelectorAll('.box img')].slice(0, 6).every(one => one.complete)"

WORDS, MIXED = "a small yellow plane", "?q=in+the+snow&item=2017877696.jpg"
SHOTS = {
    "page-desktop": ((1280, 800), "light", f"?q={WORDS}", None),
    "page-desktop-dark": ((1280, 800), "dark", MIXED, None),
    "page-tablet": ((820, 1100), "light", "", None),
    "page-phone": ((390, 844), "light", f"?q={WORDS}", None),
    "page-detail": ((1280, 630), "dark", f"?q={WORDS}", ".frame"),
}
"""Name -> size of the window, look, address, and the elements to click."""


@contextmanager
def serving(index: Path) -> Iterator[str]:
    """The address of ``hivlp serve`` over an index, in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "hivlp", "serve", str(index), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            with suppress(OSError), urlopen(f"{url}/readyz"):
                break
            time.sleep(0.1)
        else:
            raise SystemExit(f"the service did not start: {' '.join(command)}")
        yield url
    finally:
        process.terminate()
        process.wait()


def first_paints(browser: Browser, url: str) -> list[float]:
    """Milliseconds to the first content, each in a fresh profile without a cache."""
    paints: list[float] = []
    for _ in range(LOADS):
        page = browser.new_page()
        page.goto(url)
        page.wait_for_function(FIRST_PAINT)
        paints.append(page.evaluate(FIRST_PAINT))
        page.close()
    return paints


def searches(page: Page, url: str) -> list[float]:
    """Milliseconds from the last key to the results, for each of some searches typed key by key."""
    page.goto(url)
    page.wait_for_selector("#results[data-shown]", state="attached")
    spent: list[float] = []
    for words in SEARCHES:
        page.locator("#words").fill("")
        page.wait_for_selector("#start:not([hidden])")
        page.evaluate(WATCH, words)
        page.locator("#words").press_sequentially(words, delay=60)
        spent.append(page.evaluate("() => window.result"))
    return spent


def screenshots(browser: Browser, url: str, folder: Path) -> None:
    """The pictures of the documentation, of 256 colours: a third of the bytes."""
    for name, ((width, height), look, address, clicked) in SHOTS.items():
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=look)
        page.goto(f"{url}/{address}")
        page.wait_for_selector("#results li")
        if clicked:
            page.locator(clicked).first.click()
        page.mouse.move(0, 0)
        page.wait_for_function(PICTURES)
        page.wait_for_timeout(600)  # what moves has come to rest, and the original is there
        with Image.open(io.BytesIO(page.screenshot())) as shot:
            few = shot.convert("RGB").quantize(
                256, kmeans=3, dither=Image.Dither.NONE
            )  # a third of the bytes
            few.save(folder / f"{name}.png", optimize=True)
        page.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("index", type=Path)
    parser.add_argument("--screenshots", type=Path, metavar="FOLDER", help="write page-*.png there")
    options = parser.parse_args()
    with serving(options.index) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        paints = first_paints(browser, url)
        spent = searches(browser.new_page(), url)
        if options.screenshots is not None:
            screenshots(browser, url, options.screenshots)
        document = summary(paints, spent, browser.version, options.index)
        browser.close()
    print(json.dumps(document))


def summary(paints: list[float], spent: list[float], chromium: str, index: Path) -> dict[str, Any]:
    return {
        "index": index.name,
        "first_paint_ms": {"median": round(statistics.median(paints), 1), "worst": round(max(paints), 1)},
        "last_key_to_results_ms": {
            "median": round(statistics.median(spent), 1),
            "worst": round(max(spent), 1),
            "searches": len(spent),
        },
        "chromium": chromium,
        "environment": environment(),
    }


if __name__ == "__main__":
    main()
