"""The one way in which loratui starts another program: what it inherits, and that the current folder holds no code for it.

The current folder is wherever a person stands, most often among images from somewhere, and the trainer's is the run, which may
have been unpacked from a stranger's archive. Nothing in either may be taken for a module, a library or a program.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, NoReturn

UMASK = 0o077
"""Of every child: what it makes is for its owner alone."""

_PYTHON_KEPT = frozenset(
    {
        "PYTHONHASHSEED",
        "PYTHONUTF8",  # how file names are spelled must be the same in parent and child
        "PYTHONCOERCECLOCALE",
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONNOUSERSITE",
        "PYTHONPLATLIBDIR",
        "PYTHON_CPU_COUNT",
        "PYTHON_GIL",
        # Folders, below. Rented boxes and clusters hand torch over by PYTHONPATH, so that dropping it would lose the install.
        "PYTHONPATH",
        "PYTHONHOME",
        "PYTHONUSERBASE",
        "PYTHONPYCACHEPREFIX",
    }
)
"""Variables of Python that say where an install lies or how it spells. All others change what a program does, and stay out:
PYTHONOPTIMIZE takes the assertions away, PYTHONWARNINGS turns warnings into errors, PYTHONINSPECT waits for a person,
PYTHONDEVMODE, PYTHONMALLOC and the tracers slow it down, PYTHONIOENCODING garbles what is read from its pipes."""

_FOLDERS = ("PATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "LD_AUDIT", "DYLD_LIBRARY_PATH", "DYLD_INSERT_LIBRARIES")
_PYTHON_FOLDERS = ("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONPYCACHEPREFIX")
"""Lists of places. An empty or relative one means the current folder: `LD_LIBRARY_PATH=/usr/local/cuda/lib64:` is common."""

_LARGE = ("torch", "transformers", "diffusers", "peft")
"""Libraries with thousands of modules."""

_COMPILED = {
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TRITON_CACHE_DIR": "triton",
    "TORCH_EXTENSIONS_DIR": "extensions",
    "CUDA_CACHE_PATH": "cuda",
}
"""Caches of machine code -> their folders. By default some lie in /tmp under a name that anybody can take first."""


ENDING = (signal.SIGTERM, signal.SIGINT)
"""The signals that ask a process of a run to end."""


@contextlib.contextmanager
def held_back() -> Iterator[set[int]]:
    """Within the block neither this thread nor a child that it starts takes a signal of `ENDING`; each comes later. Gives what is held
    back outside of the block. The child lets them through with `let_through` once it can answer them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield {int(number) for number in before}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_through() -> None:
    """Takes the signals of `ENDING`, also those that came while they were held back."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def command(module: str, *arguments: str) -> list[str]:
    """How a module of loratui is started. `-P`: the current folder holds no modules."""
    return [sys.executable, "-P", "-m", module, *arguments]


def environment(environ: Mapping[str, str] | None = None, *, compiled: Path | None = None, **more: str) -> dict[str, str]:
    """What a child inherits of `environ`, with `more` added.

    `compiled` is the folder for what torch, inductor, Triton and CUDA compile, and Python where it would do so at each start; a place
    that the person names is kept.
    """
    env = os.environ if environ is None else environ
    kept = {name: value for name, value in env.items() if not name.startswith("PYTHON") or name in _PYTHON_KEPT}
    for name in (*_FOLDERS, *_PYTHON_FOLDERS):
        if name in kept:
            kept[name] = _absolute_only(name, kept[name])
            if not kept[name]:
                del kept[name]
    # Whatever the child starts in turn, such as inductor's compile workers, is started without -P.
    kept["PYTHONSAFEPATH"] = "1"
    if compiled is not None:
        for name, folder in _COMPILED.items():
            if not kept.get(name, "").startswith("/"):
                kept[name] = str(compiled / folder)
        if "PYTHONPYCACHEPREFIX" not in kept and _compiles_at_each_start(kept):
            kept.pop("PYTHONDONTWRITEBYTECODE", None)
            kept["PYTHONPYCACHEPREFIX"] = str(compiled / "python")
    return {**kept, **more}


def start(
    arguments: Sequence[str],
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int | IO[bytes],
    stderr: int | IO[bytes],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
    detached: bool = True,
) -> subprocess.Popen[bytes]:
    """Starts a command of `command`. `detached` puts it into a session of its own, so that it outlives this process and its
    terminal; otherwise it dies with them. `env` is one of `environment`.

    Raises `OSError`.
    """
    return subprocess.Popen(
        list(arguments),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=environment() if env is None else dict(env),
        cwd=cwd,
        umask=UMASK,
        close_fds=True,
        pass_fds=pass_fds,
        start_new_session=detached,
    )


def ask(program: str, *arguments: str, timeout_s: float, environ: Mapping[str, str] | None = None) -> bytes:
    """What another program of the machine prints; one that lies in the current folder is not taken.

    Raises `OSError` if there is no such program, `subprocess.TimeoutExpired`.
    """
    env = environment(environ)
    found = shutil.which(program, path=env.get("PATH", os.defpath))
    if found is None:
        raise FileNotFoundError(program)
    done = subprocess.run(
        [found, *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False, env=env
    )
    return done.stdout


def become(arguments: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    """Replaces this process by a command of `command` in an environment of `environment`. Raises `OSError`."""
    os.execve(arguments[0], list(arguments), dict(env))  # noqa: S606 - a list, no shell


def begin_anew() -> NoReturn:
    """Replaces this process by the very command that the person gave. Raises `OSError`.

    It trusts what that one trusted: with `python -m` the current folder, where loratui itself may lie.
    """
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - a list, no shell


def _compiles_at_each_start(env: Mapping[str, str]) -> bool:
    """Whether Python compiles a large library from its source each time, which takes ten seconds or more: its compiled form is missing,
    as in many containers, and must not or cannot be written beside it."""
    for library in _LARGE:
        found = importlib.util.find_spec(library)  # imports nothing
        if found is None or not found.origin or not found.cached or Path(found.cached).exists():
            continue
        if "PYTHONDONTWRITEBYTECODE" in env or not os.access(Path(found.origin).parent, os.W_OK):
            return True
    return False


def _absolute_only(name: str, value: str) -> str:
    """`value` without the entries that lead to the current folder."""
    separators: tuple[str, ...] = (" ", ":") if name == "LD_PRELOAD" else (os.pathsep,)
    for separator in separators[1:]:
        value = value.replace(separator, separators[0])
    # A library's name without a folder is looked for where the system keeps libraries, not here.
    bare = name in ("LD_PRELOAD", "LD_AUDIT")
    parts = [part for part in value.split(separators[0]) if part.startswith("/") or (bare and part and "/" not in part)]
    return separators[0].join(parts)
