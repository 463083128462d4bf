"""The end of a log as it may go into an event."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loratui.engine.runs.logs import log_tail
from loratui.engine.secrecy import hidden


def tail(tmp_path: Path, data: bytes, start: int = 0) -> list[str]:
    (tmp_path / "log").write_bytes(data)
    return log_tail(tmp_path / "log", start, {})


def test_the_last_twenty_lines_without_empty_ones(tmp_path: Path) -> None:
    assert tail(tmp_path, b"".join(b"%d\n\n" % i for i in range(50))) == [str(i) for i in range(30, 50)]


def test_only_what_was_written_since_the_start_counts(tmp_path: Path) -> None:
    assert tail(tmp_path, b"earlier\nnow\n", start=8) == ["now"]
    assert tail(tmp_path, b"earlier\n", start=500) == []


def test_of_a_progress_bar_the_last_state_is_kept(tmp_path: Path) -> None:
    assert tail(tmp_path, b"  0%|  |\r 50%|# |\r100%|##|\r\nnext\r\n") == ["100%|##|", "next"]


def test_escapes_and_control_bytes_are_taken_out(tmp_path: Path) -> None:
    data = b"\x1b[31mred\x1b[0m \x1b]0;title\x07tab\there \x1b]8;;http://x\x1b\\link\x00\x07\x9b caf\xe9\n"
    assert tail(tmp_path, data) == [
        "red tab\there link caf\N{REPLACEMENT CHARACTER}".replace("link ", "link\N{REPLACEMENT CHARACTER} ")
    ]


def test_long_lines_are_cut(tmp_path: Path) -> None:
    (line,) = tail(tmp_path, b"x" * 10_000_000)
    assert len(line) == 400
    assert line.endswith("…")


def test_a_missing_log_has_no_lines(tmp_path: Path) -> None:
    assert log_tail(tmp_path / "none") == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(st.binary(max_size=500))
def test_whatever_is_in_the_log_the_lines_are_harmless(tmp_path: Path, data: bytes) -> None:
    lines = tail(tmp_path, data)
    assert len(lines) <= 20
    assert not [c for line in lines for c in line if (ord(c) < 0x20 and c != "\t") or 0x7F <= ord(c) <= 0x9F]


@pytest.mark.parametrize(
    "secret",
    [
        "hf_" + "Ab1" * 12,
        "sk-" + "a1" * 20,
        "AKIA" + "ABCD1234" * 2,
        "ghp_" + "a" * 36,
        "value-of-a-secret",
    ],
)
def test_secrets_are_blotted_out(secret: str) -> None:
    environ = {"WANDB_API_KEY": "value-of-a-secret", "PATH": "/usr/bin", "SHORT_KEY": "usr"}
    assert hidden(f"GET /usr/bin token={secret} end", environ) == "GET /usr/bin token=[hidden] end"


def test_passwords_in_addresses_and_headers_are_blotted_out() -> None:
    assert hidden("https://me:pass@host/x", {}) == "https://[hidden]@host/x"
    assert hidden("Authorization: Bearer abc.def", {}) == "Authorization: Bearer [hidden]"


@pytest.mark.parametrize("between", [b"\x1b[0m", b"\x1b]0;a\x07", b"\x08", b"\x00", b"\xc2\x9b"])
def test_a_secret_is_hidden_that_escapes_or_control_bytes_cut(tmp_path: Path, between: bytes) -> None:
    (tmp_path / "log").write_bytes(b"token hf_AbCdEf" + between + b"GhIjKlMn and value-of" + between + b"-a-secret\n")
    (line,) = log_tail(tmp_path / "log", 0, {"WANDB_API_KEY": "value-of-a-secret"})
    assert not re.search("AbCd|GhIj|value|secret", line), line


def test_a_line_that_begins_before_what_is_read_is_left_out(tmp_path: Path) -> None:
    rest = b"x" * (32_768 - 1 - len("GhIjKlMn\n"))
    assert tail(tmp_path, b"earlier\ntoken hf_AbCdEfGhIjKlMn\n" + rest + b"\n") == ["x" * 399 + "…"]
