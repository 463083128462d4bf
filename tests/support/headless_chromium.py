"""A page opened in headless Chromium, asked over its pipe: what its console says, what it fetches, which images it shows."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
"""None where there is none."""
_LONGEST_S = 60.0


class Page:
    """What Chromium tells of one page. Commands and events are JSON texts that end with a zero byte (`--remote-debugging-pipe`)."""

    def __init__(self, to: int, of: int) -> None:
        self._to, self._of, self._left, self._last = to, of, b"", 0
        self.session = ""
        self.events: list[dict[str, Any]] = []

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Carries out a command and returns its result."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == self._last:
                assert "error" not in told, told
                result: dict[str, Any] = told["result"]
                return result
            self.events.append(told)

    def open(self, path: Path) -> None:
        """Opens a file and waits until it has loaded."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        self.ask("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page."""
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)["result"].get("value")

    @property
    def complaints(self) -> list[dict[str, Any]]:
        """What the console and the browser's own log say."""
        kinds = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        return [event["params"] for event in self.events if event.get("method") in kinds]

    @property
    def fetched(self) -> list[str]:
        """The addresses that the page asked for, those within it aside."""
        asked = [
            event["params"]["request"]["url"] for event in self.events if event.get("method") == "Network.requestWillBeSent"
        ]
        return [address for address in asked if not address.startswith("data:")]

    def _next(self) -> dict[str, Any]:
        end = time.monotonic() + _LONGEST_S
        while b"\0" not in self._left:
            ready, _, _ = select.select([self._of], [], [], max(0.0, end - time.monotonic()))
            part = os.read(self._of, 1 << 20) if ready else b""
            assert part, "Chromium says nothing more"
            self._left += part
        message, self._left = self._left.split(b"\0", 1)
        table: dict[str, Any] = json.loads(message)
        return table


@contextmanager
def opened(path: Path, profile: Path) -> Iterator[Page]:
    """The page of a file. `profile` is an empty folder."""
    assert PROGRAM is not None
    to_it, ours_to = os.pipe()
    ours_of, of_it = os.pipe()
    words = [PROGRAM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    words += [f"--user-data-dir={profile}", "--remote-debugging-pipe"]
    # It reads commands from descriptor 3 and answers on 4.
    shell = f'exec 3<&{to_it} 4>&{of_it} && exec "$@"'
    process = subprocess.Popen(
        ["bash", "-c", shell, "chromium", *words],
        pass_fds=(to_it, of_it),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(profile)},
    )
    os.close(to_it)
    os.close(of_it)
    page = Page(ours_to, ours_of)
    try:
        page.open(path)
        yield page
    finally:
        process.kill()
        process.wait()
        os.close(ours_to)
        os.close(ours_of)
