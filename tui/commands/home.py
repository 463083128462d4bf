"""`loratui` without a command: the app, or the plain wizard if there is no terminal for it."""

from __future__ import annotations

import argparse

from loratui.engine.errors import UsageError
from loratui.tui.terminal import wants_plain


def run(args: argparse.Namespace) -> int:
    """Opens the list of runs; in plain mode starts the wizard."""
    if wants_plain(args.plain):
        if args.view_only:
            raise UsageError("--view-only needs the full-screen app.", "Use loratui runs, or loratui status.")
        from loratui.tui.plain import run_plain

        return run_plain()
    from loratui.tui.run_app import run_app

    return run_app(view_only=args.view_only)
