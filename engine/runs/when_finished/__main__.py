"""The process that carries out what was chosen for the end of a run; its supervisor starts it, and it inherits the lock."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from loratui.engine.errors import LoratuiError
from loratui.engine.machine.addresses import blotted
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.logs import print_whatever_the_disk_does
from loratui.engine.runs.when_finished.carry_out import Which, carry_out


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0, also where an action failed, or the exit code of an error that kept all of them from being told."""
    parser = argparse.ArgumentParser(prog="when_finished")
    parser.add_argument("run", type=Path)
    parser.add_argument("--which", choices=get_args(Which), default="left")
    args = parser.parse_args(argv)
    os.umask(0o077)
    print_whatever_the_disk_does()
    try:
        carry_out(RunDirectory(args.run), args.which)
    except LoratuiError as error:
        print(f"error: {blotted(str(error))}", file=sys.stderr, flush=True)
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
