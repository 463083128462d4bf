"""The way to this box from the person's own computer: ready lines for scp, in both directions, and for a forwarded port."""

from __future__ import annotations

import getpass
import ipaddress
import os
import shlex
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_PUBLIC = (("RUNPOD_PUBLIC_IP", "RUNPOD_TCP_PORT_22"), ("PUBLIC_IPADDR", "VAST_TCP_PORT_22"))
"""Variables in which GPU hosts that forward ports tell the address and port by which a box is reached from outside."""

_SSH_PORT = 22


@dataclass(frozen=True, slots=True)
class Address:
    """By what this box is reached, as far as it can know that."""

    user: str
    host: str
    port: int = _SSH_PORT
    doubt: str = ""
    """What may have to be changed; empty if nothing is doubtful."""

    @property
    def for_ssh(self) -> str:
        """`user@host`."""
        return f"{self.user}@{self.host}"

    @property
    def for_scp(self) -> str:
        """`user@host`, an IPv6 address in brackets."""
        return f"{self.user}@[{self.host}]" if ":" in self.host else self.for_ssh


@dataclass(frozen=True, slots=True)
class Upload:
    """A command for the person's own computer."""

    line: str
    doubt: str
    """What may have to be changed in it; empty if nothing is doubtful."""


def address(environ: Mapping[str, str] | None = None) -> Address:
    """What the box's host tells, else what ssh was called with, else its name."""
    env = os.environ if environ is None else environ
    for host, port in _PUBLIC:
        if env.get(host) and env.get(port, "").isdecimal():
            return Address(_user(), env[host], int(env[port]))
    parts = env.get("SSH_CONNECTION", "").split()
    if len(parts) == 4 and parts[3].isdecimal():
        doubt = f"If {parts[2]} is not the address that you gave to ssh, put that one (and its port) there."
        return Address(_user(), parts[2], int(parts[3]), doubt if _is_inside(parts[2]) else "")
    name = socket.gethostname()
    return Address(_user(), name, doubt=f"If ssh reaches this machine by another name than {name}, put that one there.")


def upload(target: Path, environ: Mapping[str, str] | None = None) -> Upload:
    """The `scp` line that brings a local folder `photos` to `target` on this machine.

    Into an existing folder its content is copied; else the folder is made, below the nearest one that exists. For a
    file the folder that holds it is meant.
    """
    way = address(environ)
    target = target.parent if target.is_file() else target
    parent = next((folder for folder in target.parents if folder.is_dir()), target.parent)
    exists = target.is_dir()
    place = f"{target}/" if exists else str(parent / target.name)
    # The star is for the person's own shell, so it stays unquoted.
    what = "photos/*" if exists else "photos"
    line = f"{shlex.join(['scp', *_scp_port(way), '-r'])} {what} {shlex.quote(f'{way.for_scp}:{place}')}"
    elsewhere = f"There is no folder {target.parent} yet: the images arrive in {place}, so type {place} as the folder then."
    elsewhere = "" if parent == target.parent else elsewhere
    return Upload(line, f"{elsewhere} {way.doubt}".strip())


def scp_line(path: Path, environ: Mapping[str, str] | None = None) -> str:
    """`scp` of a file or folder to where the person types it."""
    way = address(environ)
    return shlex.join(["scp", *_scp_port(way), *(["-r"] if path.is_dir() else []), f"{way.for_scp}:{path}", "."])


def forward_line(port: int, environ: Mapping[str, str] | None = None) -> str:
    """`ssh -L` that brings a loopback port of this box to the same port at the person's own computer."""
    way = address(environ)
    options = ["-p", str(way.port)] if way.port != _SSH_PORT else []
    return shlex.join(["ssh", "-N", "-L", f"{port}:127.0.0.1:{port}", *options, way.for_ssh])


def _scp_port(way: Address) -> list[str]:
    return ["-P", str(way.port)] if way.port != _SSH_PORT else []


def _is_inside(host: str) -> bool:
    """Whether an address is one of a private network, which nobody reaches from outside."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_private
    except ValueError:
        return True


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "root"
