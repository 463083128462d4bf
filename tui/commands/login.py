"""`loratui login`: stores a token of the Hugging Face hub where the hub's own tools look for it, or deletes it."""

from __future__ import annotations

import argparse
import getpass
import sys
from typing import TYPE_CHECKING

from loratui.engine.errors import ExitCode, UsageError
from loratui.tui.commands import common
from loratui.tui.plain.follow import say
from loratui.tui.terminal import clean

if TYPE_CHECKING:
    from loratui.engine.machine.hub import Account


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """`--status | --logout`, `--json`. There is no flag for the token: every user of a machine can read command lines."""
    del name
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--status", action="store_true", help="show whose token is in use")
    either.add_argument("--logout", action="store_true", help="delete the stored tokens")
    common.add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Asks for a token without showing it (or reads a pipe), checks it at the hub, and stores it.

    Returns 0, or 1 if `--status` finds no token or HF_TOKEN stays in use after `--logout`.
    JSON: `signed_in name role from_environment endpoint`.
    """
    from loratui.engine.machine import hub

    where = hub.endpoint()
    if args.logout:
        return _logout(args, where, hub.logout())
    account = hub.account() if args.status else hub.login(_token(where))
    if args.json:
        common.print_json(account_json(account, where))
    elif account is None:
        say(sys.stdout, clean(f"Not signed in to {where}."))
    else:
        say(sys.stdout, clean(account_text(account, where)))
    return int(ExitCode.DONE if account else ExitCode.WARNINGS)


def _logout(args: argparse.Namespace, where: str, out: bool) -> int:
    if args.json:
        common.print_json({**account_json(None, where), "signed_in": not out, "from_environment": not out})
    elif out:
        say(sys.stdout, "The stored tokens are deleted. If others had access to this machine, revoke the token too.")
    else:
        say(sys.stdout, "The stored tokens are deleted, but HF_TOKEN is set and stays in use. Unset it.")
    return int(ExitCode.DONE if out else ExitCode.WARNINGS)


def account_text(account: Account, where: str) -> str:
    """The owner of the token, and its rights."""
    kind = {"read": " that can read", "write": " that can also write; reading is enough"}.get(account.role, "")
    source = " (from HF_TOKEN)" if account.from_environment else ""
    return f"Signed in to {where} as {account.name}{source} with a token{kind}."


def account_json(account: Account | None, where: str) -> dict[str, object]:
    """The stable keys of `--json`."""
    return {
        "signed_in": account is not None,
        "name": account.name if account else None,
        "role": account.role if account else None,
        "from_environment": bool(account and account.from_environment),
        "endpoint": where,
    }


_LONGEST = 4096
"""Longest line that is read as a token; a device has no end."""


def _token(where: str) -> str:
    """The pasted token, or the first line of a pipe. Raises `UsageError` for an empty one."""
    if sys.stdin.isatty():
        say(sys.stderr, clean(f"Make a read token at {where}/settings/tokens and paste it here; it is not shown."))
        try:
            token = getpass.getpass("Token: ").strip()
        except UnicodeDecodeError:
            token = "\N{REPLACEMENT CHARACTER}"  # noqa: S105 - text that is not UTF-8 is no token, and is refused as one
    else:
        token = sys.stdin.readline(_LONGEST).strip()
    if not token:
        raise UsageError("No token was given.", "Paste it, or: loratui login < FILE")
    return token
