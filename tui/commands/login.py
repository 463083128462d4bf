"""`loratui login`: keeps a token of the Hugging Face hub where all of the hub's tools look for it, or forgets it."""

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
    either.add_argument("--status", action="store_true", help="say whose token is in use")
    either.add_argument("--logout", action="store_true", help="delete the stored tokens")
    common.add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Asks for a token without showing it (or reads it from a pipe), has the hub confirm it, and keeps it.

    Returns 0, or 1 if `--status` finds no token or a token of the environment outlives `--logout`.
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
        say(sys.stdout, clean(f"Not signed in at {where}."))
    else:
        say(sys.stdout, clean(account_text(account, where)))
    return int(ExitCode.DONE if account else ExitCode.WARNINGS)


def _logout(args: argparse.Namespace, where: str, out: bool) -> int:
    if args.json:
        common.print_json({**account_json(None, where), "signed_in": not out, "from_environment": not out})
    elif out:
        say(sys.stdout, "The stored tokens are deleted. On a rented box, revoke the token too if others had access.")
    else:
        say(sys.stdout, "The stored tokens are deleted, but HF_TOKEN is set in the environment and stays in use. Unset it.")
    return int(ExitCode.DONE if out else ExitCode.WARNINGS)


def account_text(account: Account, where: str) -> str:
    """Whose token it is, and what it may do."""
    kind = {"read": ", which may read", "write": ", which may also write: one that reads is enough"}.get(account.role, "")
    source = " (from HF_TOKEN)" if account.from_environment else ""
    return f"Signed in at {where} as {account.name}{source} with a token{kind}."


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
"""Letters of a line that may be a token: a device in its place has no end."""


def _token(where: str) -> str:
    """What the person pastes, or the first line of a pipe. Raises `UsageError` for nothing."""
    if sys.stdin.isatty():
        say(sys.stderr, clean(f"Make a token with the right to read at {where}/settings/tokens and paste it; it is not shown."))
        try:
            token = getpass.getpass("Token: ").strip()
        except UnicodeDecodeError:
            token = "\N{REPLACEMENT CHARACTER}"  # noqa: S105 - what is no UTF-8 is no token; the check of all tokens says so
    else:
        token = sys.stdin.readline(_LONGEST).strip()
    if not token:
        raise UsageError("No token was given.", "Paste it, or: loratui login < FILE")
    return token
