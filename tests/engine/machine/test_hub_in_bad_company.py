"""Downloads beside other downloads, on full disks, behind strange networks, and with tokens that are none."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import COMMIT, TOKEN, Hub, serve
from limited_hub import last_words

from loratui.engine.errors import DiskError, LoratuiError
from loratui.engine.machine import hub, hub_cache
from loratui.engine.machine.hub import HubError, RemoteFile

WEIGHTS = random.Random(2).randbytes(3_000_000)
NAME = "model.safetensors"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with serve(Hub({NAME: WEIGHTS})) as running:
        for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HTTP_PROXY", "http_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        yield running


def plan_of(server: Hub) -> hub.DownloadPlan:
    files = (RemoteFile(NAME, len(WEIGHTS), server.etag(NAME), cached=False),)
    return hub.DownloadPlan(
        "owner/name", COMMIT, files, "", False, str(hub_cache.cache_folder() / "models--owner--name"), 10**12
    )


def failure(action: object, *arguments: object, **options: object) -> LoratuiError:
    with pytest.raises(LoratuiError) as caught:
        action(*arguments, **options)  # type: ignore[operator]
    return caught.value


def test_a_token_does_not_follow_to_another_host(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    server.needs_token = True
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with serve(Hub({NAME: WEIGHTS})) as other:
        server.bytes_from = other.address.replace("127.0.0.1", "localhost")
        server.cut_after = other.cut_after = 1_000_000
        folder = hub.download(hub.look_up("owner/name"), patience_s=5)
        assert folder is not None
        assert (folder / NAME).read_bytes() == WEIGHTS
        assert len(other.bodies()) >= 3  # it was cut, and asked for again
        assert set(other.tokens) == {""}
    assert f"Bearer {TOKEN}" in server.tokens


def test_two_downloads_of_one_model_at_once(server: Hub) -> None:
    server.slow_s = 0.02
    folders: list[object] = []

    def fetch() -> None:
        try:
            folders.append(hub.download(plan_of(server), patience_s=5))
        except LoratuiError as error:
            folders.append(error)

    threads = [threading.Thread(target=fetch) for _ in range(3)]
    for thread in threads:
        thread.start()
        time.sleep(0.15)
    for thread in threads:
        thread.join()
    assert len(set(map(str, folders))) == 1, folders
    assert isinstance(folders[0], Path)
    assert (folders[0] / NAME).read_bytes() == WEIGHTS
    sent = sum(1 for _, path, asked in server.bodies() if path.endswith(NAME) and not asked)
    assert sent == 1, "the bytes were paid for more than once"


def test_a_download_that_was_killed_goes_on(server: Hub) -> None:
    server.slow_s = 0.1
    code = "from loratui.engine.machine import hub; hub.download(hub.look_up('owner/name'))"
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    partial = Path(plan_of(server).folder) / "blobs" / f"{server.etag(NAME)}.loratui.incomplete"
    while not partial.exists() or partial.stat().st_size < 300_000:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    server.slow_s = 0.0
    plan = hub.look_up("owner/name")
    assert 300_000 <= plan.files[0].partial_bytes < len(WEIGHTS)
    folder = hub.download(plan, patience_s=5)
    assert folder is not None
    assert (folder / NAME).read_bytes() == WEIGHTS
    assert server.bodies()[-1][2] == f"bytes={plan.files[0].partial_bytes}-"


@pytest.mark.parametrize("kind", ["file", "below a file", "dangling link"])
def test_a_cache_that_can_be_none(server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    place = tmp_path / "other"
    if kind == "dangling link":
        place.symlink_to(tmp_path / "nowhere" / "x")
    else:
        place.write_text("x")
    monkeypatch.setenv("HF_HOME", str(place / "x" if kind == "below a file" else place))
    error = failure(hub.download, plan_of(server), patience_s=1)
    assert isinstance(error, DiskError), error
    assert "HF_HOME" in error.remedy
    shown = failure(hub.look_up, "owner/name")
    assert isinstance(shown, DiskError), shown


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_disk_that_fills_up_on_the_way(server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(small)], check=False, capture_output=True
    ).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        monkeypatch.setenv("HF_HOME", str(small))
        assert "but the download needs" in str(failure(hub.download, hub.look_up("owner/name")))
        error = failure(hub.download, plan_of(server), patience_s=1)
        assert isinstance(error, DiskError)
        assert "No space left" in error.message
        assert hub.look_up("owner/name").files[0].partial_bytes > 500_000
        subprocess.run(["mount", "-o", "remount,size=8m", str(small)], check=True)
        folder = hub.download(plan_of(server), patience_s=1)
        assert folder is not None
        assert (folder / NAME).read_bytes() == WEIGHTS
    finally:
        subprocess.run(["umount", str(small)], check=False)


@pytest.mark.parametrize(
    "proxy", ["proxy.example:3128", "http://me:p@ss:w@127.0.0.1:9", "http://keyOfMine@127.0.0.1:9", "ftp://x"]
)
def test_proxies_that_are_none(server: Hub, monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.setenv("NO_PROXY", "")
    error = failure(hub.look_up, "owner/name")
    assert isinstance(error, HubError)
    assert error.code == "network", error
    assert "proxy" in str(error)
    for secret in ("p@ss", "ss:w", "keyOfMine"):
        assert secret not in f"{error} {error.remedy}"


@pytest.mark.parametrize("token", ["hf_with space", "hf_ümlaut", "hf_null\0byte", "\x1b[200~hf_pasted\x1b[201~", "not a token"])
def test_tokens_that_can_be_none(server: Hub, token: str) -> None:
    error = failure(hub.login, token)
    assert isinstance(error, HubError)
    assert error.code == "login", error
    assert token not in f"{error} {error.remedy}"
    assert not hub.has_token()


def test_a_token_of_the_environment_that_can_be_none(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    token = "hf_ümlaut"
    monkeypatch.setenv("HF_TOKEN", token)
    for action, arguments in ((hub.account, ()), (hub.look_up, ("owner/name",))):
        error = failure(action, *arguments)
        assert isinstance(error, HubError)
        assert error.code == "login", error
        assert token not in f"{error} {error.remedy}"


def test_a_page_instead_of_the_hub(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(server)
    server.instead = b"<!doctype html><title>Welcome to the hotel</title>"
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    for action, arguments in ((hub.look_up, ("owner/name",)), (hub.account, ())):
        error = failure(action, *arguments)
        assert isinstance(error, HubError)
        assert (error.code, "proxy" in error.remedy) == ("unavailable", True), error
    assert isinstance(failure(hub.download, plan, patience_s=1), HubError)


@pytest.mark.parametrize(
    "names", [["../../../escaped.safetensors"], ["/tmp/escaped.safetensors"], ["a/../../../x.safetensors"]]
)
def test_names_that_lead_out_of_the_cache(server: Hub, names: list[str]) -> None:
    server.files = dict.fromkeys(names, b"evil")
    error = failure(hub.look_up, "owner/name")
    assert isinstance(error, HubError)
    assert error.code == "unavailable", error
    assert not server.bodies()


def test_a_hub_that_is_down(server: Hub) -> None:
    plan = plan_of(server)
    server.every_status = 500
    started = time.monotonic()
    error = failure(hub.download, plan, patience_s=2)
    assert isinstance(error, HubError)
    assert (error.code, "HTTP 500" in error.message) == ("unavailable", True)
    assert time.monotonic() - started < 20
    server.every_status = 404
    assert isinstance(failure(hub.download, plan, patience_s=2), HubError)
    server.api_status = 500
    assert "HTTP 500" in str(failure(hub.look_up, "owner/name"))


@pytest.mark.parametrize("command", ["login", "account", "look_up", "download"])
def test_a_hub_that_never_answers(server: Hub, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    plan = json.loads(json.dumps({"repo": "owner/name", "commit": COMMIT, "files": [vars(f) for f in plan_of(server).files]}))
    server.hangs_at = "/"
    request = {"command": command, "repo": "owner/name", "files": [], "token": TOKEN, "plan": plan, "patience_s": 1}
    failed, _, _ = last_words(monkeypatch, request, **{"hub_fetch.TIMEOUT_S": 1.0, "hub_worker.ASKING_S": 1.0})
    assert failed["code"] == "network"


def test_no_secret_is_left_behind(server: Hub, tmp_path: Path) -> None:
    hub.login(TOKEN)
    hub.download(hub.look_up("owner/name"), patience_s=5)
    holders = [p for p in tmp_path.rglob("*") if p.is_file() and TOKEN.encode() in p.read_bytes()]
    assert {p.name for p in holders} <= {"token", "stored_tokens"}
    kept = [p for p in (tmp_path / "hf").rglob("*") if not p.is_symlink() and p.suffix != ".lock"]  # the library's are empty
    open_to_others = [str(p) for p in kept if p.stat().st_mode & 0o077]
    assert not open_to_others
    shutil.rmtree(tmp_path / "hf")
