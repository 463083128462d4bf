"""What the tests of the app share: a home for runs, and a configuration folder of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
import textual._wait

# After each key, and in each pause, a pilot waits until the process has been idle for so long; Textual's own 20 ms, twice for
# each key, were half of the time of these tests.
textual._wait.SLEEP_GRANULARITY = 0.004
textual._wait.SLEEP_IDLE = textual._wait.SLEEP_GRANULARITY / 20


@pytest.fixture(autouse=True)
def _one_time_zone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("LORATUI_CONFIG", str(tmp_path / "config"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder for runs, empty."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("LORATUI_HOME", str(folder))
    return folder
