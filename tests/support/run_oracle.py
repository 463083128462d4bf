"""What must hold of a run that was killed at any moment: nothing that was told is lost, nothing that is not whole is visible."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.events import Event, read_events
from loratui.engine.runs.summary import summarise
from loratui.engine.training.checkpoint import newest_good

LEFTOVERS = (".tmp", ".removed")


@dataclass(frozen=True)
class Undisturbed:
    """What an uninterrupted run came to."""

    losses: dict[int, str]
    """Step -> loss as a hex float."""
    final: dict[str, str]
    """Part of the end -> its SHA-256."""


def undisturbed(run: RunDirectory) -> Undisturbed:
    losses = {event.get("step"): float(event.get("loss")).hex() for event in _events(run) if event.type == "step"}
    return Undisturbed(losses, _final(run))


def acknowledged_step(run: RunDirectory) -> int:
    """The highest step whose checkpoint was reported."""
    return max((event.count("step") for event in _events(run) if event.type == "checkpoint_written"), default=0)


def problems(run: RunDirectory, reference: Undisturbed, *, swept: bool) -> Iterator[str]:
    """What is wrong with a run after a kill; `swept`: its leftovers were taken away since."""
    events = _events(run)
    numbers = [event.seq for event in events]
    if numbers != sorted(set(numbers)):
        yield f"the numbers of the events do not rise: {numbers}"
    told = acknowledged_step(run)
    bad: list[str] = []
    newest = newest_good(run, bad.append)
    if (newest.position.step if newest else 0) < told:
        yield f"step {told} was told, and the newest checkpoint is {newest and newest.position.step}"
    yield from (f"the product says of a checkpoint: {words}" for words in bad)
    for step in run.checkpoint_steps():
        yield from _broken(run.checkpoint(step))
    outputs = {event.text("path"): event.text("sha256") for event in events if event.type == "output_written"}
    for relative, digest in outputs.items():
        if not (run.path / relative).is_file() or _sum(run.path / relative) != digest:
            yield f"{relative} was told, and is not what was told"
    for path in run.output.glob("*.safetensors"):
        if not path.name.startswith(".") and not _is_safetensors(path):
            yield f"{path.name} is no whole LoRA file"
    for path in run.samples.rglob("*.png"):
        if not path.name.startswith("."):
            try:
                with Image.open(path) as image:
                    image.load()
            except OSError as error:
                yield f"{path.relative_to(run.path)}: {error}"
    for path in (run.state, run.dataset, run.effective, run.marker):
        if path.suffix == ".json" and path.exists():
            try:
                json.loads(path.read_bytes())
            except ValueError as error:
                yield f"{path.name}: {error}"
    if swept:
        yield from (f"{path.relative_to(run.path)} was left" for path in run.path.rglob(".*") if path.name.endswith(LEFTOVERS))
    for event in events:
        if event.type == "step" and float(event.get("loss")).hex() != reference.losses.get(event.get("step")):
            yield f"the loss of step {event.get('step')} is another"
    if (status := summarise(run).status) in ("paused", "stalled"):
        yield f"the run is said to be {status}"


def end_problems(run: RunDirectory, reference: Undisturbed) -> Iterator[str]:
    """What is wrong with a run that came to its end."""
    yield from problems(run, reference, swept=True)
    made = undisturbed(run)
    if made.losses.keys() != reference.losses.keys():
        yield f"losses are known of the steps {sorted(made.losses)}"
    yield from (f"{part} at the end is another" for part in reference.final if made.final.get(part) != reference.final[part])
    if (status := summarise(run).status) != "done":
        yield f"the run is {status} at its end"


def _final(run: RunDirectory) -> dict[str, str]:
    """The SHA-256 of weights, average, optimizer, position and LoRA file at the end."""
    folder = run.checkpoint(run.last_checkpoint_step())
    found = {path.name: _sum(path) for path in folder.glob("*.safetensors")}
    state = json.loads((folder / "state.json").read_bytes())
    kept = json.dumps([state["position"], state["optimizer"], state["epoch_loss"], state["scaling"]])
    found["state"] = hashlib.sha256(kept.encode()).hexdigest()
    for path in run.output.glob("*.safetensors"):
        data = path.read_bytes()
        found[f"tensors of {path.name}"] = hashlib.sha256(data[8 + int.from_bytes(data[:8], "little") :]).hexdigest()
    return found


def _broken(folder: Path) -> Iterator[str]:
    """What a checkpoint lacks, by its manifest, without the product's own reading."""
    try:
        rows = json.loads((folder / "MANIFEST.json").read_bytes())["files"]
    except (OSError, ValueError, KeyError) as error:
        yield f"{folder.name} is visible without a manifest: {error}"
        return
    for name, row in rows.items():
        if (
            not (folder / name).is_file()
            or (folder / name).stat().st_size != row["bytes"]
            or _sum(folder / name) != row["sha256"]
        ):
            yield f"{folder.name}/{name} is not what its manifest says"


def _is_safetensors(path: Path) -> bool:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    try:
        ends = [row["data_offsets"][1] for name, row in json.loads(data[8 : 8 + length]).items() if name != "__metadata__"]
    except (ValueError, KeyError):
        return False
    return len(data) == 8 + length + max(ends)


def _events(run: RunDirectory) -> list[Event]:
    return list(read_events(run.events, 0, 1 << 30).events)


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
