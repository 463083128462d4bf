"""`loratui completion SHELL`: the lines with which bash, zsh or fish ask loratui what may come next."""

from __future__ import annotations

import argparse
import sys

SHELLS = ("bash", "zsh", "fish")
_BEFORE = {"zsh": "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i; }\n"}
"""A fresh zsh has its completion switched off."""


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """SHELL."""
    del name
    parser.add_argument("shell", choices=SHELLS, help="bash, zsh or fish")


def run(args: argparse.Namespace) -> int:
    """Prints the lines; the examples of the help say where they go."""
    from argcomplete.shell_integration import shellcode

    sys.stdout.write(_BEFORE.get(args.shell, "") + shellcode(["loratui"], shell=args.shell))
    return 0
