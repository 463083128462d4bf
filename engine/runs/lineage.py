"""What a run goes back to: a checkpoint of another run, a LoRA file, or advice on a run. It is kept in the run; a hash of what it began
from is in the LoRA files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from loratui.engine import sealed
from loratui.engine.durable import MARKER
from loratui.engine.errors import UsageError
from loratui.engine.formats.safetensors_file import read_metadata
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.untrusted import open_regular

FORMAT = 1
Kind = Literal["continues", "starts_from", "planned_from", "imported"]
"""`continues`: a checkpoint, with optimizer and order; `starts_from`: the weights of a LoRA file alone; `planned_from`: no weights, the plan
of a run changed by the advice of its validation; `imported`: a LoRA file that is only validated, as it is."""
_MOST_ANCESTORS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """One step back."""

    kind: Kind
    run: str
    """Name of the run; empty for a file of no run."""
    path: str
    """Folder of that run, or the file; it may be gone by now."""
    step: int
    """Optimizer step; 0 where the file does not tell it, and for a plan."""
    sha256: str
    """Of the LoRA file, or of the checkpoint's weights; empty for a plan."""

    @property
    def words(self) -> str:
        """`continues anafox-20261121-1 from step 360`, `starts from step 360 of anafox-20261121-1`."""
        if self.kind == "planned_from":
            return f"planned from {self.run}"
        step = f"step {self.step}" if self.step else ""
        if self.kind == "continues":
            return f"continues {self.run} from {step}"
        if self.kind == "imported":
            return f"imported from {f'{step} of {self.run}' if step and self.run else Path(self.path).name}"
        return f"starts from {' of '.join(part for part in (step, self.run) if part) or Path(self.path).name}"

    @property
    def told_in_files(self) -> str:
        """For the metadata of a LoRA file, which names no run and no path: whoever has the beginning knows it by its hash. Empty for a
        plan, from which no weights come."""
        if not self.sha256:
            return ""
        what = f"checkpoint of step {self.step}" if self.kind == "continues" else "LoRA file"
        return f"{what}, sha256 {self.sha256}"


def keep(run: RunDirectory, lineage: Lineage) -> None:
    """Writes what a run begins from. Raises `DiskError`."""
    sealed.write(run.lineage, {"v": FORMAT, **asdict(lineage)}, run.path)


def lineage_of(run: RunDirectory) -> Lineage | None:
    """What a run began from; None for one that began anew, and where it is not known."""
    try:
        body = sealed.read(run.lineage, run.path)
    except OSError:
        return None
    if not isinstance(body, dict) or body.get("v") != FORMAT or body.get("kind") not in get_args(Kind):
        return None
    texts: dict[str, Any] = {name: body.get(name) for name in ("run", "path", "sha256")}
    step = body.get("step")
    if not all(isinstance(text, str) for text in texts.values()) or not isinstance(step, int) or isinstance(step, bool):
        return None
    return Lineage(kind=body["kind"], step=step, **texts)


def is_imported(run: RunDirectory) -> bool:
    """Whether a run is a LoRA file that is only validated: nothing is trained in it."""
    began = lineage_of(run)
    return began is not None and began.kind == "imported"


def ancestors(run: RunDirectory) -> tuple[Lineage, ...]:
    """All that a run goes back to, the nearest first, as far as their runs are there."""
    return tuple(_ancestors(run))


def _ancestors(run: RunDirectory) -> Iterator[Lineage]:
    seen: set[str] = set()
    for _ in range(_MOST_ANCESTORS):
        found = lineage_of(run)
        if found is None:
            return
        yield found
        if not found.run or found.path in seen:
            return
        seen.add(found.path)
        folder = Path(found.path)
        run = RunDirectory(folder if found.kind in ("continues", "planned_from") else folder.parent.parent)


def of_file(path: Path, kind: Kind = "starts_from") -> Lineage:
    """What begins from the weights of a LoRA file, or is one. Raises `UsageError` for a file that cannot be read."""
    try:
        with open_regular(path) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}", "Give the path of a .safetensors LoRA.") from None
    told = read_metadata(path).get("ss_steps", "")
    folder = path.absolute().parent.parent
    is_runs = path.absolute().parent == RunDirectory(folder).output and (folder / MARKER).is_file()
    step = int(told) if told.isascii() and told.isdecimal() and len(told) < 16 else 0
    return Lineage(kind=kind, run=folder.name if is_runs else "", path=str(path.absolute()), step=step, sha256=digest)
