"""`loratui` without a command: the app, or the wizard in plain lines where there is no terminal for it."""

from __future__ import annotations

import argparse

from loratui.tui.terminal import wants_plain


def run(args: argparse.Namespace) -> int:
    """Opens the list of runs; in plain mode asks what to do."""
    if wants_plain(args.plain):
        from loratui.tui.plain import run_plain

        return run_plain()
    from loratui.tui.app import run_app

    return run_app()
