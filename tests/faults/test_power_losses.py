"""What was acknowledged survives a power loss at any moment: row 13 of the matrix of faults, `benchmarks/power_losses.py` in two sizes."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from os_seam import CREATE, FSYNC, MKDIR, RENAME, UNLINK, WRITE, Operation, Recorder, recorded, watched
from power_loss import Disk, Materialised, Tree

from loratui.engine.durable import building, open_to_write, write_all, write_file

ROOT = Path(__file__).parents[2]


def states(root: Path, operations: list[Operation], count: int = 300) -> list[Tree]:
    """States of a disk on which these were carried out, and then the power failed."""
    disk, dice = Disk(root), random.Random(1)
    for operation in operations:
        disk.carry_out(operation)
    return [disk.after_power_loss(dice) for _ in range(count)]


def test_the_model_loses_what_was_not_synced_and_nothing_else(tmp_path: Path) -> None:
    write = Operation(WRITE, "a", data=b"12345678")
    made = states(tmp_path, [Operation(CREATE, "a"), write])
    assert {None, b"", b"12345678"} <= {tree.get("a") for tree in made}
    assert any(data and data != b"12345678" for data in (tree.get("a") for tree in made)), "nothing was torn"
    named = states(tmp_path, [Operation(CREATE, "a"), write, Operation(FSYNC, "a")])
    assert {tree.get("a") for tree in named} == {None, b"12345678"}, "the data are lasting, the name is not"
    lasting = states(tmp_path, [Operation(CREATE, "a"), write, Operation(FSYNC, "a"), Operation(FSYNC, "")])
    assert lasting == [{"a": b"12345678"}] * len(lasting)


def test_the_model_loses_changes_of_names_in_any_order(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "x").write_bytes(b"x")
    changes = [Operation(MKDIR, "new"), Operation(RENAME, "gone", source="old"), Operation(UNLINK, "gone/x")]
    found = {tuple(sorted(tree)) for tree in states(tmp_path, changes)}
    assert {("old", "old/x"), ("gone", "gone/x", "new"), ("new", "old"), ("gone",)} <= found


def test_what_durable_writes_is_seen_and_whole_in_every_state(tmp_path: Path) -> None:
    root, log = tmp_path / "root", tmp_path / "log"
    root.mkdir()
    (root / "kept").write_bytes(b"old")
    with watched(root, Recorder(root, log)):
        write_file(root / "kept", b"new")
        with building(root / "folder") as inner:
            write_file(inner / "part", b"part", durable=False)
        fd = open_to_write(root / "lines", 1)
        write_all(fd, b"line\n")
    operations = list(recorded(log))
    assert {"write .kept.tmp", "rename kept", "rename folder", "fsync .folder.tmp/part", "write lines"} <= {
        operation.place for operation in operations
    }
    (tmp_path / "before").mkdir()
    (tmp_path / "before" / "kept").write_bytes(b"old")
    disk, dice = Disk(tmp_path / "before"), random.Random(2)
    place = Materialised(tmp_path / "held")
    place.root.mkdir()
    for operation in operations:
        disk.carry_out(operation)
        ends = operation is operations[-1]
        for _ in range(200 if ends else 20):
            tree = disk.after_power_loss(dice)
            place.hold(tree)
            assert (place.root / "kept").read_bytes() in (b"old", b"new")
            if (place.root / "folder").exists():
                assert (place.root / "folder" / "part").read_bytes() == b"part"
            if ends:
                assert tree["kept"] == b"new"
                assert tree["folder/part"] == b"part"
                assert "lines" in tree, "a log that was opened keeps its name"


def recovered(out: Path, *options: str) -> dict[str, object]:
    """The report of recoveries of which none lost anything."""
    command = [sys.executable, str(ROOT / "benchmarks" / "power_losses.py"), *options, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    report: dict[str, object] = json.loads(out.read_text())
    assert report["failures"] == []
    return report


def test_no_power_loss_takes_what_was_acknowledged(tmp_path: Path) -> None:
    report = recovered(tmp_path / "report.json", "--states", "2000")
    assert report["states"] == 2000
    assert int(str(report["operations"])) > 400, "the writes of a run are no longer seen"


@pytest.mark.long
def test_none_of_twenty_thousand_power_losses_takes_what_was_acknowledged(tmp_path: Path) -> None:
    assert recovered(tmp_path / "report.json", "--states", "20000", "--workers", "2")["states"] == 20_000
