"""Before a start: warns or asks once if another account can write where loratui keeps its runs."""

from __future__ import annotations

import argparse
import os
import sys

from loratui.engine.errors import UsageError
from loratui.engine.runs import ownership
from loratui.engine.runs.directory import loratui_home
from loratui.tui.terminal import clean


def settle(args: argparse.Namespace) -> None:
    """Stores what `--trust` confirms; without it, asks root if somebody can answer, and warns others.

    Raises `UsageError` for a place that must not be used.
    """
    home = loratui_home()
    concern = ownership.concern_about(home)
    if args.trust:
        if concern is not None:
            ownership.trust(home)
        _trust_run(args)
        return
    if concern is None or ownership.is_trusted(home):
        return
    if os.geteuid() != 0:
        sys.stderr.write(f"warning: {clean(concern.message)} {clean(concern.remedy)}\n")
        return
    from loratui.tui.commands import common

    if getattr(args, "json", False) or not common.can_ask():
        ownership.require_trusted(home)
    sys.stderr.write(f"{clean(concern.message)} {clean(concern.remedy)}\n")
    if not common.ask("Use it anyway, from now on?", default=False):
        raise UsageError("Nothing was started.")
    ownership.trust(home)


def _trust_run(args: argparse.Namespace) -> None:
    """Confirms the run that the command names, if another account owns it."""
    from loratui.engine.runs.directory import open_run

    if getattr(args, "run_name", None) is not None:
        run = open_run(loratui_home(), args.run_name, to_read=True)
        if ownership.foreign_owner(run.path):
            ownership.trust(run.path)
