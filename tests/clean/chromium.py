"""A browser for tests: the W3C WebDriver protocol to chromedriver on loopback, just the few words the report needs."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    "--disable-extensions", "--hide-scrollbars",
)  # fmt: skip
KEYS = {
    "Enter": "\ue007",
    "Escape": "\ue00c",
    "Right": "\ue014",
    "Left": "\ue012",
    "Down": "\ue015",
    "Tab": "\ue004",
}


class Chromium:
    """One headless window. folder: where its profile and its downloads go."""

    def __init__(self, folder: Path, width: int = 1280, height: int = 900) -> None:
        self.downloads = folder / "downloads"
        self.downloads.mkdir(parents=True)
        assert CHROMIUM and DRIVER
        self.process = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        port = next(
            line.split()[-1].rstrip(".") for line in self.process.stdout if "successfully on port" in line
        )
        self.root = f"http://127.0.0.1:{port}/session"
        options = {
            "binary": CHROMIUM,
            "args": [*FLAGS, f"--user-data-dir={folder / 'profile'}", f"--window-size={width},{height}"],
            "prefs": {"download.default_directory": str(self.downloads)},
        }
        logging = {"browser": "ALL", "performance": "ALL"}
        wanted = {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": logging}}
        self.root += "/" + self.ask("", {"capabilities": wanted})["sessionId"]

    def ask(self, what: str, body: dict[str, Any] | None = None, method: str = "POST") -> Any:
        data = json.dumps(body or {}).encode() if method == "POST" else None
        request = urllib.request.Request(
            self.root + what, data, {"Content-Type": "application/json"}, method=method
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=120) as answer:
            return json.load(answer)["value"]

    def open(self, page: Path, colours: str = "light") -> None:
        """Load a file, with the system's colour scheme set, and wait until the page says that it is ready."""
        features = [{"name": "prefers-color-scheme", "value": colours}]
        self.devtools("Emulation.setEmulatedMedia", features=features)
        self.ask("/url", {"url": page.as_uri()})
        self.until("return document.documentElement.dataset.ready === 'yes'")

    def devtools(self, command: str, **parameters: Any) -> Any:
        return self.ask("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def size(self, width: int, height: int) -> None:
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def run(self, script: str, *given: Any) -> Any:
        return self.ask("/execute/sync", {"script": script, "args": list(given)})

    def until(self, script: str, seconds: float = 60) -> Any:
        end = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < end, f"never came true: {script}"
            time.sleep(0.05)
        return value

    def press(self, *keys: str) -> None:
        """Real key presses to whatever has the focus: names of KEYS, or text."""
        actions = []
        for letter in (letter for key in keys for letter in ([KEYS[key]] if key in KEYS else key)):
            actions += [{"type": "keyDown", "value": letter}, {"type": "keyUp", "value": letter}]
        self.ask("/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def click(self, selector: str) -> None:
        found = self.ask("/element", {"using": "css selector", "value": selector})
        self.ask(f"/element/{next(iter(found.values()))}/click")

    def words(self, selector: str) -> list[str]:
        script = "return Array.from(document.querySelectorAll(arguments[0]), (node) => node.textContent)"
        return self.run(script, selector)

    def complaints(self) -> list[str]:
        """What the console has said since the last call."""
        return [entry["message"] for entry in self.ask("/se/log", {"type": "browser"})]

    def requests(self) -> list[str]:
        """Every address asked for since the last call."""
        entries = [
            json.loads(entry["message"])["message"] for entry in self.ask("/se/log", {"type": "performance"})
        ]
        return [
            entry["params"]["request"]["url"]
            for entry in entries
            if entry["method"] == "Network.requestWillBeSent"
        ]

    def picture(self, whole: bool = False) -> bytes:
        """A screenshot as PNG bytes, of the window or of the whole page."""
        return base64.b64decode(self.devtools("Page.captureScreenshot", captureBeyondViewport=whole)["data"])

    def close(self) -> None:
        try:
            self.ask("", method="DELETE")
        finally:
            self.process.terminate()
            self.process.wait(20)
            assert self.process.stdout
            self.process.stdout.close()
