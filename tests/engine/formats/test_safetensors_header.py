"""Headers of files from anywhere: hostile, damaged, or simply something else."""

from __future__ import annotations

import json
import os
import pickle
import struct
import time
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load

from loratui.engine.errors import UsageError
from loratui.engine.formats.safetensors_file import NotSafetensors, read_checked, read_header


def make(path: Path, header: object, data: bytes) -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + data)
    return path


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def test_a_good_file(tmp_path: Path) -> None:
    header = read_header(make(tmp_path / "x", {"__metadata__": {"a": "b"}, "w": ENTRY}, bytes(8)))
    assert header.metadata == {"a": "b"}
    assert header.tensors["w"].shape == (2,)


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ({"w": ENTRY}, bytes(7)),
        ({"w": ENTRY}, bytes(9)),
        ({"w": {**ENTRY, "data_offsets": [4, 12]}}, bytes(12)),
        ({"w": ENTRY, "v": ENTRY}, bytes(8)),
        ({"w": {**ENTRY, "shape": [3]}}, bytes(8)),
        ({"w": {**ENTRY, "shape": [-2]}}, bytes(8)),
        ({"w": {**ENTRY, "dtype": "EVIL"}}, bytes(8)),
        ({"w": {**ENTRY, "dtype": ["F32"]}}, bytes(8)),
        ({"w": {**ENTRY, "dtype": {}}}, bytes(8)),
        ({"w": [1]}, bytes(8)),
        ([1], b""),
        (b"\xff\xfe", b""),
        (b"[" * 100_000, b""),
        (b'{"w":' + b"9" * 5_000 + b"}", b""),
        ({"__metadata__": {"a": 1}}, b""),
        ({"\ud800": ENTRY}, bytes(8)),
        ({"w": {**ENTRY, "shape": [2**64, 0], "data_offsets": [0, 0]}}, b""),
        ({"w": {**ENTRY, "shape": [2**40] * 5 + [0], "data_offsets": [0, 0]}}, b""),
        ({"w": {**ENTRY, "shape": [1] * 100_000 + [2]}}, bytes(8)),
        ({"w": {**ENTRY, "shape": [10**60] * 8}}, bytes(8)),
        ({"w": {**ENTRY, "shape": [True, 2]}}, bytes(8)),
        ({"w": {**ENTRY, "shape": [2.0]}}, bytes(8)),
        ({"w": {**ENTRY, "shape": "11"}}, bytes(8)),
        ({"w": {**ENTRY, "shape": {"2": 2}}}, bytes(8)),
        ({"w": {**ENTRY, "data_offsets": [False, 8]}}, bytes(8)),
        ({"w": {**ENTRY, "data_offsets": [-8, 0]}}, bytes(8)),
        ({"w": {**ENTRY, "data_offsets": [8, 0]}}, bytes(8)),
        ({"w": {**ENTRY, "data_offsets": [10**50, 10**50 + 8]}}, bytes(8)),
        ({"w": {**ENTRY, "data_offsets": "08"}}, bytes(8)),
        ({"w": ENTRY, "v": {**ENTRY, "data_offsets": [4, 12]}}, bytes(12)),
        ({"w": {**ENTRY, "shape": [2], "data_offsets": [0, 8], "x": [[[[]]]]}}, bytes(8)),
        (b'{"w":%s,"w":%s}' % (json.dumps(ENTRY).encode(), json.dumps(ENTRY).encode()), bytes(8)),
        (b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[-0,8]}}', bytes(8)),
        (b'{"w":{"dtype":"F32","shape":[NaN],"data_offsets":[0,8]}}', bytes(8)),
        ({str(n): {**ENTRY, "shape": [0], "data_offsets": [0, 0]} for n in range(70_000)}, b""),
        ({"__metadata__": {"a": "\udfff"}, "w": ENTRY}, bytes(8)),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, header: object, data: bytes) -> None:
    started = time.process_time()
    path = make(tmp_path / "x", header, data)
    with pytest.raises(UsageError) as caught:
        read_header(path)
    assert len(str(caught.value)) < 1000
    with pytest.raises(UsageError):
        read_checked(path, 1 << 30)
    assert time.process_time() - started < 4


def test_no_name_out_of_a_file_makes_a_message_long(tmp_path: Path) -> None:
    for entry in ({**ENTRY, "dtype": "E" * 500_000}, {**ENTRY, "shape": [3]}, [1]):
        with pytest.raises(UsageError) as caught:
            read_header(make(tmp_path / "x", {"n" * 500_000: entry}, bytes(8)))
        assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("shape", [[], [0], [0, 5], [2, 0, 3]])
def test_what_the_library_reads_is_read_here_too(tmp_path: Path, shape: list[int]) -> None:
    size = 4 if not shape else 0
    path = make(tmp_path / "x", {"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}}, bytes(size))
    assert read_header(path).tensors["w"].shape == tuple(shape)
    assert list(load(path.read_bytes())["w"].shape) == shape


def test_a_file_is_checked_before_another_library_sees_it(tmp_path: Path) -> None:
    path = make(tmp_path / "x", {"w": ENTRY}, bytes(8))
    header, data = read_checked(path, 1000)
    assert (list(header.tensors), len(data)) == (["w"], path.stat().st_size)
    with pytest.raises(UsageError, match="larger than 10 bytes"):
        read_checked(path, 10)


def test_a_huge_header_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(struct.pack("<Q", 2**62) + bytes(100))
    with pytest.raises(UsageError, match="not a safetensors file"):
        read_header(path)


def test_a_header_that_is_there_but_too_long_is_named_so(tmp_path: Path) -> None:
    """Such a file may be in order: captions and tag counts of a large dataset stand in there."""
    path = make(tmp_path / "x", {"__metadata__": {"ss_tag_frequency": "x" * (17 << 20)}, "w": ENTRY}, bytes(8))
    with pytest.raises(NotSafetensors, match=r"header of 17\.8 MB"):
        read_header(path)


def test_letters_that_are_written_as_two_halves_are_no_fault(tmp_path: Path) -> None:
    assert read_header(make(tmp_path / "x", {"__metadata__": {"a": "🦊"}, "🦊": ENTRY}, bytes(8))).tensors.keys() == {"🦊"}


def test_a_pickle_in_disguise_is_named_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(pickle.dumps({"weights": list(range(1000))}))
    with pytest.raises(UsageError, match="pickle"):
        read_header(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", bytes(1000))
    with pytest.raises(UsageError, match=r"\.ckpt"):
        read_header(path)
    path.write_bytes(b"GGUF" + bytes(1000))
    with pytest.raises(UsageError, match="GGUF"):
        read_header(path)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(data)
    try:
        read_header(path)
    except UsageError:
        return
    assert len(data) >= 10


def test_a_number_format_that_is_not_known_is_named(tmp_path: Path) -> None:
    path = make(tmp_path / "x", {"w": {"dtype": "C64", "shape": [1], "data_offsets": [0, 8]}}, bytes(8))
    with pytest.raises(UsageError, match=r"'w' is stored as 'C64', a number format that is not known here"):
        read_header(path)


def test_what_is_no_file_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(UsageError, match="it is no file"):
            read_header(path)
