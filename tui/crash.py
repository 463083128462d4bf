"""What is needed to report a fault: versions, terminal and last errors as text without secrets, and a crash report on disk."""

from __future__ import annotations

import os
import platform
import re
import sys
import time
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path

from loratui.engine import durable
from loratui.engine.errors import LoratuiError
from loratui.engine.secrecy import hidden
from loratui.tui.terminal import clean, clean_lines

_TERMINAL_VARIABLES = ("TERM", "COLORTERM", "TERM_PROGRAM", "TMUX", "STY", "SSH_TTY", "NO_COLOR", "LANG", "LC_ALL", "LC_CTYPE")
_PACKAGES = ("textual", "rich", "torch", "diffusers", "transformers", "peft", "safetensors", "Pillow")


def scrubbed(text: str, environ: Mapping[str, str] | None = None) -> str:
    """`text` without tokens, passwords and the names of the home folder and the user."""
    env = os.environ if environ is None else environ
    text = hidden(text, env)
    home = env.get("HOME", "").rstrip("/")
    if len(home) > 1:
        text = re.sub(re.escape(home) + r"(?=[/\s'\":,)]|$)", "~", text)
    return re.sub(r"/(home|Users)/[^/\s'\":,)]+", r"/\1/…", text)


def facts(
    size: tuple[int, int] | None = None, *, theme: str = "", environ: Mapping[str, str] | None = None
) -> list[tuple[str, str]]:
    """Versions, machine and terminal, as pairs of name and value. Loads none of the packages that it names."""
    from loratui.engine.machine import hardware

    env = os.environ if environ is None else environ
    found = hardware.versions(("loratui", *_PACKAGES))
    cards = ", ".join(f"{gpu.name} {gpu.total_gib:.0f} GiB, driver {gpu.driver}" for gpu in hardware.gpus())
    memory = hardware.ram()
    rows = [
        ("loratui", found.pop("loratui") or "not installed"),
        ("Python", f"{platform.python_version()} on {platform.system()} {platform.release()} {platform.machine()}"),
        ("packages", ", ".join(f"{name} {version or '–'}" for name, version in found.items())),
        ("GPU", cards or "none that the driver tells of"),
        (
            "memory",
            f"{memory.total_gib:.0f} GiB{' (limited by the container)' if memory.limited else ''}, {hardware.allowed_cpus()} CPUs",
        ),
        (
            "terminal",
            ", ".join(f"{name}={_shown(name, env[name])}" for name in _TERMINAL_VARIABLES if name in env) or "no variables set",
        ),
        ("encoding", f"{sys.__stdout__.encoding if sys.__stdout__ else '–'}, file names {sys.getfilesystemencoding()}"),
    ]
    if size:
        rows.append(("window", f"{size[0]}×{size[1]}{f', theme {theme}' if theme else ''}"))
    return rows


def report(rows: Iterable[tuple[str, str]], errors: Iterable[str] = (), trace: str = "") -> str:
    """The text to paste into a bug report, scrubbed."""
    lines = [f"{name + ':':<10} {value}" for name, value in rows]
    told = list(errors)
    if told:
        lines += ["", "last errors:", *(f"  {line}" for line in told)]
    if trace:
        lines += ["", trace.rstrip()]
    return clean_lines(scrubbed("\n".join(lines)), 60_000)


def write_crash_report(error: BaseException, home: Path, errors: Iterable[str] = ()) -> Path | None:
    """Writes down a fault of the app itself below `home`, else in the temporary folder; None if neither takes it."""
    import tempfile

    trace = "".join(traceback.format_exception(error, limit=40))
    try:
        rows = facts()
    except Exception as second:  # a report without the facts is better than none
        rows = [("facts", f"not available: {second}")]
    data = (report(rows, errors, trace) + "\n").encode("utf-8", "replace")
    name = f"crash-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    for folder in (home / "reports", Path(tempfile.gettempdir())):
        try:
            durable.make_directory(folder)
            durable.write_new(folder / name, data)
        except (LoratuiError, OSError):
            continue
        return folder / name
    return None


def crash_message(error: BaseException, path: Path | None) -> str:
    """What a person reads when the window is gone by a fault of the app."""
    where = f"A report is in {clean(path)}; nothing in it names you or your secrets." if path else "No report could be written."
    what = clean(scrubbed(f"{type(error).__name__}: {error}"), 300)
    return (
        f"loratui ended because of an error in itself: {what}\n{where}\n"
        "Runs are processes of their own and go on; loratui comes back to them, and loratui --plain does without the window."
    )


def start_again_if_wanted() -> None:
    """Asks for a key, where a person sits at a terminal, and starts this program anew for `r`; else it returns."""
    import termios
    import tty

    if not (sys.__stdin__ and sys.__stdin__.isatty() and sys.__stderr__ and sys.__stderr__.isatty()):
        return
    fd = sys.__stdin__.fileno()
    sys.__stderr__.write("r starts loratui again; any other key leaves.\n")
    sys.__stderr__.flush()
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd, termios.TCSAFLUSH)  # what was typed before the question is no answer to it
        key = os.read(fd, 1)
    except (KeyboardInterrupt, OSError):
        return
    finally:
        termios.tcsetattr(fd, termios.TCSAFLUSH, before)
    if key in (b"r", b"R"):
        from loratui.engine import children

        # A new process: nothing of what went wrong in this one is left.
        children.begin_anew()


def _shown(name: str, value: str) -> str:
    return "set" if name in ("TMUX", "STY", "SSH_TTY") else clean(value, 40)
