"""`loratui help COMMAND`: the same as `loratui COMMAND --help`."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """COMMAND."""
    del name
    from loratui.tui.cli import COMMANDS

    parser.add_argument("about", metavar="COMMAND", nargs="?", choices=[*COMMANDS], help="command to explain")


def run(args: argparse.Namespace) -> int:
    """Prints the help; without a command the list of all."""
    from loratui.tui.cli import build_parser

    words = [args.about, "--help"] if args.about else ["--help"]
    build_parser(words).parse_args(words)
    return 0
