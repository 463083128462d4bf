"""Downloads from a server on this machine that speaks the hub's protocol: whole, cut, refused, wrong, slow, cancelled."""

from __future__ import annotations

import dataclasses
import os
import random
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import COMMIT, TOKEN, Hub, serve

from loratui.engine.errors import DiskError, ExitCode
from loratui.engine.machine import hub, hub_cache
from loratui.engine.machine.hub import HubError, Progress, RemoteFile
from loratui.engine.machine.hub_choice import NotChosen, choose

WEIGHTS = random.Random(1).randbytes(700_000)
FILES = {
    "README.md": b"---\nlicense: openrail\n---\n",
    "model_index.json": b'{"_class_name": "StableDiffusionPipeline"}',
    "unet/config.json": b"{}",
    "unet/diffusion_pytorch_model.safetensors": WEIGHTS,
    "unet/diffusion_pytorch_model.fp16.safetensors": b"half",
    "unet/diffusion_pytorch_model.bin": b"pickle",
    "vae/config.json": b"{}",
    "vae/diffusion_pytorch_model.safetensors": b"vae",
    "tokenizer/tokenizer.json": b"{}",
    "scheduler/scheduler_config.json": b"{}",
    "safety_checker/model.safetensors": b"no",
    "v1-5-pruned.ckpt": b"pickle",
    "v1-5-pruned.safetensors": b"twice",
    "unet/model.onnx": b"no",
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with serve(Hub(dict(FILES))) as running:
        for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HTTP_PROXY", "http_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        yield running


def plan_of(server: Hub, *names: str) -> hub.DownloadPlan:
    """What looking up would answer, without the process that asks."""
    chosen = names or ("model_index.json", "tokenizer/tokenizer.json", "unet/config.json", LARGE)
    files = tuple(RemoteFile(name, len(server.files[name]), server.etag(name), cached=False) for name in chosen)
    folder = hub_cache.cache_folder() / "models--owner--name"
    return hub.DownloadPlan("owner/name", COMMIT, files, "openrail", False, str(folder), 10**12)


LARGE = "unet/diffusion_pytorch_model.safetensors"


def fetched(plan: hub.DownloadPlan, **options: object) -> Path:
    folder = hub.download(plan, patience_s=5, **options)  # type: ignore[arg-type]  # the options of one test each
    assert folder is not None
    return folder


def test_only_what_training_needs_is_fetched_and_lies_as_the_hubs_tools_have_it(server: Hub) -> None:
    plan = hub.look_up("owner/name")
    names = [file.name for file in plan.files]
    assert names == [
        "model_index.json",
        "scheduler/scheduler_config.json",
        "tokenizer/tokenizer.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    ]
    assert (plan.licence, plan.gated, plan.commit) == ("openrail", False, COMMIT)
    contents = {FILES[name] for name in names}  # what is twice there is fetched once
    assert plan.fetch_bytes == plan.total_bytes == sum(len(content) for content in contents)
    assert not server.bodies()  # looking up fetches nothing
    seen: list[Progress] = []
    folder = fetched(plan, progress=seen.append)
    assert (folder / "unet/diffusion_pytorch_model.safetensors").read_bytes() == WEIGHTS
    assert folder == hub_cache.snapshot("owner/name")
    assert [repo for repo, _ in hub_cache.snapshots()] == ["owner/name"]
    assert seen[-1].done_bytes == seen[-1].total_bytes == plan.total_bytes
    again = hub.look_up("owner/name")
    assert again.fetch_bytes == 0
    before = len(server.bodies())
    assert fetched(again) == folder
    assert len(server.bodies()) == before
    # The library finds it, too.
    code = "from huggingface_hub import snapshot_download; print(snapshot_download('owner/name', local_files_only=True))"
    done = subprocess.run([sys.executable, "-c", code], env=dict(os.environ), capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()) == hub_cache.snapshot("owner/name")


def test_a_connection_that_is_cut_again_and_again_goes_on_where_it_was(server: Hub) -> None:
    server.cut_after = 200_000
    server.cuts = 3
    seen: list[Progress] = []
    folder = fetched(plan_of(server), progress=seen.append)
    assert (folder / LARGE).read_bytes() == WEIGHTS
    ranges = [asked for _, path, asked in server.bodies() if "unet/diff" in path]
    assert len(ranges) == 4
    assert ranges[0] == ""
    assert all(asked.startswith("bytes=") for asked in ranges[1:])
    assert any("connection lost" in progress.note for progress in seen)


def test_a_download_that_was_given_up_is_resumed_by_the_next(server: Hub) -> None:
    server.cut_after = 200_000
    server.cuts = 1
    plan = plan_of(server)
    with pytest.raises(HubError) as caught:
        hub.download(plan, patience_s=0)
    assert caught.value.code == "network"
    assert "what arrived is kept" in caught.value.remedy.lower()
    again = hub.look_up("owner/name")
    large = next(file for file in again.files if file.bytes == len(WEIGHTS))
    assert large.partial_bytes >= 100_000
    assert again.fetch_bytes < plan.fetch_bytes - 100_000
    folder = fetched(again)
    assert (folder / "unet/diffusion_pytorch_model.safetensors").read_bytes() == WEIGHTS
    assert server.bodies()[-1][2] or any(f"bytes={large.partial_bytes}-" == asked for *_, asked in server.bodies())


def test_cancel_ends_at_once_and_keeps_what_arrived(server: Hub) -> None:
    server.slow_s = 0.2
    seen: list[Progress] = []
    assert (
        hub.download(
            hub.look_up("owner/name"), progress=seen.append, cancelled=lambda: bool(seen) and seen[-1].done_bytes > 100_000
        )
        is None
    )
    server.slow_s = 0
    assert hub.look_up("owner/name").files[4].partial_bytes > 0
    fetched(hub.look_up("owner/name"))


def test_a_server_without_ranges_is_begun_again(server: Hub) -> None:
    server.no_ranges = True
    server.cut_after, server.cuts = 300_000, 1
    assert (fetched(plan_of(server)) / LARGE).read_bytes() == WEIGHTS


def test_a_partial_file_of_something_else_is_thrown_away(server: Hub) -> None:
    plan = plan_of(server)
    large = next(file for file in plan.files if file.bytes == len(WEIGHTS))
    blobs = Path(plan.folder) / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{large.etag}.loratui.incomplete").write_bytes(bytes(1000))
    assert (fetched(plan) / LARGE).read_bytes() == WEIGHTS


@pytest.mark.parametrize("fault", ["corrupt", "longer", "shorter"])
def test_what_is_not_what_the_hub_described_is_refused(server: Hub, fault: str) -> None:
    plan = plan_of(server, LARGE)
    setattr(server, fault, True)
    with pytest.raises(HubError) as caught:
        hub.download(plan, patience_s=2)
    assert caught.value.code == "mismatch"
    assert hub_cache.snapshot("owner/name") is None or not list(hub_cache.snapshot("owner/name").rglob("*.safetensors"))  # type: ignore[union-attr]


def test_a_mirror_that_lists_no_sizes_is_asked_for_each_file(server: Hub) -> None:
    server.lists_sizes = False
    plan = hub.look_up("owner/name")
    assert plan.total_bytes > len(WEIGHTS)
    assert (fetched(plan) / LARGE).read_bytes() == WEIGHTS


def test_a_server_cannot_choose_where_files_lie(server: Hub, tmp_path: Path) -> None:
    server.blob_id = "../../../../../escaped"
    with pytest.raises(HubError, match="does not answer as the hub does"):
        hub.look_up("owner/name")
    assert not (tmp_path / "escaped").exists()


def test_a_gate_is_met_before_anything_is_fetched(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    server.gated = server.needs_token = True
    with pytest.raises(HubError) as caught:
        hub.look_up("owner/name")
    assert caught.value.code == "gated"
    assert f"{server.address}/owner/name" in caught.value.remedy
    assert "loratui login" in caught.value.remedy
    assert caught.value.exit_code == ExitCode.UNAVAILABLE
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    server.admitted = False
    with pytest.raises(HubError, match="does not let your account in"):
        hub.look_up("owner/name")
    server.admitted = True
    plan = hub.look_up("owner/name")
    assert plan.gated
    fetched(plan)


def test_a_name_that_is_not_there(server: Hub) -> None:
    with pytest.raises(HubError, match="no model of this name") as caught:
        hub.look_up("owner/other")
    assert caught.value.exit_code == ExitCode.USAGE
    for name in ("nonsense", "../x/y", "a/b/c/d.bin"):
        with pytest.raises(HubError, match="not a name of a model"):
            hub.look_up(name)


def test_a_file_that_is_not_there_and_files_by_name(server: Hub) -> None:
    with pytest.raises(HubError, match=r"has no file other\.safetensors"):
        hub.look_up("owner/name", ["other.safetensors"])
    with pytest.raises(HubError, match="can run code"):
        hub.look_up("owner/name", ["*.ckpt"])
    with pytest.raises(HubError, match=r"model\.onnx cannot be trained on"):
        hub.look_up("owner/name", ["unet/*.onnx"])
    for name in ("X.CKPT", "x.pkl"):
        with pytest.raises(NotChosen, match="can run code"):
            choose([name], ["*"])
    assert [f.name for f in hub.look_up("owner/name/v1-5-pruned.safetensors").files] == ["v1-5-pruned.safetensors"]
    assert [f.name for f in hub.look_up("owner/name", ["tokenizer/*"]).files] == ["tokenizer/tokenizer.json"]


def test_too_many_requests_are_waited_out(server: Hub) -> None:
    plan = plan_of(server, "v1-5-pruned.safetensors")
    server.statuses, server.retry_after = [429, 503], "1"
    seen: list[Progress] = []
    fetched(plan, progress=seen.append)
    assert any(progress.note for progress in seen)
    server.api_status = 429
    server.retry_after = "700"
    with pytest.raises(HubError, match="too many requests") as caught:
        hub.look_up("owner/name")
    assert caught.value.code == "limit"


def test_no_network_and_no_proxy(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubError, match=r"http://127.0.0.1:9 cannot be reached\.") as caught:
        hub.look_up("owner/name")
    assert caught.value.code == "network"
    monkeypatch.setenv("HTTP_PROXY", "http://me:secret@127.0.0.1:9")
    with pytest.raises(HubError, match="through the proxy") as caught:
        hub.look_up("owner/name")
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(HubError, match="HF_HUB_OFFLINE"):
        hub.look_up("owner/name")


def test_the_disk_is_looked_at_before_the_first_byte(server: Hub) -> None:
    plan = dataclasses.replace(plan_of(server), free_bytes=1000)
    with pytest.raises(DiskError, match="but the download needs"):
        hub.download(plan)
    assert not server.bodies()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_that_cannot_be_written(server: Hub, tmp_path: Path) -> None:
    plan = plan_of(server)
    (tmp_path / "hf").mkdir(mode=0o500)
    with pytest.raises(DiskError):
        hub.download(plan)


def test_a_token_is_confirmed_kept_privately_and_forgotten(server: Hub, tmp_path: Path) -> None:
    assert (hub.account(), hub.has_token()) == (None, False)
    with pytest.raises(HubError) as caught:
        hub.login("hf_wrongOrRevoked")
    assert caught.value.code == "login"
    assert "hf_wrongOrRevoked" not in str(caught.value)
    assert not hub.has_token()
    account = hub.login(TOKEN)
    assert (account.name, account.role, account.from_environment) == ("person", "read", False)
    store = tmp_path / "hf" / "token"
    assert store.read_text() == TOKEN
    assert stat.S_IMODE(store.stat().st_mode) == 0o600
    assert hub.has_token()
    assert hub.account() == account
    assert hub.logout()
    assert not store.exists()
    assert not hub.has_token()


def test_a_token_of_the_environment_stays_in_use_after_a_logout(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    found = hub.account()
    assert found is not None
    assert found.from_environment
    assert hub.has_token()
    assert not hub.logout()
