"""`loratui` without a command: the app, or the wizard in plain lines where there is no terminal for it."""

from __future__ import annotations

import argparse

from loratui.engine.errors import UsageError
from loratui.tui.terminal import wants_plain


def run(args: argparse.Namespace) -> int:
    """Opens the list of runs; in plain mode asks what to do."""
    if wants_plain(args.plain):
        if args.view_only:
            raise UsageError(
                "Without the full-screen app there is nothing to look at here.", "Say: loratui runs, or loratui status."
            )
        from loratui.tui.plain import run_plain

        return run_plain()
    from loratui.tui.run_app import run_app

    return run_app(view_only=args.view_only)
