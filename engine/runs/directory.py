"""The run directory: its paths, and how a run is made, found, listed and deleted."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import secrets
import time
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loratui.engine import durable, sealed, untrusted
from loratui.engine.durable import MARKER
from loratui.engine.errors import UsageError
from loratui.engine.runs import contents, lock, ownership
from loratui.engine.untrusted import finite

FORMAT = 1
"""Version of the run directory; runs with a higher one are refused."""

RUN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")


class _Place:
    """A path below a run."""

    def __init__(self, relative: str) -> None:
        self._relative = relative

    def __get__(self, run: RunDirectory, _type: type | None = None) -> Path:
        return run.path / self._relative


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The paths of one run. Making the object touches no disk."""

    path: Path

    marker = _Place(MARKER)
    """Format and time of creation, as JSON."""
    recipe = _Place("recipe.toml")
    """What the person chose."""
    effective = _Place("effective.toml")
    """Every value in force."""
    dataset = _Place("dataset.json")
    """The ledger of images."""
    base_readings = _Place("base.json")
    """What was read of the untouched base, by the probe before the start or by the trainer before its first step."""
    events = _Place("events.jsonl")
    """The event log of training."""
    state = _Place("state.json")
    """The snapshot of the state that the log adds up to."""
    changes = _Place("changes.json")
    """What a person changed while the run trains."""
    lineage = _Place("lineage.json")
    """What the run began from."""
    when_finished = _Place("when_finished.json")
    """What a person chose, after the start, to be done at the end."""
    bounds = _Place("bounds.json")
    """How long a person lets it wait, where that was changed after the start."""
    accepted = _Place("accepted.json")
    """What a person accepted that has changed since the run began."""
    lock = _Place("run.lock")
    """The file that is locked while the run is alive."""
    control = _Place("control")
    """The folder for commands."""
    log = _Place("log")
    """The folder of what the processes print."""
    trainer_log = _Place("log/trainer.log")
    supervisor_log = _Place("log/supervisor.log")
    when_finished_log = _Place("log/when_finished.log")
    checkpoints = _Place("checkpoints")
    samples = _Place("samples")
    output = _Place("output")
    """The folder of the LoRA files."""
    validation = _Place("validation")
    """The folder of the validation."""
    validation_events = _Place("validation/events.jsonl")
    """The event log of the job `validate`."""
    cache = _Place("cache")
    """The folder of latents and text embeddings."""

    @property
    def name(self) -> str:
        """The run's name, by which commands take it."""
        return self.path.name

    @property
    def fingerprints(self) -> Path:
        """The home's digests of bases, for all its runs."""
        return self.path.parent.parent / "fingerprints.json"

    def inside(self, relative: str) -> Path:
        """A file that the run's own records name. Raises `UsageError` for a name that leads out of the run."""
        path = self.file(relative)
        if path is None:
            message = f"The records of {self.name} name a file outside of the run ({relative!r})."
            raise UsageError(message, "Check that loratui made this run.")
        return path

    def file(self, relative: str) -> Path | None:
        """As `inside`; None for an empty name and for one that leads out of the run."""
        return untrusted.inside(self.path, relative)

    def events_of(self, job: str) -> Path:
        """The event log of a job, `train` or `validate`."""
        return self.validation_events if job == "validate" else self.events

    def checkpoint(self, step: int) -> Path:
        """Folder of the checkpoint after an optimizer step."""
        return self.checkpoints / f"step-{step:06d}"

    def checkpoint_steps(self) -> list[int]:
        """Optimizer steps that have a checkpoint's folder, complete or not, lowest first."""
        steps = {int(found[1]): name for name in _names(self.checkpoints) if (found := re.fullmatch(r"step-(\d{1,12})", name))}
        return sorted(step for step, name in steps.items() if self.checkpoint(step).name == name)

    def last_checkpoint_step(self) -> int:
        """The highest optimizer step with a complete checkpoint (its manifest is written last); 0 if there is none."""
        return max((s for s in self.checkpoint_steps() if (self.checkpoint(s) / "MANIFEST.json").is_file()), default=0)

    def created(self) -> float:
        """When the run was made, in seconds since 1970 by that machine's clock; 0 if that cannot be read."""
        return finite(sealed.marker_of(self.path).get("created")) or 0.0

    def edited(self) -> list[str]:
        """Of the recipe and the values in force, the files that are not as they were when the run was made."""
        sums = sealed.marker_of(self.path).get("sha256")
        known = sums if isinstance(sums, dict) else {}
        return [path.name for path in (self.recipe, self.effective) if path.name in known and _sum(path) != known[path.name]]


def loratui_home(
    environ: Mapping[str, str] | None = None, workspace: Path = Path("/workspace"), *, usable: bool = True
) -> Path:
    """The folder that holds `runs/`: `LORATUI_HOME`, else `loratui` on the rented machine's volume, else the XDG data folder.

    It creates nothing. Raises `UsageError` if there is no such place or, if it must be `usable`, if it is a file.
    """
    env = os.environ if environ is None else environ
    chosen = env.get("LORATUI_HOME", "")
    if chosen:
        home = _absolute(chosen, env, "LORATUI_HOME")
        if usable and home.is_file():
            raise UsageError(f"{home} is a file; runs need a folder.", "Choose a folder with --home or LORATUI_HOME.")
        return home
    if workspace.is_dir() and os.access(workspace, os.W_OK | os.X_OK):
        return workspace / "loratui"
    data = env.get("XDG_DATA_HOME", "")
    # The XDG base directory specification ignores relative paths.
    return (Path(data) if data.startswith("/") else _absolute("~/.local/share", env, "HOME")) / "loratui"


def compiled_folder(run: RunDirectory) -> Path:
    """The folder of the machine code that torch compiles for a run: that of the home, for all runs, if it can be trusted."""
    try:
        home = loratui_home(usable=False)
    except UsageError:
        return run.cache / "compiled"
    return ownership.compiled_folder(home, run.path)


def safe_name(text: str, *, longest: int = 48) -> str:
    """`text` as the beginning of a file name: ASCII letters, digits, `.`, `_` and `-`, starting with none of `.-`."""
    plain = unicodedata.normalize("NFKD", text[:1000]).encode("ascii", "ignore").decode("ascii")
    name = re.sub(r"[^A-Za-z0-9._]+", "-", plain)
    name = re.sub(r"\.{2,}", ".", name).strip(".-")[:longest].strip(".-")
    return name or "run"


def create_run(
    home: Path,
    name: str,
    *,
    recipe_toml: str,
    effective_toml: str,
    ledger: Mapping[str, Any],
    today: str | None = None,
    folder: str = "runs",
    more: Callable[[Path], object] = bool,
) -> RunDirectory:
    """A new run directory with its recipe and ledger, named like `anafox-20261121-1`, complete from its first moment.

    `name` becomes the start of its name; `today` (YYYYMMDD) replaces the date; `folder` is another folder of `home`; `more` puts
    what else it has from the beginning into the folder that it is given.
    Raises `DiskError` or `UsageError`, and leaves nothing half written.
    """
    ownership.require_trusted(home)
    runs = home / folder
    try:
        recipe, effective = recipe_toml.encode("utf-8"), effective_toml.encode("utf-8")
    except UnicodeEncodeError:
        words = "A path of the recipe has bytes that are not UTF-8, so the recipe cannot be saved."
        raise UsageError(words, "Rename the folder or the file.") from None
    durable.make_directory(runs)
    stem = f"{safe_name(name)}-{today or time.strftime('%Y%m%d')}"
    taken = [int(n[len(stem) + 1 :]) for n in _names(runs) if re.fullmatch(re.escape(stem) + r"-\d{1,6}", n)]
    number = max(taken, default=0)
    while True:
        number += 1
        final = runs / f"{stem}-{number}"
        try:
            with durable.building(final) as temporary:
                _fill(temporary, final.name, recipe, effective, ledger)
                more(temporary)
        except FileExistsError:
            continue
        return RunDirectory(final)


def open_run(home: Path, name_or_path: str, *, to_read: bool = False, to_delete: bool = False) -> RunDirectory:
    """The run of that name, at that path, or, for `latest`, the newest run.

    Raises `UsageError` if there is none (with near names), if a newer loratui made it, if another user owns it and it is
    not `to_read`, or if it holds entries such as links and is not `to_delete`.
    """
    path = _find_run(home, name_or_path)
    owner = path.lstat().st_uid
    if not to_read and os.geteuid() not in (0, owner):
        remedy = "View it with --view-only, copy it, or log in as that user."
        raise UsageError(f"{path} belongs to another user (uid {owner}).", remedy)
    if not to_delete:
        contents.require_sound(path)
    made_by = sealed.marker_of(path).get("format")
    if isinstance(made_by, int) and made_by > FORMAT:
        message = f"A newer loratui made {path.name} (format {made_by}; this version reads up to {FORMAT})."
        raise UsageError(message, "Update loratui.")
    return RunDirectory(path)


def list_runs(home: Path, folder: str = "runs") -> list[RunDirectory]:
    """All runs, newest first."""
    found = [RunDirectory(home / folder / name) for name in _names(home / folder) if not name.startswith(".")]
    runs = [run for run in found if _is_run(run.path)]
    return sorted(runs, key=lambda run: (run.created(), _natural(run.name)), reverse=True)


def renamed_to(run: RunDirectory) -> str:
    """The name of the only other run in its folder that was made under the name of this one, which is gone; "" if there is none."""
    others = [other.name for other in list_runs(run.path.parent.parent, run.path.parent.name) if other.name != run.name]
    made_as = [name for name in others if sealed.marker_of(run.path.parent / name).get("name") == run.name]
    return made_as[0] if len(made_as) == 1 else ""


def delete_run(run: RunDirectory) -> None:
    """Deletes a run and everything in it. Raises `UsageError` if the folder is not a run or is alive."""
    if not _is_run(run.path):
        raise UsageError(f"{run.path} is not a run of loratui. loratui did not delete it.")
    # The lock keeps others from starting the run until its name is gone.
    held = lock.acquire(run.lock, to_delete=True)
    try:
        durable.remove_tree(run.path)
    finally:
        held.release()
    durable.sweep_leftovers(run.path.parent, temporary=False)


def _fill(folder: Path, name: str, recipe: bytes, effective: bytes, ledger: Mapping[str, Any]) -> None:
    new = RunDirectory(folder)
    for sub in contents.FOLDERS:
        durable.make_directory(folder / sub)
    durable.write_file(new.recipe, recipe, durable=False)
    durable.write_file(new.effective, effective, durable=False)
    made = {"format": FORMAT, "name": name, "id": secrets.token_hex(8), "created": round(time.time(), 3)}
    made["sha256"] = {
        path.name: hashlib.sha256(data).hexdigest() for path, data in ((new.recipe, recipe), (new.effective, effective))
    }
    durable.write_json(new.marker, {**made, sealed.CRC: sealed.checksum(made)}, durable=False)
    sealed.write(new.dataset, ledger, folder, lasting=False)


def _find_run(home: Path, name_or_path: str) -> Path:
    if name_or_path == "latest":
        runs = list_runs(home)
        if not runs:
            raise UsageError(f"There are no runs in {home}.", "Start one: loratui train FOLDER --preset NAME")
        return runs[0].path
    if os.sep in name_or_path or name_or_path in (".", ".."):
        path = Path(name_or_path).resolve() if "\0" not in name_or_path else Path()
    else:
        path = home / "runs" / (name_or_path if RUN_NAME.fullmatch(name_or_path) else "")
    if not _is_run(path):
        raise _no_such_run(home, name_or_path)
    return path


def _is_run(path: Path) -> bool:
    """Whether `path` is a folder, not a link to one, that holds the marker."""
    try:
        return not path.is_symlink() and (path / MARKER).is_file()
    except OSError:
        return False


def _sum(path: Path) -> str:
    try:
        return hashlib.sha256(untrusted.read_small(path, follow=False)).hexdigest()
    except OSError:
        return ""


def _no_such_run(home: Path, wanted: str) -> UsageError:
    now = renamed_to(RunDirectory(home / "runs" / wanted)) if RUN_NAME.fullmatch(wanted) else ""
    if now:
        return UsageError(f"{wanted} was renamed: it is {now} now.", f"Use that name, for example: loratui attach {now}")
    names = [run.name for run in list_runs(home)]
    near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.5) or [n for n in names if n.startswith(wanted)][:3]
    if near:
        return UsageError(f"There is no run {wanted}.", f"Did you mean {' or '.join(near)}?")
    return UsageError(f"There is no run {wanted} in {home}.", "loratui runs lists them." if names else "There are no runs yet.")


def _absolute(text: str, env: Mapping[str, str], variable: str) -> Path:
    if text == "~" or text.startswith("~/"):
        user_home = env.get("HOME", "")
        if not user_home.startswith("/"):
            raise UsageError(f"{variable} is below the home folder, but HOME is not set.", "Choose a folder with --home DIR.")
        text = user_home + text[1:]
    return Path(os.path.abspath(text))  # noqa: PTH100 - Path.absolute() keeps ".."


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - only names are needed
    except OSError:
        return []


def _natural(name: str) -> list[tuple[int, str]]:
    """A sort key that puts run 10 after run 9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
