"""Starts the service as people do, and does in its page what people do."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import Request, urlopen

_PATIENCE_S = 60


class Server:
    """``hivlp serve`` in a process of its own."""

    def __init__(self, indexes: Sequence[Path], *, keys: str = "", port: int = 0) -> None:
        self.indexes = indexes
        self.keys = keys
        self.port = port or _free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "hivlp", "serve", *map(str, self.indexes), "--port", str(self.port)]
        environment = os.environ | {"HIVLP_API_KEYS": self.keys, "PYTHONWARNINGS": ""}
        self._process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + _PATIENCE_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError("the service did not start")
            time.sleep(0.05)

    def stop(self) -> None:
        """At once, as when a machine loses power."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def asked(self, body: dict[str, Any] | None = None, **parameters: object) -> dict[str, Any]:
        """What the API answers: the slow, obvious twin of what the page shows."""
        options = {"k": 24, **parameters}
        request = Request(f"{self.url}v1/search?{urlencode(options)}")
        if body is not None:
            headers = {"Content-Type": "application/json"}
            request = Request(f"{self.url}v1/search", json.dumps({"k": 24, **body}).encode(), headers)
        with urlopen(request) as answer:
            return json.load(answer)

    def ids(self, body: dict[str, Any] | None = None, **parameters: object) -> list[str]:
        return [hit["id"] for hit in self.asked(body, **parameters)["hits"]]

    def _is_ready(self) -> bool:
        try:
            with urlopen(f"{self.url}readyz") as answer:
                return answer.status == 200
        except OSError:
            return False


class Driver:
    """One tab with the page. ``tab`` is playwright's own page."""

    def __init__(self, browser: Any, server: Server, **profile: Any) -> None:
        self.server = server
        self.context = browser.new_context(**profile)
        self.tab = self.context.new_page()
        self.tab.set_default_timeout(30_000)
        self.complaints: list[str] = []
        self.expected = ["410"]  # one file of the gallery is gone
        self.tab.on("console", lambda message: self._heard(message.type, message.text))
        self.tab.on("pageerror", lambda error: self._heard("error", str(error)))

    def _heard(self, kind: str, text: str) -> None:
        known = any(re.search(pattern, text) for pattern in self.expected)
        if kind in ("error", "warning") and not known:
            self.complaints.append(text)

    def close(self) -> None:
        self.context.close()

    def open(self, **parameters: object) -> Driver:
        """Opens the page by a link, and waits until it shows something."""
        self.tab.goto(f"{self.server.url}?{urlencode(parameters)}")
        self.settled(q=str(parameters.get("q", "")))
        return self

    def type(self, words: str) -> Driver:
        """Types words at the end of the field, and waits for their answer."""
        self.tab.locator("#words").press("End")
        self.tab.locator("#words").press_sequentially(words, delay=5)
        return self.settled(q=self.tab.locator("#words").input_value())

    def settled(self, **wanted: object) -> Driver:
        """Waits until the results are those of a search with these parts of its address."""
        self.tab.wait_for_function(
            """wanted => {
              const list = document.querySelector("#results");
              const shown = new URLSearchParams(list.dataset.shown ?? "?unknown");
              const is = ([name, value]) => (shown.get(name) ?? "") === value;
              const done = "shown" in list.dataset && list.getAttribute("aria-busy") === "false";
              return done && Object.entries(wanted).every(is);
            }""",
            arg={name: str(value) for name, value in wanted.items()},
        )
        return self

    def until(self, condition: str) -> None:
        """Waits until a JavaScript expression is true. As a function, since the policy forbids eval."""
        self.tab.wait_for_function(f"() => {condition}")

    @property
    def ids(self) -> list[str]:
        return self.tab.eval_on_selector_all("#results > li", "frames => frames.map(one => one.dataset.id)")

    @property
    def address(self) -> dict[str, str]:
        query = urlsplit(self.tab.url).query
        return {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}

    def text(self, selector: str) -> str:
        return self.tab.locator(selector).inner_text()

    def says(self, selector: str, words: str) -> None:
        """Waits until there is an element that shows these words."""
        self.tab.locator(selector, has_text=words).first.wait_for()

    def bring(self, kind: str, data: bytes, *, name: str = "mine.jpg", media: str = "image/jpeg") -> None:
        """Drops or pastes a file."""
        self.tab.evaluate(
            """({kind, bytes, name, media}) => {
              const held = new DataTransfer();
              held.items.add(new File([new Uint8Array(bytes)], name, {type: media}));
              const how = {bubbles: true, cancelable: true};
              const event = kind === "paste"
                ? new ClipboardEvent("paste", {...how, clipboardData: held})
                : new DragEvent(kind, {...how, dataTransfer: held});
              document.querySelector("main").dispatchEvent(event);
            }""",
            {"kind": kind, "bytes": list(data), "name": name, "media": media},
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
