"""A disk that fails at any call of a run: the run waits and goes on, and ends as if nothing had been."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from random_bases import run_on, write_images

from loratui.engine import durable
from loratui.engine.planning.validation_grid import GridRequest
from loratui.engine.runs import aside, control
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.events import Event, read_events
from loratui.engine.runs.state_file import read_state

HERE = Path(__file__).parent
NEVER = 10**9
GRID = ("validation.strengths=[1.0]", "validation.prompts=['a {trigger}']")
SMALL = ("schedule.repeats=1", "adapter.targets=attention", "samples.prompts=['a photo of {trigger} {class}']", *GRID)
"""Two epochs of four steps, one sample each; a validation of three images, without what a verdict needs besides."""


@dataclass(frozen=True)
class Fault:
    """How a disk fails."""

    number: int
    many: int
    """Calls that fail, from the chosen one on."""
    syncs: bool = False
    """Whether only fsync does."""


FAULTS = {
    "full": Fault(errno.ENOSPC, 6),
    "quota": Fault(errno.EDQUOT, 6),
    "read-only": Fault(errno.EROFS, 6),
    "broken": Fault(errno.EIO, 6),
    "one error": Fault(errno.EIO, 1),
    "one fsync": Fault(errno.EIO, 1, syncs=True),
    "fsyncs": Fault(errno.EIO, 4, syncs=True),
}
LEAST = 0.95
"""Share of the calls counted that every run makes."""
SAMPLED = {"full": 3, "broken": 1, "one fsync": 2}
"""How many calls of a run are tried in the short lane."""


class Server:
    """Trains runs on failing disks, each in a fork of a process that has loaded everything."""

    def __init__(self, library: Path, home: Path, template: RunDirectory) -> None:
        self.home, self.template = home, template
        env = {**os.environ, "LD_PRELOAD": str(library), "XDG_STATE_HOME": str(home / "state")}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen([sys.executable, str(HERE / "fault_server.py")], text=True, env=env, **pipes)  # type: ignore[call-overload]  # subprocess's own
        self.made = 0
        self.undisturbed, self.answer = self.train(NEVER, Fault(errno.EIO, 0))
        assert self.answer["exit"] == 0, (self.undisturbed.trainer_log).read_text()

    def train(self, first: int, fault: Fault, **more: Any) -> tuple[RunDirectory, dict[str, Any]]:
        """A run on a disk that fails from its `first` call on, and what became of it."""
        self.made += 1
        run = RunDirectory(self.template.path.with_name(f"run-{self.made}"))
        shutil.copytree(self.template.path, run.path)
        return run, self._ask(run, first, fault, **more)

    def validate(self, first: int, fault: Fault, **more: Any) -> tuple[RunDirectory, dict[str, Any]]:
        """As `train`, for the validation of the run without faults."""
        self.made += 1
        run = RunDirectory(self.template.path.with_name(f"run-{self.made}"))
        shutil.copytree(self.undisturbed.path, run.path)
        (run.validation / "wish.json").write_text(json.dumps(GridRequest(seeds=1).to_json()))
        return run, self._ask(run, first, fault, job="validate", **more)

    def resume(self, run: RunDirectory) -> dict[str, Any]:
        """The run goes on, on a good disk."""
        control.clear(run)
        return self._ask(run, NEVER, Fault(errno.EIO, 0))

    def _ask(self, run: RunDirectory, first: int, fault: Fault, **more: Any) -> dict[str, Any]:
        request = {"run": str(run.path), "from": first, "many": fault.many, "errno": fault.number, "syncs": int(fault.syncs)}
        self.process.stdin.write(json.dumps({**request, "limit_s": 60, "soon": True, **more}) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def calls(self, fault: Fault) -> int:
        """How many calls a run makes that this fault concerns."""
        run, answer = self.train(NEVER, fault)
        shutil.rmtree(run.path)
        return int(answer["seen"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, base_folder: Path) -> Iterator[Server]:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs a C compiler, for what lets the system's calls fail")
    folder = tmp_path_factory.mktemp("faults")
    library = folder / "disk_faults.so"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, HERE / "disk_faults.c", "-ldl"], check=True)
    template = run_on(base_folder, folder, *SMALL, folder=write_images(folder / "images"))
    found = Server(library, folder, template)
    yield found
    found.process.stdin.close()
    found.process.wait(30)


def events(run: RunDirectory) -> list[Event]:
    batch = read_events(run.events, 0, 1 << 30)
    assert batch.skipped == 0
    return list(batch.events)


def losses(run: RunDirectory) -> dict[int, str]:
    return {event.count("step"): float(event.fields["loss"]).hex() for event in events(run) if event.type == "step"}


def products(run: RunDirectory) -> dict[str, str]:
    """Every file that the run made, by its hash."""
    paths = [path for folder in (run.checkpoints, run.output, run.samples, run.cache) for path in folder.rglob("*")]
    return {
        path.relative_to(run.path).as_posix(): hashlib.sha256(contents(path)).hexdigest()
        for path in paths
        if path.is_file() and path.name != "state.json" and path.name != "MANIFEST.json"  # they name the run's surroundings
    }


def contents(path: Path) -> bytes:
    """The bytes of a file; of a LoRA file with its header in order, which the library writes in any."""
    data = path.read_bytes()
    if path.parent.name != "output":
        return data
    end = 8 + int.from_bytes(data[:8], "little")
    return json.dumps(json.loads(data[8:end]), sort_keys=True).encode() + data[end:]


def require_as_undisturbed(server: Server, run: RunDirectory, answer: dict[str, Any], fault: Fault) -> None:
    """The oracle: the run is done, every loss and file is that of a run without faults, the log is whole, nothing is left over."""
    said = run.trainer_log.read_text()
    assert answer["exit"] == 0, said
    assert answer["failed"] >= min(1, fault.many), "the fault was not met"
    assert answer["synced_again"] == 0, "an fsync that has failed says nothing when it is made again"
    assert losses(run) == losses(server.undisturbed)
    seqs = [event.seq for event in events(run)]
    assert seqs == list(range(1, len(seqs) + 1)), "no event is lost"
    told = [event.type for event in events(run)]
    assert told.count("disk_waiting") == told.count("disk_resumed") <= 1
    for folder in (run.path, run.checkpoints, run.output, run.cache, run.samples, *run.samples.iterdir()):
        left = durable.sweep_leftovers(folder)
        assert not left or fault.number in (errno.EIO, errno.EROFS), "what could not be deleted, the next start sweeps away"
    left_out = [event for event in events(run) if event.type == "warning" and event.text("code") == "sample_failed"]
    assert not left_out or (fault.number == errno.EIO and fault.many > 2), (
        "only a disk that has room, but is broken, costs a sample"
    )
    made, wanted = products(run), products(server.undisturbed)
    assert {name: made[name] for name in made if not (left_out and name.startswith("samples/"))} == {
        name: wanted[name] for name in wanted if not (left_out and name.startswith("samples/"))
    }
    assert not list((server.home / "state").rglob("*.json")), "nothing is kept aside any more"


@pytest.mark.parametrize("kind", SAMPLED)
def test_a_disk_that_fails_at_some_call_changes_nothing(server: Server, kind: str) -> None:
    fault = FAULTS[kind]
    calls = server.calls(fault)
    for index in range(SAMPLED[kind]):
        first = 1 + (2 * index + 1) * calls // (2 * SAMPLED[kind])
        run, answer = server.train(first, fault)
        require_as_undisturbed(server, run, answer, fault)


@pytest.mark.parametrize(
    ("ask", "exit_code", "share"), [("stop", 143, 0.0), ("term", 143, 0.3), ("pause", 10, 0.6), ("stop", 143, 0.9)]
)
def test_a_run_that_waits_for_its_disk_answers_within_four_seconds(
    server: Server, ask: str, exit_code: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(server.home / "state"))
    fault = FAULTS["full"]
    run, answer = server.train(int(share * server.calls(fault)), Fault(errno.ENOSPC, NEVER), ask=ask, soon=False)
    assert answer["exit"] == exit_code, run.trainer_log.read_text()
    assert answer["answered_s"] < 4.0
    kept = [event for _, event in aside.unsaid(run.events)]
    told = [event.type for event in kept]
    assert told.count("disk_waiting") == 1
    waiting = kept[told.index("disk_waiting")]
    assert "the disk is full" in waiting.text("reason")
    assert waiting.text("error") == "ENOSPC"
    state = read_state(run)
    assert state.waiting is not None, "a viewer reads what the disk did not take"
    aside.drop(run.events)
    run.log.joinpath("trainer.log").unlink()
    assert server.resume(run)["exit"] == 0
    assert products(run) == products(server.undisturbed)
    assert losses(run) == losses(server.undisturbed)


@pytest.mark.long
@pytest.mark.parametrize("kind", FAULTS)
def test_a_disk_that_fails_at_any_call_changes_nothing(server: Server, kind: str) -> None:
    fault = FAULTS[kind]
    wrong: dict[int, str] = {}
    calls = server.calls(fault)
    for first in range(1, calls + 1):
        run, answer = server.train(first, fault)
        if first > LEAST * calls and answer["seen"] < first:
            break  # some writes come by time, so runs differ by a few calls
        try:
            require_as_undisturbed(server, run, answer, fault)
        except AssertionError as error:
            wrong[first] = str(error)[:1000]
        else:
            shutil.rmtree(run.path)
    assert not wrong, f"{len(wrong)} of {calls}: {wrong}"


@pytest.mark.long
@pytest.mark.parametrize("kind", ["full", "read-only", "broken", "one error"])
def test_a_disk_that_fails_at_any_call_of_a_validation_changes_nothing(server: Server, kind: str) -> None:
    fault = FAULTS[kind]
    undisturbed, answer = server.validate(NEVER, Fault(fault.number, 0))
    wanted = images(undisturbed)
    assert len(wanted) == 3
    for first in range(1, answer["seen"] + 1):
        run, found = server.validate(first, fault)
        assert (found["exit"], images(run)) == (0, wanted), (first, run.trainer_log.read_text())
        shutil.rmtree(run.path)
    run, found = server.validate(answer["seen"] // 2, Fault(fault.number, NEVER), ask="term", soon=False)
    assert found["exit"] == 143
    assert found["answered_s"] < 4.0


def images(run: RunDirectory) -> dict[str, str]:
    """The validation's images, by their hashes."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in run.validation.glob("*.png")}
