"""The lines that lead from the person's own computer to this box and back."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from loratui.tui.terminal import ssh_hints


@pytest.fixture(autouse=True)
def _me_on_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "me")
    monkeypatch.setattr("socket.gethostname", lambda: "pod")


def test_the_upload_is_quoted_and_knows_forwarded_ports(tmp_path: Path) -> None:
    there = tmp_path / "it's here"
    there.mkdir()
    made = ssh_hints.upload(there, {"RUNPOD_PUBLIC_IP": "8.8.4.4", "RUNPOD_TCP_PORT_22": "22044"})
    assert made.line.startswith("scp -P 22044 -r photos/* 'me@8.8.4.4:")
    assert shlex.split(made.line)[-1] == f"me@8.8.4.4:{there}/"
    assert made.doubt == ""


def test_an_inner_address_is_said_to_be_doubtful(tmp_path: Path) -> None:
    made = ssh_hints.upload(tmp_path / "a" / "new", {"SSH_CONNECTION": "1.2.3.4 5 10.0.0.2 22"})
    assert made.line == f"scp -r photos me@10.0.0.2:{tmp_path}/new"
    assert "10.0.0.2" in made.doubt
    assert f"arrive in {tmp_path}/new" in made.doubt  # scp makes one folder, not two
    assert f"type {tmp_path}/new as the folder" in made.doubt
    assert "pod" in ssh_hints.upload(tmp_path / "new", {"SSH_CONNECTION": "nonsense"}).doubt


def test_beside_a_file_more_images_come_into_its_folder(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"")
    made = ssh_hints.upload(tmp_path / "x.jpg", {"SSH_CONNECTION": "1.2.3.4 5 8.8.4.4 22"})
    assert made.line == f"scp -r photos/* me@8.8.4.4:{tmp_path}/"
    assert made.doubt == ""


def test_an_address_of_ipv6_stands_in_brackets_for_scp_alone(tmp_path: Path) -> None:
    six = {"SSH_CONNECTION": "::1 5 2001:4860:4860::8888 22"}
    assert "me@[2001:4860:4860::8888]:" in shlex.split(ssh_hints.upload(tmp_path / "new", six).line)[-1]
    assert shlex.split(ssh_hints.scp_line(tmp_path / "a b.png", six)) == [
        "scp",
        f"me@[2001:4860:4860::8888]:{tmp_path}/a b.png",
        ".",
    ]
    assert ssh_hints.forward_line(8000, six) == "ssh -N -L 8000:127.0.0.1:8000 me@2001:4860:4860::8888"


def test_all_lines_lead_to_the_same_box(tmp_path: Path) -> None:
    vast = {"PUBLIC_IPADDR": "5.6.7.8", "VAST_TCP_PORT_22": "40022", "SSH_CONNECTION": "1.2.3.4 5 172.17.0.2 22"}
    assert ssh_hints.scp_line(tmp_path, vast) == f"scp -P 40022 -r me@5.6.7.8:{tmp_path} ."
    assert ssh_hints.upload(tmp_path / "new", vast).line == f"scp -P 40022 -r photos me@5.6.7.8:{tmp_path}/new"
    assert ssh_hints.forward_line(9, vast) == "ssh -N -L 9:127.0.0.1:9 -p 40022 me@5.6.7.8"
