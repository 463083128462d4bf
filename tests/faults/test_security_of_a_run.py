"""Rows 81–84: a whole run with secrets in its environment, without a network and under umask 0, and what it left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image
from random_bases import save_random_base, write_images

from loratui.engine.formats.metadata import ALLOWED
from loratui.engine.runs import lock
from loratui.engine.runs.directory import RunDirectory, list_runs

SECRETS = {
    "HF_TOKEN": "hf_canaryCANARYcanaryCANARYcanary01",
    "WANDB_API_KEY": "c0ffee00canary00c0ffee00canary00c0ffee00",
    "RUNPOD_API_KEY": "rpa_canary_0123456789",
    "MY_PASSWORD": "canary-of-a-person",
}
SETS = (
    *("dataset.resolution=64", "schedule.folder_repeats=false", "schedule.repeats=1", "schedule.epochs=1", "adapter.rank=2"),
    *("samples.steps=1", "base.check=off", "memory.threads=1", "samples.every_image_steps=0"),
)


@dataclass
class Seen:
    """A run, and what was seen of its processes."""

    run: RunDirectory
    said: str
    home: Path
    images: Path
    arguments: set[str] = field(default_factory=set)
    """Of every process of the run."""
    sockets: set[str] = field(default_factory=set)
    networked: bool = True
    """Whether the run could reach any network."""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    folder = tmp_path_factory.mktemp("secret person")
    save_random_base(folder / "base")
    images = write_images(folder / "holiday photos")
    alone = (
        ["unshare", "-rn"]
        if subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode == 0
        else []
    )
    options = [word for setting in SETS for word in ("--set", setting)]
    command = [*alone, sys.executable, "-m", "loratui.tui.cli", "train", str(images), "--preset", "demo", "--trigger", "qxz"]
    command += ["--class", "thing", "--base", str(folder / "base"), "--yes", "--wait", "--json", *options]
    names = ("HOME", "LORATUI_HOME", "OMP_NUM_THREADS")
    environ = {**os.environ, **SECRETS, "OMP_NUM_THREADS": "1", "HOME": str(folder), "LORATUI_HOME": str(folder / "home")}
    assert all(name in environ for name in names)
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environ, umask=0)
        arguments: set[str] = set()
        sockets: set[str] = set()
        while process.poll() is None:
            for run in list_runs(folder / "home"):
                owner = lock.read_owner(run.lock)
                for each in (owner.supervisor, owner.trainer) if owner else ():
                    look_at(each.pid, arguments, sockets)
            time.sleep(0.05)  # between two looks at what lives
    said_text = (folder / "said").read_text()
    assert process.returncode == 0, said_text
    (run,) = list_runs(folder / "home")
    return Seen(run, said_text, folder / "home", images, arguments, sockets, networked=not alone)


def look_at(pid: int, arguments: set[str], sockets: set[str]) -> None:
    """Notes the arguments and the sockets of a process, which may end meanwhile."""
    with suppress(OSError):
        arguments.add(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "))
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                target = os.readlink(fd)  # noqa: PTH115 - "socket:[1]"
                if target.startswith("socket:"):
                    sockets.add(f"{target} of {pid}")


def test_row_81_no_secret_of_the_environment_is_in_a_file_an_argument_or_the_output(seen: Seen) -> None:
    assert any("loratui.engine.training" in words for words in seen.arguments), "the trainer was not seen"
    files = [path for path in seen.home.rglob("*") if path.is_file()]
    assert len(files) > 15
    for secret in SECRETS.values():
        assert secret not in seen.said
        assert not [words for words in seen.arguments if secret in words]
        assert not [path for path in files if secret.encode() in path.read_bytes()]


def test_row_82_nothing_listens_and_a_run_needs_no_network(seen: Seen) -> None:
    assert not seen.sockets
    if seen.networked:
        pytest.skip("no network namespaces here: the run was only looked at")
    assert json.loads(seen.said[seen.said.index("{") :])["status"] == "done", "it had no network"


def test_row_83_under_umask_0_everything_is_for_the_owner_alone(seen: Seen) -> None:
    for path in (seen.home, *seen.home.rglob("*")):
        assert path.lstat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
        assert path.lstat().st_uid == os.geteuid()


def test_row_84_a_lora_file_and_samples_tell_nothing_of_the_person(seen: Seen) -> None:
    (final,) = seen.run.output.glob("qxz.safetensors")
    data = final.read_bytes()
    table = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    assert table.keys() <= ALLOWED
    told = json.dumps(table)
    for private in ("secret person", "holiday", "number 3", str(seen.home), os.uname().nodename, *SECRETS.values()):
        assert private not in told
    samples = list(seen.run.samples.rglob("*.png"))
    assert samples
    for path in samples:
        with Image.open(path) as image:
            image.load()
            assert not image.info, path
            assert not image.getexif()
