"""What a trainer reads before its libraries are loaded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from loratui.engine.limits import CHUNK_BYTES
from loratui.engine.machine import hardware
from loratui.engine.machine.hardware import Ram
from loratui.engine.training.beginnings import read_ahead


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What is read ahead: where each piece starts, and its length."""
    pieces: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda _, start, length, __: pieces.append((start, length)), raising=False)
    monkeypatch.setattr(os, "POSIX_FADV_WILLNEED", 3, raising=False)
    return pieces


def test_a_file_is_read_ahead_to_its_end(tmp_path: Path, asked: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "ram", lambda: Ram(16.0, 8.0, False))
    file = tmp_path / "weights"
    file.write_bytes(bytes(2 * CHUNK_BYTES + 5))
    read_ahead([file])
    assert asked == [(number * CHUNK_BYTES, CHUNK_BYTES) for number in range(3)]


def test_nothing_is_read_ahead_where_memory_is_short(
    tmp_path: Path, asked: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "ram", lambda: Ram(16.0, 0.0, False))
    file = tmp_path / "weights"
    file.write_bytes(bytes(5))
    read_ahead([file])
    assert not asked


def test_a_missing_file_is_told_by_who_needs_it(tmp_path: Path, asked: list[tuple[int, int]]) -> None:
    read_ahead([tmp_path / "gone"])
    assert not asked


def test_files_are_read_ahead_in_the_order_in_which_they_are_needed(
    tmp_path: Path, asked: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to what memory has no room for."""
    monkeypatch.setattr(hardware, "ram", lambda: Ram(16.0, 4 * CHUNK_BYTES / 2**30, False))
    text, denoiser = tmp_path / "text", tmp_path / "denoiser"
    text.write_bytes(bytes(CHUNK_BYTES + 1))
    denoiser.write_bytes(bytes(4 * CHUNK_BYTES))
    read_ahead([text], [denoiser], [text])
    assert asked == [(0, CHUNK_BYTES), (CHUNK_BYTES, CHUNK_BYTES)]
