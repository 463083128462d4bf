"""Ready scp and ssh lines for the person's own computer: files in both directions, and a forwarded port."""

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
"""Variables in which GPU hosts that forward ports give a machine's outside address and port."""

_SSH_PORT = 22


@dataclass(frozen=True, slots=True)
class _Address:
    """How ssh reaches this machine, as far as the machine can know."""

    user: str
    host: str
    port: int = _SSH_PORT
    doubt: str = ""

    def of(self, path: Path | str) -> str:
        """`user@host:path` for scp, an IPv6 address in brackets."""
        return f"{self.user}@{f'[{self.host}]' if ':' in self.host else self.host}:{path}"

    def port_option(self, letter: str) -> list[str]:
        """The option for a port other than 22."""
        return [letter, str(self.port)] if self.port != _SSH_PORT else []


@dataclass(frozen=True, slots=True)
class Upload:
    """A command for the person's own computer."""

    line: str
    doubt: str
    """What the person may have to change in it; empty if nothing."""


def _address(environ: Mapping[str, str] | None) -> _Address:
    """From the host's variables, else from the ssh connection, else the machine's name."""
    env = os.environ if environ is None else environ
    for host, port in _PUBLIC:
        if env.get(host) and env.get(port, "").isdecimal():
            return _Address(_user(), env[host], int(env[port]))
    parts = env.get("SSH_CONNECTION", "").split()
    if len(parts) == 4 and parts[3].isdecimal():
        doubt = f"If you gave ssh another address than {parts[2]}, use that address (and its port)."
        return _Address(_user(), parts[2], int(parts[3]), doubt if _is_inside(parts[2]) else "")
    name = socket.gethostname()
    return _Address(_user(), name, doubt=f"If ssh reaches this machine by another name than {name}, use that name.")


def upload(target: Path, environ: Mapping[str, str] | None = None) -> Upload:
    """The `scp` line that copies a local folder `photos` to `target` on this machine.

    It copies the content into an existing folder; otherwise it makes the folder, below the nearest one that exists. For a
    file, the target is the folder that holds it.
    """
    way = _address(environ)
    target = target.parent if target.is_file() else target
    parent = next((folder for folder in target.parents if folder.is_dir()), target.parent)
    exists = target.is_dir()
    place = f"{target}/" if exists else str(parent / target.name)
    # The person's own shell expands the star, so it stays unquoted.
    what = "photos/*" if exists else "photos"
    line = f"{shlex.join(['scp', *way.port_option('-P'), '-r'])} {what} {shlex.quote(way.of(place))}"
    elsewhere = f"There is no folder {target.parent} yet: the images arrive in {place}. Then type {place} as the folder."
    elsewhere = "" if parent == target.parent else elsewhere
    return Upload(line, f"{elsewhere} {way.doubt}".strip())


def scp_line(path: Path, environ: Mapping[str, str] | None = None) -> str:
    """The `scp` line that copies a file or folder to where the person types it."""
    way = _address(environ)
    return shlex.join(["scp", *way.port_option("-P"), *(["-r"] if path.is_dir() else []), way.of(path), "."])


def forward_line(port: int, environ: Mapping[str, str] | None = None) -> str:
    """The `ssh -L` line that brings a loopback port of this machine to the same port of the person's own computer."""
    way = _address(environ)
    return shlex.join(["ssh", "-N", "-L", f"{port}:127.0.0.1:{port}", *way.port_option("-p"), f"{way.user}@{way.host}"])


def _is_inside(host: str) -> bool:
    """Whether an address belongs to a private network, unreachable from outside."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_private
    except ValueError:
        return True


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "root"
