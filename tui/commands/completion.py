"""`loratui completion SHELL`: the lines that make bash, zsh or fish complete loratui's words."""

from __future__ import annotations

import argparse
import sys

SHELLS = ("bash", "zsh", "fish")
_BEFORE = {"zsh": "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i; }\n"}
"""Completion is off in a new zsh."""


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """SHELL."""
    del name
    parser.add_argument("shell", choices=SHELLS, help="bash, zsh or fish")


def run(args: argparse.Namespace) -> int:
    """Prints the lines; the examples of the help show where they go."""
    from argcomplete.shell_integration import shellcode

    sys.stdout.write(_BEFORE.get(args.shell, "") + shellcode(["loratui"], shell=args.shell))
    return 0
