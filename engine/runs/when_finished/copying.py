"""Copies the LoRA files and the recipe of a run elsewhere, and compares them there by their hashes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from loratui.engine.errors import LoratuiError
from loratui.engine.limits import SMALL_FILE_BYTES
from loratui.engine.machine import hub
from loratui.engine.machine.addresses import blotted
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.when_finished import programs
from loratui.engine.runs.when_finished.ended import Ended
from loratui.engine.runs.when_finished.result import Result, stopped, tried
from loratui.engine.runs.when_finished.stopping import Stopping
from loratui.engine.untrusted import read_whole, sha256_of
from loratui.engine.words import count, listed

LONGEST_S = 12 * 3600.0
"""Of one program."""
_SILENT_S = 120
"""Seconds without data after which rsync and rclone give up."""
_CONNECT_S = 20

_RSYNC_FAULTS = (1, 2, 3, 4, 5, 6)
"""rsync(1): a wrong argument, a protocol, folder or action that cannot be; any other error may pass."""

Files = Mapping[str, str]
"""Path below the folder of all runs -> SHA-256."""


def carry_out(copy_to: str, ended: Ended, stopping: Stopping) -> Result:
    """Copies, then looks at what arrived. A copy that was begun before is completed, since every way of copying skips what is there."""
    if ended.outputs.problem:
        return Result("failed", f"Not copied: {ended.outputs.problem}", 0)
    kind, _, place = copy_to.partition(":")
    run = ended.run
    paths = [*ended.outputs.hashes, *([run.recipe] if run.recipe.exists() else [])]
    files = {f"{run.name}/{path.relative_to(run.path).as_posix()}": sha256_of(path) for path in paths}
    if not ended.outputs.hashes:
        return Result("skipped", "There is no LoRA file to copy.", 0)
    way = {"rsync": _by_rsync, "rclone": _by_rclone, "hub": _to_hub}[kind]
    result = tried(lambda: way(place, run, files, stopping), stopping)
    if result.state != "done":
        return result
    words = f"{count(len(files), 'file')} copied to {blotted(place)}, with the same hashes there."
    return Result("done", words, result.attempts)


def _by_rsync(place: str, run: RunDirectory, files: Files, stopping: Stopping) -> Result:
    """`--checksum` in a second, dry run has both sides hash every file, and lists what differs (rsync(1), `--itemize-changes`)."""
    shell = [] if os.environ.get("RSYNC_RSH") else ["-e", f"ssh -o BatchMode=yes -o ConnectTimeout={_CONNECT_S}"]
    common = ["rsync", "-tR", "--partial", f"--timeout={_SILENT_S}", *shell]
    copied = _run([*common, "--", *files, place], run, stopping)
    if copied.code != 0:
        return _failed("rsync", copied, stopping, passing=copied.code not in _RSYNC_FAULTS)
    looked = _run([*common, "--checksum", "--dry-run", "--itemize-changes", "--", *files, place], run, stopping)
    if looked.code != 0:
        return _failed("rsync", looked, stopping)
    return _compared([line.split(" ", 1)[-1] for line in looked.lines if line.startswith(("<", ">"))])


def _by_rclone(place: str, run: RunDirectory, files: Files, stopping: Stopping) -> Result:
    """`rclone hashsum` prints the hash that the place keeps; where it keeps no SHA-256 it fails, and `--download` reads the files back
    (rclone.org/commands/rclone_hashsum; tried with rclone 1.60, a local folder and an encrypted one)."""
    flags = ["--ask-password=false", f"--contimeout={_CONNECT_S}s", f"--timeout={_SILENT_S}s"]
    for name in files:
        copied = _run(["rclone", "copyto", *flags, "--", name, _joined(place, name)], run, stopping)
        if copied.code != 0:
            return _failed("rclone", copied, stopping)
    different = []
    for name, expected in files.items():
        for download in ([], ["--download"]):
            looked = _run(["rclone", "hashsum", "sha256", *flags, *download, "--", _joined(place, name)], run, stopping)
            told = {line.split()[0].lower() for line in looked.lines if line.strip()}
            hashes = {one for one in told if len(one) == len(expected) and not set(one) - set("0123456789abcdef")}
            if hashes or stopping.why:
                break
        if looked.code != 0:
            return _failed("rclone", looked, stopping)
        if hashes != {expected}:
            different.append(name)
    return _compared(different)


def _to_hub(place: str, run: RunDirectory, files: Files, stopping: Stopping) -> Result:
    """The hub tells the SHA-256 of a large file, and git's name of the content of a small one."""
    above = run.path.parent
    try:
        there = hub.upload(place, {name: above / name for name in files}, cancelled=lambda: bool(stopping.why))
    except LoratuiError as error:
        return Result("failed", blotted(str(error)), passing=getattr(error, "code", "") in ("network", "unavailable"))
    if there is None:
        return stopped(stopping)
    return _compared(differing({name: above / name for name in files}, there))


def differing(files: Mapping[str, Path], there: Mapping[str, str]) -> list[str]:
    """The names of files that the hub does not hold as they are here, by the hashes that it tells."""
    return [name for name, path in files.items() if there.get(name) not in (sha256_of(path), _git_name(path))]


def _git_name(path: Path) -> str:
    """Git's name of a file's content; only small files have it on the hub, so of a large one it is not made."""
    try:
        data = read_whole(path, SMALL_FILE_BYTES * 16, follow=False)
    except OSError:
        return ""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _joined(place: str, name: str) -> str:
    return f"{place}{name}" if place.endswith((":", "/")) else f"{place}/{name}"


def _run(words: list[str], run: RunDirectory, stopping: Stopping) -> programs.Ran:
    return programs.run(words, stopping, run.when_finished_log, longest_s=LONGEST_S, cwd=run.path.parent)


def _failed(program: str, ran: programs.Ran, stopping: Stopping, *, passing: bool = True) -> Result:
    if stopping.why and ran.code is None:
        return stopped(stopping)
    return Result("failed", f"{program} {ran.problem}" if ran.code else ran.problem, passing=passing and ran.code is not None)


def _compared(different: list[str]) -> Result:
    if different:
        return Result("failed", f"Copied, but the hashes there differ: {listed(different)}.", passing=True)
    return Result("done", "")


Way = Callable[[str, RunDirectory, Files, Stopping], Result]
