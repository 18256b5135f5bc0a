"""A real browser: headless Chromium behind its driver, spoken to by the W3C WebDriver protocol."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """One window of a given size in CSS pixels."""

    def __init__(self, base: str, profile: Path, width: int, height: int) -> None:
        self._base = f"{base}/session"
        metrics = {"width": width, "height": height, "pixelRatio": 1}
        options = {
            "binary": "/usr/bin/chromium",
            "args": [*_FLAGS, f"--user-data-dir={profile}"],
            "mobileEmulation": {"deviceMetrics": metrics},
        }
        wanted = {"browserName": "chrome", "goog:chromeOptions": options}
        made = self.call("POST", "", {"capabilities": {"alwaysMatch": wanted}})
        self._base += f"/{made['sessionId']}"

    def call(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401  # whatever is answered
        """One command of the protocol; what it answers."""
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self._base + path, data, method=method)  # noqa: S310  # 127.0.0.1
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310  # as above
            return json.load(answer)["value"]

    def open(self, page: Path) -> None:
        """Load a file, and wait until it is there."""
        self.open_url(page.as_uri())

    def open_url(self, url: str) -> None:
        """Load a page, and wait until it is there."""
        self.call("POST", "/url", {"url": url})

    def find(self, selector: str) -> list[str]:
        """The elements of a CSS selector."""
        found = self.call("POST", "/elements", {"using": "css selector", "value": selector})
        return [item[_ELEMENT] for item in found]

    def text(self, element: str) -> str:
        """What a reader sees of an element."""
        return str(self.call("GET", f"/element/{element}/text"))

    def rectangle(self, element: str) -> dict[str, float]:
        """`x`, `y`, `width` and `height` of an element on the page."""
        found: dict[str, float] = self.call("GET", f"/element/{element}/rect")
        return found

    def title(self) -> str:
        """The title of the page as it is now."""
        return str(self.call("GET", "/title"))


@contextmanager
def open_browser(folder: Path, width: int, height: int) -> Iterator[Browser]:
    """A browser with a new profile in `folder`; it and its driver are ended at the end."""
    command = ["chromedriver", "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as driver:
        try:
            assert driver.stdout is not None
            ports = (re.search(r"started successfully on port (\d+)", line) for line in driver.stdout)
            port = next(found[1] for found in ports if found)
            browser = Browser(f"http://127.0.0.1:{port}", folder / f"profile-{width}", width, height)
            try:
                yield browser
            finally:
                browser.call("DELETE", "")
        finally:
            driver.terminate()
