"""Downloads from Xet storage: the same files, progress, bounds and resumption as from the hub itself, which stands in for it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import COMMIT, TOKEN, Hub, serve

from loratui.engine.machine import hub, hub_cache
from loratui.engine.machine.hub import Progress, RemoteFile

NAME = "model.safetensors"
WEIGHTS = random.Random(3).randbytes(9_000_000)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with serve(Hub({NAME: WEIGHTS}, xet=True)) as running:
        for name in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_XET", "HUGGING_FACE_HUB_TOKEN", "HTTP_PROXY", "http_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield running


def file_of(server: Hub) -> RemoteFile:
    return RemoteFile(NAME, len(WEIGHTS), server.etag(NAME), cached=False)


def fetched(server: Hub, have: bytes = b"") -> tuple[bytes, list[Progress]]:
    """What a download brings that finds `have` of an earlier one."""
    folder = hub_cache.cache_folder() / "models--owner--name"
    if have:
        (folder / "blobs").mkdir(parents=True)
        (folder / "blobs" / f"{server.etag(NAME)}.loratui.incomplete").write_bytes(have)
    seen: list[Progress] = []
    plan = hub.DownloadPlan("owner/name", COMMIT, (file_of(server),), "", False, str(folder), 10**12)
    got = hub.download(plan, progress=seen.append, patience_s=5)
    assert got is not None
    assert seen[-1].done_bytes == seen[-1].total_bytes == len(WEIGHTS)
    return (got / NAME).read_bytes(), seen


def asked_of_storage(server: Hub) -> list[str]:
    return [path for _, path, _ in server.requests if path.startswith("/xet/")]


def test_a_large_file_comes_from_the_storage_and_what_is_here_does_not_come_again(server: Hub) -> None:
    got, _ = fetched(server, WEIGHTS[:5_000_000])
    assert got == WEIGHTS
    assert not server.bodies()
    stored = [path for path in asked_of_storage(server) if "xorb" in path]
    assert {path.split("/")[3] for path in stored} == {"1", "2"}, "the objects of the last 4 MB"
    to_storage = [token for (_, path, _), token in zip(server.requests, server.tokens, strict=True) if path.startswith("/xet/")]
    assert TOKEN not in " ".join(to_storage), "the person's token stays with the hub"


def test_a_storage_that_fails_midway_is_left_for_the_hub_from_the_same_byte_on(server: Hub) -> None:
    server.xet_cuts_after = 1
    got, _ = fetched(server, WEIGHTS[:5_000_000])
    assert got == WEIGHTS
    ((_, _, asked),) = server.bodies()
    assert int(asked.removeprefix("bytes=").removesuffix("-")) >= 5_000_000


def test_a_download_is_cancelled_and_taken_up_again(server: Hub) -> None:
    server.slow_s = 0.2
    folder = hub_cache.cache_folder() / "models--owner--name"
    plan = hub.DownloadPlan("owner/name", COMMIT, (file_of(server),), "", False, str(folder), 10**12)
    assert hub.download(plan, cancelled=lambda: bool(asked_of_storage(server)), patience_s=5) is None
    server.slow_s = 0.0
    assert (hub.download(plan, patience_s=5) or Path()).joinpath(NAME).read_bytes() == WEIGHTS
    assert not server.bodies()


@pytest.mark.parametrize("fault", ["corrupt", "address", "none"])
def test_what_cannot_be_used_of_it_costs_nothing(server: Hub, fault: str, tmp_path: Path) -> None:
    server.xet_corrupt = fault == "corrupt"
    server.xet_at = f"local://{tmp_path}/elsewhere" if fault == "address" else ""
    server.xet = fault != "none"
    got, _ = fetched(server)
    assert got == WEIGHTS
    assert len(server.bodies()) == 1
    assert not (tmp_path / "elsewhere").exists()
    assert bool(asked_of_storage(server)) == (fault == "corrupt")


def test_it_can_be_switched_off(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    assert fetched(server)[0] == WEIGHTS
    assert not asked_of_storage(server)
