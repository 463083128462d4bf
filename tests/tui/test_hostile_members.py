"""One hostile file among others: its own row says so, and the list goes on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import made_models as made
import pytest
from fake_run import finished_run, make_run
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from loratui.engine.dataset import archives, decoding, prepared_copy
from loratui.engine.dataset.scan import scan
from loratui.engine.errors import UsageError
from loratui.engine.planning import base_search, bases
from loratui.engine.planning.lora_size import denoiser_config, text_encoders_of
from loratui.engine.runs.directory import list_runs
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.events import EVENT_TYPES, MOST_TAIL, Event, decode, encode, last_events
from loratui.engine.runs.state import RunState
from loratui.engine.runs.summary import summarise_all
from loratui.engine.runs.tail import Tail
from loratui.engine.runs.verdict import Evidence, judge
from loratui.tui.cli import main
from loratui.tui.runs import figures
from loratui.tui.runs.store import RunStore
from loratui.tui.wizard.drafts import list_drafts

DEEP = "[" * 100_000
TEXTS = ["", "null", "[]", "1", '"a"', DEEP, "9" * 100_000, "[NaN]", '{"weight_map": 1}', '{"weight_map": {"a": ["b"]}}', "\0"]


@pytest.fixture(autouse=True)
def within_60_s() -> Iterator[None]:
    signal.alarm(60)
    yield
    signal.alarm(0)


def header(path: Path, table: object) -> None:
    raw = json.dumps(table).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw)


def test_bases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = made.write(tmp_path / "good.safetensors", {**made.sd15()})
    for number, text in enumerate(TEXTS):
        folder = tmp_path / f"folder{number}"
        folder.mkdir()
        for name in ("model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors.index.json",
                     "scheduler/scheduler_config.json", "tokenizer.json", "tokenizer_2/tokenizer.json"):  # fmt: skip
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
        beside = tmp_path / f"index{number}"
        beside.mkdir()
        made.write(beside / "part.safetensors", made.ldm_vae())
        (beside / "x.safetensors.index.json").write_text(text)
        (beside / "tokenizer.json").write_text(text)
    entry = {"dtype": "F16", "shape": [0], "data_offsets": [0, 0]}
    for number, table in enumerate(
        [{f"a{n}.input_blocks.0.0.weight": entry for n in range(9000)}, {"n" * 500_000: entry}, {"w": 1}, [1]]
    ):
        header(tmp_path / f"bad{number}.safetensors", table)
    os.mkfifo(tmp_path / "pipe.safetensors")
    (tmp_path / "zero.safetensors").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to(tmp_path)
    found, _ = bases.discover([tmp_path], memory_file=tmp_path / "memory.json")
    assert [base.path for base in found if not base.problem] == [good]
    assert all(len(base.problem) < 1500 for base in found)

    def broken(path: Path) -> Any:
        if path == good:
            raise IndexError("a fault of our own")
        return real(path)

    real = base_search.read_file
    monkeypatch.setattr(base_search, "read_file", broken)
    seen = base_search.walk([tmp_path])
    assert next(one for one in seen.seen if one.path == str(good)).problem.endswith("IndexError: a fault of our own")


@pytest.mark.parametrize("text", [*TEXTS, '{"format": 2, "seen": {"PATH": {"stamp": STAMP, "is": IS}}}'])
def test_the_memory_of_bases(tmp_path: Path, text: str) -> None:
    good = made.write(tmp_path / "good.safetensors", {**made.sd15()})
    memory = tmp_path / "memory.json"
    base_search.Memory.load(memory).look(good)
    first = base_search.Memory({})
    first.look(good)
    first.save(memory)
    kept = json.loads(memory.read_text())["seen"][str(good)]
    for field, value in [
        ("family", 3),
        ("held", [1]),
        ("held", [{**kept["is"]["held"][0], "width": "x"}]),
        ("missing", [[]]),
        ("bytes", None),
    ]:
        hostile = {**kept["is"], field: value}
        memory.write_text(
            text.replace("PATH", str(good)).replace("STAMP", json.dumps(kept["stamp"])).replace("IS", json.dumps(hostile))
        )
        assert base_search.Memory.load(memory).look(good).family == "sd15"


@pytest.mark.parametrize(
    "config",
    [
        *TEXTS,
        json.dumps({"block_out_channels": [10**9] * 3, "down_block_types": ["CrossAttn"] * 3, "up_block_types": ["CrossAttn"] * 3,
                    "layers_per_block": 10**9, "cross_attention_dim": 10**30}),
        json.dumps({"hidden_size": 10**12, "intermediate_size": 1, "num_hidden_layers": 10**12}),
        json.dumps({"hidden_size": True, "intermediate_size": "7", "num_hidden_layers": -1}),
    ],
    ids=range(len(TEXTS) + 3),
)  # fmt: skip
def test_sizes_out_of_a_configuration(tmp_path: Path, config: str) -> None:
    for part in ("unet", "text_encoder"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "config.json").write_text(config)
    assert denoiser_config("sd15", tmp_path) is None
    assert text_encoders_of("sd15", tmp_path) == text_encoders_of("sd15", None)


def test_runs(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    good = finished_run(home)
    for number, text in enumerate(TEXTS):
        run = make_run(home, f"bad{number}")
        for path in (
            run.marker,
            run.state,
            run.lock,
            run.changes,
            run.events,
            run.validation_events,
            run.dataset,
            run.recipe,
            run.effective,
        ):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    (home / "runs" / "²").mkdir()
    (home / "runs" / "²" / good.marker.name).write_text("{}")
    for command in (["runs"], ["runs", "--json"], ["status", "bad0-20261121-1"], ["status", "²"]):
        assert main(command) in (0, 2)
    listed = summarise_all(home)
    assert len(listed) == len(TEXTS) + 2

    def broken(run: Any, **options: Any) -> Any:
        if run.name == good.name:
            raise KeyError("a fault of our own")
        return real(run, **options)

    from loratui.engine.runs import summary

    real = summary.summarise
    monkeypatch.setattr(summary, "summarise", broken)
    rows = {row.name: row for row in summarise_all(home)}
    assert len(rows) == len(list_runs(home))
    assert "a fault of our own" in rows[good.name].reason
    assert "Traceback" not in capsys.readouterr().err


def test_drafts(tmp_path: Path) -> None:
    (tmp_path / "drafts").mkdir()
    body = {"format": 1, "saved": 1, "step": "plan", "preset": "demo", "changes": {}}
    (tmp_path / "drafts" / "good.json").write_text(json.dumps(body))
    hostile = [*TEXTS, *(json.dumps({**body, name: value}) for name in body for value in ([[]], {"a": []}, None, "9" * 999))]
    for number, text in enumerate(hostile):
        (tmp_path / "drafts" / f"bad{number}.json").write_text(text)
    os.mkfifo(tmp_path / "drafts" / "pipe.json")
    found = list_drafts(tmp_path)
    assert "good" in [draft.id for draft in found]
    for draft in found:
        assert isinstance(draft.title, str)


def test_records_beside_images(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "good.png")
    for text in [*TEXTS, '[["a", "b", "c"]]', '{"source": "\\u0000", "remedies": 1, "images": [], "left_out": []}',
                 '{"source": "/", "remedies": [], "images": [{"image": [], "source": 1}], "left_out": []}']:  # fmt: skip
        for name in (archives.RECORD, prepared_copy.RECORD):
            (tmp_path / name).write_text(text)
        assert archives.left_out_of(tmp_path) == ()
        with contextlib.suppress(UsageError):
            assert prepared_copy.read_history(tmp_path) is None
        assert len(scan(tmp_path).training) == 1


def test_an_image_that_makes_a_reader_stumble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (64, 64)).save(tmp_path / name)
    real = decoding.read_header

    def broken(path: Path, *args: Any, **options: Any) -> Any:
        if path.name == "a.png":
            raise ZeroDivisionError
        return real(path, *args, **options)

    monkeypatch.setattr(decoding, "read_header", broken)
    found = scan(tmp_path)
    assert [image.relative for image in found.training] == ["b.png"]
    assert [(one.relative, one.reason) for one in found.left_out] == [
        ("a.png", "cannot be read as an image: ZeroDivisionError")
    ]


# ---- event logs


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**60), 10**60) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
NAMES = sorted(
    {
        *(
            [
                "name",
                "preset",
                "family",
                "base",
                "trigger",
                "images",
                "epochs",
                "image_steps",
                "optimizer_steps",
                "steps_per_epoch",
                "batch_size",
                "accumulation",
            ]
        ),
        *(
            [
                "resumed_step",
                "device",
                "dtype",
                "phase",
                "text",
                "done",
                "total",
                "step",
                "image_step",
                "epoch",
                "loss",
                "lr",
                "grad_norm",
                "step_s",
                "memory_gib",
            ]
        ),
        *(
            [
                "index",
                "path",
                "prompt",
                "seed",
                "bytes",
                "seconds",
                "reason",
                "final",
                "norms",
                "grid",
                "strength",
                "file",
                "nearest",
                "similarity",
                "code",
            ]
        ),
        *(
            [
                "message",
                "remedy",
                "id",
                "command",
                "ok",
                "prompts",
                "every_image_steps",
                "stop_after_epoch",
                "gpu",
                "gpu_percent",
                "throttle",
                "cpu_percent",
            ]
        ),
        *(
            [
                "cpus",
                "ram_gib",
                "disk_free_gib",
                "attempt",
                "pid",
                "exit_code",
                "signal",
                "log_tail",
                "status",
                "advice",
                "not_finite",
            ]
        ),
    }
)
EVENTS = st.builds(
    lambda type, seq, fields: Event(type, seq, 1.0, fields),
    st.sampled_from([*EVENT_TYPES, "unknown"]),
    st.integers(1, 10**40),
    st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=12),
)


@given(st.lists(EVENTS, max_size=8))
@hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_events_with_anything_in_their_fields(events: list[Event]) -> None:
    store = RunStore()
    for event in events:
        store.apply(event)
    state = store.state
    assert figures.phase(state)
    _ = (state.fraction, state.time_left, state.last_step, store.newest_output, state.loss_smoothed)
    json.dumps(state.to_json(), allow_nan=False)
    verdict = judge(Evidence(name="x", state=state, held=False, quiet_s=1.0))
    assert isinstance(verdict.reason + verdict.advice, str)
    assert verdict.exit_code is None or 0 <= verdict.exit_code < 256


def hostile_lines() -> list[bytes]:
    """Lines whose checksum is right, each with values of every wrong type."""
    values: list[Any] = [
        None,
        True,
        "x" * 1000,
        10**60,
        -(10**60),
        1e300,
        [],
        {},
        [[[]]],
        {"a": {"b": []}},
        "\ud800",
        "\x1b[2J",
    ]
    lines = []
    for value in values:
        for type in EVENT_TYPES:
            lines.append(encode(type, len(lines) + 1, 1.0, dict.fromkeys(NAMES, value)))
    deep = encode("step", 9000, 1.0, {"text": "X"}).replace(b'"X"', b"[" * 5000)
    return [*lines, deep, b"[" * 100_000 + b"\n", b'{"v":1}\n', b"\xff\n"]


def test_commands_on_a_log_of_hostile_lines(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(home)
    run.events.write_bytes(b"".join(hostile_lines()))
    for command in (
        ["runs"],
        ["runs", "--json"],
        ["status", run.name],
        ["status", run.name, "--json"],
        ["attach", run.name, "--json"],
    ):
        assert 0 <= main(command) < 256
    assert "Traceback" not in capsys.readouterr().err


def test_a_line_of_100_mb_costs_little(home: Path, tmp_path: Path) -> None:
    run = make_run(home)
    with run.events.open("wb") as file:
        file.write(encode("step", 7, 1.0, {"step": 3}))
        file.truncate(100_000_000)
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + encode("step", 8, 1.0, {"step": 4}))
        file.truncate(file.tell() + 5 * MOST_TAIL)
    started = time.process_time()
    assert last_events(run.events) == ()
    with EventLog.open(run.events) as log:
        assert log.append("heartbeat") > 8
    assert len(summarise_all(home)) == 1
    state = RunState()
    for batch in Tail(run.events).drain():
        state.apply_batch(batch)
    assert state.step == 4
    assert time.process_time() - started < 5


def test_a_line_longer_than_any_of_ours_is_none() -> None:
    line = encode("warning", 1, 1.0, {"message": "x" * (1 << 20)})
    assert decode(line) is None
    assert decode(encode("warning", 1, 1.0, {"message": "x" * 1000})) is not None
