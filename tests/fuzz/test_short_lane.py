"""The short lane of the fuzzing: a few thousand mutated inputs from a fixed seed, and the largest that are allowed.

The long one is a command, `python -m tests.fuzz`.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from fuzz_targets import MOST_MIB, TARGETS, memory_mib, mutated, tried

INPUTS = {
    "header": 600,
    "json": 150,
    "toml": 80,
    "zip": 120,
    "image": 250,
    "events": 700,
    "hub": 300,
    "lora": 250,
    "lists": 300,
    "settings": 100,
}
"""By how long one takes: all together are to take less than 5 s."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The decoders' own libraries write about damaged images to the error output."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    yield
    os.dup2(kept, 2)
    os.close(kept)
    os.close(nowhere)


@pytest.mark.parametrize("name", TARGETS)
def test_no_reader_raises_what_is_not_its_own(name: str, tmp_path: Path) -> None:
    target, source = TARGETS[name], random.Random(20261128)
    pool = target.seeds()
    faults = [fault for seed in pool if (fault := tried(target, seed, tmp_path))]
    for _ in range(INPUTS[name]):
        fault = tried(target, mutated(source.choice(pool), source, pool), tmp_path)
        faults += [fault] if fault else []
    assert not [(fault.kind, fault.data[:200]) for fault in faults]


MIB = 1 << 20
LARGE = {
    "header": [
        b"\0" + b'{"w":' * (MIB // 5),
        b"\0{" + b",".join(b'"%d":{}' % n for n in range(100_000)) + b"}",
        b"\0" + b"9" * MIB,
    ],
    "json": [b"[" * MIB, b"[" + b"[]," * (MIB // 12) + b"1]"],
    "toml": [b"a." * (MIB // 2), b"[a]\n" * (MIB // 4), b"a=" + b"[" * MIB, b'"' * MIB],
    "zip": [b"PK\x03\x04" * (MIB // 4), b"PK\x05\x06" * (MIB // 4)],
    "image": [b"\x89PNG\r\n\x1a\n" + bytes(MIB), b"\xff\xd8\xff\xda" * (MIB // 4), b"II*\0" + b"\xff" * MIB],
    "events": [b"\0" + b"[" * MIB, b"\1" + b"\n" * MIB, b"\0" + b'{"v":1,"seq":' + b"9" * MIB],
    "hub": [b"[" * MIB, b'{"siblings": [' + b'{"rfilename": "a"},' * (MIB // 20) + b"{}]}"],
    "lists": [
        b"\0" + b"[" * MIB,
        b"\0[" + b'{"path":"a","image":{}},' * (MIB // 24) + b"{}]",
        b"\1" + b'{"file_name":"a","text":"b"}\n' * (MIB // 28),
        b"\2" + b"a.png," * (MIB // 6),
        b"\2file_name,text\n" + b'"' * MIB,
        b"\3" + b"[[datasets]]\n" * (MIB // 13),
    ],
    "settings": [
        b"\0{" + b",".join(b'"k%d":%d' % (n, n) for n in range(60_000)) + b"}",
        b"\1network_dim = 1\n" + b"[a]\n" * (MIB // 4),
        b"\2job: a\nconfig: " + b"[" * MIB,
        b"\2a: &a [x]\nb: [" + b"*a, " * (MIB // 4) + b"]",
        b"\3python train_network.py " + b"--a 1 " * (MIB // 7),
    ],
    "lora": [
        b"lora_unet_" * (MIB // 10),
        b".lora_A" * (MIB // 7),
        b"model." * (MIB // 6),
        b"x.alpha\n" * 20_000,
    ],
}


@pytest.mark.parametrize("name", LARGE)
def test_a_megabyte_takes_2_s_and_300_mib_at_most(name: str, tmp_path: Path) -> None:
    before = memory_mib()
    for data in LARGE[name]:
        assert tried(TARGETS[name], data, tmp_path) is None
    assert memory_mib() - before < MOST_MIB
