"""What the queue does next, and the file that it is kept in."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from loratui.engine.errors import ExitCode, UsageError
from loratui.engine.machine import hardware
from loratui.engine.machine.gpu_holders import Holder
from loratui.engine.machine.hardware import Gpu
from loratui.engine.proof.readings import Readings
from loratui.engine.runs.directory import RunDirectory, create_run
from loratui.engine.runs.queue import entries, gpu, rules
from loratui.engine.runs.queue.caches import share_cache, share_measured
from loratui.engine.runs.queue.entries import Entry, Queue
from loratui.engine.runs.queue.rules import Seen, settle

ENTRY = Entry(run="a-1", starts=1, seq=5, mark=10)
LATER = Seen(seq=9, mark=20)


@pytest.mark.parametrize(
    ("entry", "seen", "stays", "starts", "holds"),
    [
        (ENTRY, Seen(there=False), False, 0, False),
        (ENTRY, Seen(held=True), True, 1, False),
        (ENTRY, Seen(seq=5, status="done"), True, 1, False),  # the start came to nothing: a kill in between
        (replace(ENTRY, starts=3), Seen(seq=5), False, 0, False),
        (ENTRY, replace(LATER, status="done"), False, 0, False),
        (ENTRY, replace(LATER, status="stopped"), False, 0, False),
        (ENTRY, replace(LATER, status="stopped", by_signal=True), True, 0, False),  # the machine shut down
        (ENTRY, replace(LATER, status="paused"), True, 0, True),
        (ENTRY, replace(LATER, status="failed", exit_code=ExitCode.NOT_FINITE), False, 0, False),
        (ENTRY, replace(LATER, status="failed", exit_code=ExitCode.DISK), True, 0, True),
        (ENTRY, replace(LATER, status="failed", exit_code=ExitCode.GPU_LOST, resumable=False), False, 0, True),
        (ENTRY, replace(LATER, status="interrupted"), True, 0, False),
        (ENTRY, replace(LATER, status="interrupted", mark=10), True, 1, False),
        (replace(ENTRY, starts=3), replace(LATER, status="interrupted", mark=10), False, 0, False),
        (ENTRY, replace(LATER, status="interrupted", resumable=False), False, 0, False),
        (replace(ENTRY, starts=0), replace(LATER, status="done"), False, 0, False),  # somebody else has started it
    ],
)
def test_what_becomes_of_an_entry(entry: Entry, seen: Seen, stays: bool, starts: int, holds: bool) -> None:
    found = settle(entry, seen)
    assert (found.entry is not None, bool(found.holds)) == (stays, holds)
    if found.entry is not None:
        assert found.entry.starts == starts


def test_the_order_is_kept_and_changed_and_a_pair_stays_together(tmp_path: Path) -> None:
    rows = [Entry(run=name, job=job) for name in ("a-1", "b-1", "c-1") for job in ("train", "validate")]  # type: ignore[arg-type]  # both are jobs
    entries.change(tmp_path, lambda queue: replace(queue, entries=tuple(rows)))
    after = entries.change(tmp_path, lambda queue: entries.moved(queue, "c-1", 1))
    assert [(one.run, one.job) for one in after.entries][:2] == [("c-1", "train"), ("c-1", "validate")]
    assert [after.place(name) for name in ("c-1", "a-1", "b-1", "d-1")] == [1, 2, 3, 0]
    assert entries.read(tmp_path) == after
    assert (tmp_path / entries.FILE).stat().st_mode & 0o777 == 0o600
    with pytest.raises(UsageError, match="not in the queue"):
        entries.moved(after, "d-1", 1)


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"format": 1, "entries": [{"run": "../x"}], "on_hold": "", "pods": []}', '{"format": 9}']
)
def test_a_file_that_cannot_be_used_is_told_and_no_list_fails_by_it(tmp_path: Path, text: str) -> None:
    (tmp_path / entries.FILE).write_text(text)
    with pytest.raises(UsageError, match=r"queue\.json"):
        entries.read(tmp_path)
    assert entries.read_if_possible(tmp_path) == Queue()


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    entries.change(tmp_path, lambda queue: replace(queue, entries=(Entry(run="a-1"),)))
    table = json.loads((tmp_path / entries.FILE).read_text())
    (tmp_path / entries.FILE).write_text(json.dumps({**table, "on_hold": "x"}))
    with pytest.raises(UsageError, match="damaged"):
        entries.read(tmp_path)


@pytest.mark.parametrize(("free", "device", "waits"), [(23.0, "auto", False), (4.0, "auto", True), (4.0, "cpu", False)])
def test_a_card_that_others_use_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: float, device: str, waits: bool
) -> None:
    holder = Holder(812, "python3", 20.0)
    card = Gpu(0, "RTX", 24.0, free, "1", None, None, None, held_by=(holder,))
    monkeypatch.setattr(hardware, "gpus", lambda *_: (card,))
    run = create_run(tmp_path, "a", recipe_toml="", effective_toml=f'[memory]\ndevice = "{device}"\n', ledger={}, today="1")
    assert ("python3 (process 812" in gpu.taken(run)) == waits


def test_a_card_that_is_not_shown_to_programs_is_not_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cards = tuple(Gpu(at, "RTX", 24.0, free, "1", None, None, None) for at, free in enumerate((1.0, 24.0)))
    monkeypatch.setattr(hardware, "gpus", lambda *_: cards)
    run = create_run(tmp_path, "a", recipe_toml="", effective_toml="", ledger={}, today="1")
    assert gpu.taken(run)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert not gpu.taken(run)


def test_what_one_run_has_encoded_another_takes_over(tmp_path: Path) -> None:
    first, second = (create_run(tmp_path, "a", recipe_toml="", effective_toml="", ledger={}, today="1") for _ in range(2))
    for name in ("latents-1.safetensors", "text-2.safetensors", "compiled.bin"):
        (first.cache / name).write_bytes(name.encode())
    (second.cache / "text-2.safetensors").write_bytes(b"own")
    assert share_cache(first, second) == 1
    assert {path.name: path.read_bytes() for path in second.cache.iterdir()} == {
        "latents-1.safetensors": b"latents-1.safetensors",
        "text-2.safetensors": b"own",
    }
    assert share_cache(RunDirectory(tmp_path / "gone"), second) == 0


def test_only_a_queue_that_goes_on_keeps_a_pod() -> None:
    queue = Queue(entries=(Entry(run="a-1"), Entry(run="a-1", job="validate")))
    assert rules.waits_for_others(queue, "a-1") == 1
    assert rules.waits_for_others(replace(queue, on_hold="x"), "a-1") == 0
    assert rules.waits_for_others(Queue(entries=(Entry(run="a-1"),)), "a-1") == 0


def test_what_one_validation_has_measured_of_the_base_another_takes_over(tmp_path: Path) -> None:
    first, second = (create_run(tmp_path, "a", recipe_toml="", effective_toml="", ledger={}, today="1") for _ in range(2))
    kept = Readings(first.validation / "losses.json")
    kept.put("base", "photo", [1.0])
    kept.save()
    (first.validation / "readings.json").write_text("{")
    assert share_measured(first, second) == 1
    assert Readings(second.validation / "losses.json").get("base", "photo", list) == [1.0]
    assert not (second.validation / "readings.json").exists()
    assert share_measured(first, second) == 0
