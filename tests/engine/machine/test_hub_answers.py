"""A hub, a mirror or a proxy that means harm: what it answers is held to sizes, times and names, and chooses no place here."""

from __future__ import annotations

import dataclasses
import gzip
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hub_server import COMMIT, TOKEN, Hub, serve
from hypothesis import given
from hypothesis import strategies as st
from limited_hub import last_words

from loratui.engine.jobs import JOBS
from loratui.engine.machine import hub, hub_cache
from loratui.engine.machine.hub import HubError, RemoteFile
from loratui.engine.machine.hub_answers import commit_of, etag_of, is_name, size_of
from loratui.engine.machine.hub_fetch import checked, place
from loratui.engine.machine.hub_words import Failure

NAME = "model.safetensors"
WEIGHTS = bytes(range(256)) * 400


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with serve(Hub({NAME: WEIGHTS})) as running:
        for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HTTP_PROXY", "http_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        yield running


def refused(repo: str = "owner/name") -> str:
    with pytest.raises(HubError) as caught:
        hub.look_up(repo)
    assert caught.value.code == "unavailable", caught.value
    assert "does not answer as the hub does" in caught.value.message
    return caught.value.message


LOOK = {"command": "look_up", "repo": "owner/name", "files": []}


# ---- sizes


@pytest.mark.parametrize(
    "body",
    [
        gzip.compress(bytes(300_000_000), 9),
        b"[" * 1_000_000,
        b'{"siblings":[' + b"{}," * 300_000 + b"{}]}",
        b'{"a":' * 150_000,
        b'{"sha":"' + b"0" * 900_000 + b'"}',
        b"9" * 1_000_000,
    ],
    ids=["gzip", "deep", "long list", "deep objects", "long text", "digits"],
)
def test_a_small_answer_costs_little(server: Hub, monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    server.api_body, server.api_encoding = body, "gzip" if body.startswith(b"\x1f\x8b") else ""
    said, seconds, megabytes = last_words(monkeypatch, LOOK)
    assert said["code"] == "unavailable"
    assert seconds < 2.0
    assert megabytes < 300


@pytest.mark.parametrize("endless", [False, True])
def test_an_answer_that_is_too_large_is_not_read_to_its_end(server: Hub, endless: bool) -> None:
    server.api_body, server.api_endless = (b" " * 1_000_000, True) if endless else (b" " * 9_000_000, False)
    assert "too large" in refused()


def test_a_list_of_too_many_files_is_refused(server: Hub) -> None:
    server.said = {"siblings": [{"rfilename": f"{at}"} for at in range(60_000)]}
    assert "60 000 files" in refused()


# ---- times


def test_an_answer_that_comes_by_the_byte_has_an_end(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    server.api_body, server.api_endless, server.slow_s = b" ", True, 0.05
    said, _, _ = last_words(monkeypatch, LOOK, **{"hub_answers.MOST_SECONDS": 0.5})
    assert "does not end" in said["message"]


def test_a_file_that_comes_by_the_byte_is_given_up(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files[NAME] = bytes(3_000_000)
    plan = hub.look_up("owner/name")
    server.slow_s = 0.4  # 64 kB each
    request = {"command": "download", "plan": dataclasses.asdict(plan), "patience_s": 1}
    said, _, _ = last_words(
        monkeypatch, request, **{"hub_fetch.LEAST_BYTES": 500_000, "hub_fetch.SLOW_S": 0.9, "hub_fetch._FIRST_WAIT_S": 0.1}
    )
    assert said["code"] == "network"


def test_a_job_that_is_kept_busy_without_end_is_not_waited_for(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    server.hangs_at = "/api"
    monkeypatch.setitem(JOBS, "hub", dataclasses.replace(JOBS["hub"], answer_s=0.3))
    with pytest.raises(HubError, match="does not answer: no data for") as caught:
        hub.look_up("owner/name")
    assert caught.value.code == "network"


# ---- places


@pytest.mark.parametrize(
    "to",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "http://localhost:{port}/api/models/owner/name",
        "//evil.example/x",
        "gopher://x",
    ],
)
def test_the_api_answers_from_where_it_was_asked(server: Hub, monkeypatch: pytest.MonkeyPatch, to: str) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with serve(Hub({NAME: WEIGHTS})) as other:
        server.api_to = to.replace("{port}", other.address.rpartition(":")[2])
        assert "redirects to" in refused()
        assert not other.requests


def test_a_repository_that_was_renamed_is_found_where_the_hub_has_it_now(server: Hub) -> None:
    server.api_to = f"/moved/{COMMIT}"
    assert hub.look_up("owner/name").commit == COMMIT


def test_redirects_without_end_are_not_followed(server: Hub) -> None:
    server.api_to = "/api/models/owner/name"
    with pytest.raises(HubError):
        hub.look_up("owner/name")
    assert len(server.requests) < 20


@pytest.mark.parametrize("etag", ["../../../../escaped", "/tmp/escaped", "..", "a" * 5000, "0" * 39 + "\u0660"[:0] + "g"])
def test_a_late_etag_chooses_no_place(server: Hub, tmp_path: Path, etag: str) -> None:
    plan = hub.look_up("owner/name")
    server.late_etag = etag
    folder = hub.download(plan, patience_s=2)
    assert folder is not None
    assert (folder / NAME).read_bytes() == WEIGHTS
    made = {
        str(p.relative_to(tmp_path / "hf" / "hub" / "models--owner--name"))
        for p in Path(plan.folder).rglob("*")
        if not p.is_dir()
    }
    assert made == {f"blobs/{server.etag(NAME)}", f"snapshots/{COMMIT}/{NAME}", "refs/main"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["hf"]


@pytest.mark.parametrize(
    "sha", ["main", "..", "../../x", "0" * 39, "0" * 41, "G" * 40, "A" * 40, 7, None, ["x"], "0" * 39 + "/"]
)
def test_a_commit_that_is_none(sha: object) -> None:
    with pytest.raises(Failure):
        commit_of(sha)


def test_commit_and_size_of_an_answer_are_looked_at(server: Hub) -> None:
    server.said = {"sha": "../../x"}
    assert "commit" in refused()
    server.said = {"siblings": [{"rfilename": NAME, "size": -1, "blobId": "0" * 40}]}
    assert "size" in refused()


@pytest.mark.parametrize("size", [-1, 1 << 60, 1.5, True, "7"])
def test_a_size_that_no_file_has(size: object) -> None:
    with pytest.raises(Failure):
        size_of(size)


@pytest.mark.parametrize(
    "said",
    [
        {"siblings": 3},
        {"siblings": [3]},
        {"siblings": [{}]},
        {"tags": 3},
        {"cardData": [1]},
        {"cardData": {"license": {"a": 1}}},
        {"siblings": None},
        {"gated": []},
    ],
)
def test_answers_of_another_shape_are_no_crash(server: Hub, said: dict[str, Any]) -> None:
    server.said = said
    try:
        licence = hub.look_up("owner/name").licence
    except HubError as error:
        licence = error.code  # told as what it is, never as a crash
    assert licence in ("openrail", "", "unavailable", "name")


def test_a_licence_is_a_short_text(server: Hub) -> None:
    server.said = {"cardData": {"license": "\x1b[31mMIT\u202e" + "x" * 5000}}
    licence = hub.look_up("owner/name").licence
    assert licence.startswith("␛[31mMITx")
    assert len(licence) <= 100


# ---- names


@pytest.mark.parametrize("name", ["../x", "/x", "a/../x", "a\\x", "a\0x"])
def test_a_name_that_leads_elsewhere_ends_it(server: Hub, name: str) -> None:
    server.said = {"siblings": [{"rfilename": n, "size": 1, "blobId": "0" * 40} for n in (NAME, name)]}
    assert "leads elsewhere" in refused()


STRANGE = [
    *("nul.safetensors", "COM1", "a/./b", "a//b", "a/", ".", "\u202exx.safetensors", "a\x1b[2J", "x" * 300, "a/" * 9 + "b"),
    *("a\nb", "\ud800", ""),
]


def test_a_name_that_no_file_should_have_is_passed_over(server: Hub) -> None:
    assert not any(map(is_name, STRANGE))
    server.said = {"siblings": [server.blob(NAME), *({"rfilename": n, "size": 1, "blobId": "0" * 40} for n in STRANGE)]}
    assert [file.name for file in hub.look_up("owner/name", ["*"]).files] == [NAME]


@pytest.mark.parametrize(
    "name",
    [
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "model_index.json",
        "模型.safetensors",
        "v1.5 final (2).safetensors",
        "console.json",
    ],
)
def test_names_that_the_hub_has(name: str) -> None:
    assert is_name(name)


@given(st.text(max_size=60))
def test_no_name_that_passes_leads_out_of_its_folder(name: str) -> None:
    if is_name(name):
        place_of = Path(os.path.normpath(Path("/cache/snapshots") / name))
        assert place_of.is_relative_to("/cache/snapshots")
        assert place_of != Path("/cache/snapshots")


@given(st.one_of(st.text(max_size=70), st.integers(), st.none()))
def test_what_passes_as_a_hash_is_one(value: object) -> None:
    for check, lengths in ((commit_of, {40}), (etag_of, {40, 64})):
        try:
            found = check(value)
        except Failure:
            continue
        assert len(found) in lengths
        assert set(found) <= set("0123456789abcdef")
    with pytest.raises(Failure):
        size_of(str(value))


def test_a_plan_is_checked_again_before_the_download() -> None:
    good = dataclasses.asdict(
        hub.DownloadPlan("owner/name", COMMIT, (RemoteFile(NAME, 1, "0" * 40, cached=False),), "", False, "/x", 1)
    )
    assert checked(good) == good
    for change in (
        {"repo": "../x"},
        {"commit": "../x"},
        {"files": [{**good["files"][0], "etag": "../x"}]},
        {"files": [{**good["files"][0], "name": "../x"}]},
    ):
        with pytest.raises(Failure):
            checked({**good, **change})


# ---- the place


@pytest.mark.parametrize("links", [True, False])
def test_a_content_lies_under_its_name_with_links_and_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_SYMLINKS", not links)
    blob, pointer = tmp_path / "blobs" / "aa", tmp_path / "snapshots" / COMMIT / "unet" / "x.safetensors"
    blob.parent.mkdir()
    blob.write_bytes(b"weights")
    for _ in range(2):
        place(blob, pointer)
        assert pointer.read_bytes() == b"weights"
        assert pointer.is_symlink() == links
    assert [p.name for p in pointer.parent.iterdir()] == ["x.safetensors"]


def test_a_reference_that_leads_elsewhere_is_none(server: Hub, tmp_path: Path) -> None:
    folder = hub_cache.cache_folder() / "models--owner--name"
    (folder / "snapshots").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("..")
    assert hub_cache.snapshot("owner/name") is None
