"""How photos get onto this machine: a ready `scp` line, with what is known of the way in which the person came here."""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_PROXIES = (("RUNPOD_PUBLIC_IP", "RUNPOD_TCP_PORT_22"), ("PUBLIC_IPADDR", "VAST_TCP_PORT_22"))
"""Where GPU hosts that forward ports tell the address and port by which a box is reached from outside."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A command for the person's own computer."""

    line: str
    note: str
    """What may have to be changed in it; empty if nothing is doubtful."""


def upload_line(target: Path, environ: Mapping[str, str], user: str, hostname: str) -> Upload:
    """The `scp` line that brings a local folder `photos` to `target` on this machine.

    Into an existing folder its content is copied; else the folder is made, below the nearest one that exists.
    """
    host, port, note = _address(environ, hostname)
    parent = target.parent
    while not parent.is_dir() and parent != parent.parent:
        parent = parent.parent
    exists = target.is_dir()
    place = f"{target}/" if exists else str(parent / target.name)
    bracketed = f"[{host}]" if ":" in host else host
    what = "photos/*" if exists else "photos"
    option = f" -P {port}" if port not in ("", "22") else ""
    return Upload(f"scp{option} -r {what} {shlex.quote(f'{user}@{bracketed}:{place}')}", note)


def _address(environ: Mapping[str, str], hostname: str) -> tuple[str, str, str]:
    """(host, port, what is doubtful about them)."""
    for address, port in _PROXIES:
        if environ.get(address) and environ.get(port, "").isdecimal():
            return environ[address], environ[port], ""
    parts = environ.get("SSH_CONNECTION", "").split()
    if len(parts) == 4 and parts[3].isdecimal():
        try:
            inside = ipaddress.ip_address(parts[2].partition("%")[0]).is_private
        except ValueError:
            inside = True
        note = f"If {parts[2]} is not the address that you gave to ssh, put that one (and its port) there." if inside else ""
        return parts[2], parts[3], note
    return hostname, "", f"If ssh reaches this machine by another name than {hostname}, put that one there."
