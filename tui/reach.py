"""The way to this box from the person's own computer: ready lines for scp and for a forwarded port."""

from __future__ import annotations

import getpass
import os
import shlex
import socket
from collections.abc import Mapping
from pathlib import Path

_PUBLIC = (("RUNPOD_PUBLIC_IP", "RUNPOD_TCP_PORT_22"), ("PUBLIC_IPADDR", "VAST_TCP_PORT_22"))
"""Variables in which GPU hosts tell the address and port by which a box is reached from outside."""


def address(environ: Mapping[str, str] | None = None) -> tuple[str, int]:
    """(`user@host`, port) as far as this box can know it: what its host tells, else what ssh was called with, else its name.

    A box behind a router may know only its inner address; the words that show the line say so.
    """
    env = os.environ if environ is None else environ
    for host, port in _PUBLIC:
        if env.get(host) and env.get(port, "").isdecimal():
            return f"{_user()}@{env[host]}", int(env[port])
    parts = env.get("SSH_CONNECTION", "").split()
    if len(parts) == 4 and parts[3].isdecimal():
        return f"{_user()}@{parts[2]}", int(parts[3])
    return f"{_user()}@{socket.gethostname()}", 22


def scp_line(path: Path, environ: Mapping[str, str] | None = None) -> str:
    """`scp` of a file or folder to where the person types it."""
    who, port = address(environ)
    options = (["-P", str(port)] if port != 22 else []) + (["-r"] if path.is_dir() else [])
    user, _, host = who.partition("@")
    bracketed = f"{user}@[{host}]" if ":" in host else who
    return shlex.join(["scp", *options, f"{bracketed}:{path}", "."])


def forward_line(port: int, environ: Mapping[str, str] | None = None) -> str:
    """`ssh -L` that brings a loopback port of this box to the same port at the person's own computer."""
    who, ssh_port = address(environ)
    options = ["-p", str(ssh_port)] if ssh_port != 22 else []
    return shlex.join(["ssh", "-N", "-L", f"{port}:127.0.0.1:{port}", *options, who])


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "root"
