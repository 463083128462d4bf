"""`loratui completion SHELL`: the lines with which bash, zsh or fish ask loratui what may come next."""

from __future__ import annotations

import argparse
import sys

SHELLS = ("bash", "zsh", "fish")


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """SHELL."""
    del name
    parser.add_argument("shell", choices=SHELLS, help="bash, zsh or fish")


def run(args: argparse.Namespace) -> int:
    """Prints the lines; the examples of the help say where they go."""
    from argcomplete.shell_integration import shellcode

    sys.stdout.write(shellcode(["loratui"], shell=args.shell))
    return 0
