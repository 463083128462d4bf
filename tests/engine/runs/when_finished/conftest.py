"""A home, a configuration folder and an environment of their own for what follows a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ended_runs import Received, server

from loratui.engine.machine import addresses, pods
from loratui.engine.runs.when_finished import result


@pytest.fixture(autouse=True)
def own_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No address, no pod and no pause of this machine's own."""
    monkeypatch.setenv("LORATUI_CONFIG", str(tmp_path / "config"))
    for name in (*pods._NAMES, *(one for names in addresses.VARIABLES.values() for one in names)):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pods, "_FIRST_PROCESS", tmp_path / "none")
    monkeypatch.setattr(result.tried, "__defaults__", ((0.0, 0.0, 0.0),))


@pytest.fixture
def received() -> Iterator[Received]:
    with server() as running:
        yield running
