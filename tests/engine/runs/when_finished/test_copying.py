"""LoRA files copied away, and compared where they arrived: by the real rsync, a stand-in for rclone, and a hub on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import hub_uploads
import pytest
import stand_in_rclone
from ended_runs import Never, act, ended
from hub_server import TOKEN

from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.records import Action

with_rsync = pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")


def copied(run: RunDirectory, stopping: Never | None = None) -> Action:
    found = act(run, "now", stopping).action("copy")
    assert found is not None
    return found


def same(run: RunDirectory, there: Path) -> bool:
    files = [*run.output.glob("*.safetensors"), run.recipe]
    return all((there / run.name / f.relative_to(run.path)).read_bytes() == f.read_bytes() for f in files)


@with_rsync
def test_rsync_copies_and_compares(tmp_path: Path) -> None:
    there = tmp_path / "there"
    run = ended(tmp_path, copy_to=f"rsync:{there}")
    done = copied(run)
    assert (done.state, done.attempts) == ("done", 1), done
    assert "with the same hashes there" in done.message
    assert same(run, there)


@with_rsync
def test_rsync_that_copies_other_bytes_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in runs the real rsync, then changes what arrived without its size or time."""
    there, real = tmp_path / "there", shutil.which("rsync")
    stand_in = tmp_path / "bin" / "rsync"
    stand_in.parent.mkdir()
    code = (
        f"#!{sys.executable}\nimport os, pathlib, subprocess, sys\ncode = subprocess.call(['{real}', *sys.argv[1:]])\n"
        f"if '--dry-run' not in sys.argv:\n    for path in pathlib.Path('{there}').rglob('*.safetensors'):\n"
        "        at = path.stat(); path.write_bytes(bytes(at.st_size)); os.utime(path, ns=(at.st_atime_ns, at.st_mtime_ns))\n"
        "sys.exit(code)\n"
    )
    stand_in.write_text(code)
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stand_in.parent}:{os.environ['PATH']}")
    failed = copied(ended(tmp_path, copy_to=f"rsync:{there}"))
    assert (failed.state, failed.attempts) == ("failed", 4)
    assert "hashes there differ: anafox-20261121-1/output/anafox.safetensors" in failed.message


@with_rsync
def test_rsync_to_nowhere_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    failed = copied(ended(tmp_path, copy_to=f"rsync:{tmp_path}/file/below"))
    assert (failed.state, failed.attempts) == ("failed", 1)
    assert "rsync ended with exit code" in failed.message


@with_rsync
def test_a_copy_that_was_cut_is_completed(tmp_path: Path) -> None:
    there = tmp_path / "there"
    run = ended(tmp_path, copy_to=f"rsync:{there}")
    output = run.output / "anafox.safetensors"
    half = there / run.name / "output" / output.name
    half.parent.mkdir(parents=True)
    half.write_bytes(output.read_bytes()[:20])
    assert copied(run).state == "done"
    assert same(run, there)


def test_a_file_that_is_not_as_it_was_saved_is_not_copied(tmp_path: Path) -> None:
    run = ended(tmp_path, copy_to=f"rsync:{tmp_path}/there")
    (run.output / "anafox.safetensors").write_bytes(b"damaged")
    failed = copied(run)
    assert (failed.state, "Not copied" in failed.message) == ("failed", True)
    assert not (tmp_path / "there").exists()


@pytest.fixture
def rclone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the stand-in keeps its remote."""
    stand_in = tmp_path / "bin" / "rclone"
    stand_in.parent.mkdir()
    stand_in.write_text(f'#!/bin/sh\n# A stand-in for rclone.\nexec {sys.executable} {stand_in_rclone.__file__} "$@"\n')
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stand_in.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("STAND_IN_REMOTE", str(tmp_path / "remotes"))
    return tmp_path / "remotes" / "box" / "loras"


@pytest.mark.parametrize(
    ("harm", "state", "words"),
    [
        ("", "done", "same hashes"),
        ("no hashes", "done", "same hashes"),
        ("damages", "failed", "hashes there differ"),
        ("refuses", "failed", "AccessDenied"),
    ],
)
def test_rclone(tmp_path: Path, rclone: Path, monkeypatch: pytest.MonkeyPatch, harm: str, state: str, words: str) -> None:
    monkeypatch.setenv("STAND_IN_HARM", harm)
    monkeypatch.setattr("loratui.engine.runs.when_finished.result.tried.__defaults__", ((),))
    run = ended(tmp_path, copy_to="rclone:box:loras")
    found = copied(run)
    assert (found.state, words in found.message) == (state, True), found
    assert state == "failed" or same(run, rclone)


@pytest.mark.skipif(shutil.which("rclone") is None, reason="rclone is not installed")
@pytest.mark.parametrize("remote", ["box", "hidden"])
def test_the_real_rclone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remote: str) -> None:
    """A local folder, which keeps hashes, and an encrypted one, which keeps none."""
    password = subprocess.run(["rclone", "obscure", "x"], capture_output=True, text=True, check=True).stdout.strip()
    config = tmp_path / "rclone.conf"
    config.write_text(f"[box]\ntype = local\n[hidden]\ntype = crypt\nremote = {tmp_path}/enc\npassword = {password}\n")
    monkeypatch.setenv("RCLONE_CONFIG", str(config))
    run = ended(tmp_path, copy_to=f"rclone:{remote}:{tmp_path}/there")
    done = copied(run)
    assert (done.state, done.attempts) == ("done", 1), done
    assert remote == "hidden" or same(run, tmp_path / "there")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    with hub_uploads.serve() as running:
        for name, value in {"HF_ENDPOINT": running.address, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield running


def test_the_hub_takes_the_files_into_a_private_repository(tmp_path: Path, hub: hub_uploads.Uploads) -> None:
    run = ended(tmp_path, copy_to="hub:owner/name")
    done = copied(run)
    assert done.state == "done", done
    assert hub.files[f"{run.name}/output/anafox.safetensors"] == (run.output / "anafox.safetensors").read_bytes()
    assert hub.files[f"{run.name}/recipe.toml"] == run.recipe.read_bytes()
    assert hub.made_private is True


@pytest.mark.long
def test_a_hub_that_holds_other_bytes_is_found_out(
    tmp_path: Path, hub: hub_uploads.Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loratui.engine.runs.when_finished.result.tried.__defaults__", ((),))
    hub.damages = True
    failed = copied(ended(tmp_path, copy_to="hub:owner/name"))
    assert (failed.state, "hashes there differ" in failed.message) == ("failed", True), failed


def test_a_token_that_may_not_write_is_told(tmp_path: Path, hub: hub_uploads.Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_anotherTokenForTheTest")
    failed = copied(ended(tmp_path, copy_to="hub:owner/name"))
    assert (failed.state, failed.attempts, "may not write" in failed.message) == ("failed", 1, True), failed
