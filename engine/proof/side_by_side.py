"""Two LoRA files side by side: their images of the same prompts and seeds, and which of them a person votes for, blind or not."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from loratui.engine import durable
from loratui.engine.errors import UsageError
from loratui.engine.planning.recipe import read_recipe
from loratui.engine.proof.kept import read_parts
from loratui.engine.proof.notes import read_checklist
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.history import RunHistory
from loratui.engine.runs.lora_files import ENDING, lora_files
from loratui.engine.runs.tail import Tail
from loratui.engine.untrusted import Unreadable, finite, read_json
from loratui.engine.words import count

FORMAT = 1
"""Of `comparisons/ID.json` in the home."""
Vote = Literal["first", "second", "equal"]
COMPARED = ("likeness", "copy_layout", "copy_face", "variety", "sharpness")
"""Measures that are told of both files."""
_GAP = 8
"""Pixels between the two images of a sheet."""
BY_CHANCE = 0.1
"""A result that two equal files have more often than this says little."""


@dataclass(frozen=True, slots=True)
class Side:
    """A LoRA file of a run."""

    run: RunDirectory
    file: str
    """Relative to the run."""
    title: str


@dataclass(frozen=True, slots=True)
class Pair:
    """Two images of the same prompt and seed, in the order of the sides."""

    id: str
    prompt: str
    seed: int
    strength: float
    images: tuple[Path, Path]

    @property
    def swapped(self) -> bool:
        """Whether the second is shown on the left where nobody may know which is which."""
        return bool(hashlib.sha256(f"left {self.id}".encode()).digest()[0] & 1)


def side_of(run: RunDirectory, named: str = "") -> Side:
    """The file of a run that a step or a name means; without either the chosen one, else the finished or newest.

    Raises `UsageError` where the run has none.
    """
    files = lora_files(run, read_recipe(run.effective).settings)
    chosen = read_checklist(run.validation / "checklist.json").chosen
    file = chosen if chosen in files.all else files.final
    if named:
        names = {f"output/{named.removesuffix(ENDING)}{ENDING}", named}
        file = next((one for one in files.all if one in names or str(files.step_of.get(one)) == named), "")
    if not file:
        there = ", ".join(files.words(one) for one in files.all[:8])
        raise UsageError(f"{run.name} has no LoRA file {named}".rstrip() + ".", f"There are: {there}." if there else "")
    return Side(run, file, f"{run.name}, {files.words(file)}")


def pairs_of(first: Side, second: Side) -> list[Pair]:
    """The images that both files have of the same prompt, seed and strength; a prompt's trigger and class word may differ."""
    here, there = _images(first), _images(second)
    found = []
    for key, (prompt, path) in here.items():
        if key in there:
            other = there[key][1]
            id = hashlib.sha256(f"{path.name} {other.name}".encode()).hexdigest()[:16]
            found.append(Pair(id, prompt, key[1], key[2], (path, other)))
    return found


def figures_of(side: Side) -> dict[str, float | None]:
    """What was measured of a file at its usual strength, by measure; None where that is unknown."""
    found: dict[str, float | None] = dict.fromkeys(COMPARED)
    for part in read_parts(side.run.validation / "measures.json"):
        for row in part["measures"] if part["id"] in ("checkpoints", "strength") else ():
            points = row.get("curve")
            for point in points if isinstance(points, list) and row["id"] in found else ():
                is_it = isinstance(point, dict) and point.get("file") == side.file
                if is_it and (part["id"] == "checkpoints" or point.get("strength") == _usual(side)):
                    found[row["id"]] = finite(point.get("value"))
    return found


def _usual(side: Side) -> float:
    return read_recipe(side.run.effective).settings.validation.likely_strength


def _images(side: Side) -> dict[tuple[str, int, float], tuple[str, Path]]:
    dataset = read_recipe(side.run.effective).settings.dataset
    words = [(word, sign) for word, sign in ((dataset.trigger, "{trigger}"), (dataset.class_word, "{class}")) if word]
    history = RunHistory()
    for batch in Tail(side.run.validation_events).drain():
        history.apply_batch(batch)
    found = {}
    for image in history.grid_images:
        path = side.run.file(image.path)
        if image.file == side.file and finite(image.strength) and path is not None and path.is_file():
            plain = image.prompt
            for word, sign in words:
                plain = plain.replace(word, sign)
            found[plain, image.seed, image.strength] = image.prompt, path
    return found


@dataclass(frozen=True)
class Votes:
    """What a person thinks of the pairs of two files."""

    votes: Mapping[str, Vote] = field(default_factory=dict)
    """Id of a pair -> the better one."""

    def of(self, pairs: Sequence[Pair]) -> dict[str, int]:
        """How many pairs each has: `first`, `second`, `equal`, and `open` without a vote."""
        given = [self.votes.get(pair.id, "open") for pair in pairs]
        return {name: given.count(name) for name in (*get_args(Vote), "open")}

    def words(self, first: Side, second: Side, pairs: Sequence[Pair]) -> list[str]:
        """The result in sentences, with how often chance alone gives it."""
        counted = self.of(pairs)
        votes = f"{first.title}: {counted['first']}. {second.title}: {counted['second']}. Equal: {counted['equal']}."
        decided = counted["first"] + counted["second"]
        if not decided:
            return [votes]
        chance = by_chance(counted["first"], counted["second"])
        if chance > BY_CHANCE:
            return [votes, f"That is too close to say: two equal files give it in {chance:.0%} of all comparisons."]
        better = first if counted["first"] > counted["second"] else second
        return [votes, f"{better.title} is better: two equal files give this in {chance:.1%} of all comparisons."]


def by_chance(first: int, second: int) -> float:
    """How often votes at random are at least so uneven (the sign test, two-sided)."""
    most, all_votes = max(first, second), first + second
    tail: float = sum(math.comb(all_votes, k) for k in range(most, all_votes + 1)) / 2**all_votes
    return min(1.0, 2 * tail)


def votes_path(first: Side, second: Side) -> Path:
    """Where the votes of two files are kept: in the home of the first run, one file for each order."""
    key = hashlib.sha256("\n".join(_names(first, second)).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return first.run.path.parent.parent / "comparisons" / f"{key}.json"


def _names(first: Side, second: Side) -> Iterator[str]:
    for side in (first, second):
        yield from (side.run.name, side.file)


def read_votes(path: Path) -> Votes:
    """The votes in a file; none of those that cannot be read."""
    try:
        table: Any = read_json(path)
    except Unreadable:
        return Votes()
    given = table.get("votes") if isinstance(table, dict) and table.get("format") == FORMAT else None
    known = given if isinstance(given, dict) else {}
    return Votes({str(id): vote for id, vote in known.items() if vote in get_args(Vote)})


def vote(path: Path, first: Side, second: Side, pair: Pair, given: Vote | None) -> Votes:
    """Keeps a vote, or takes it back, with what the file holds at this moment. Raises `DiskError`."""
    votes = {id: known for id, known in read_votes(path).votes.items() if id != pair.id}
    if given is not None:
        votes[pair.id] = given
    durable.make_directory(path.parent)
    durable.write_json(path, {"format": FORMAT, "sides": list(_names(first, second)), "votes": votes})
    return Votes(votes)


def told(first: Side, second: Side, pairs: Sequence[Pair]) -> str:
    """What there is to compare, in a sentence."""
    return f"{count(len(pairs), 'pair')} of images of the same prompt and seed: {first.title} and {second.title}."


def sheet(first: Side, second: Side, pair: Pair, *, blind: bool = False) -> Path:
    """A PNG with both images of a pair beside each other, blind in the order of `swapped`, made once. Its name tells no order.

    Raises `ImageError`, `DiskError`.
    """
    import io

    from PIL import Image

    from loratui.engine.dataset.decoding import load_rgb

    name = hashlib.sha256(f"{pair.id} {blind}".encode()).hexdigest()[:16]
    path = votes_path(first, second).with_suffix("") / f"{name}.png"
    if not path.is_file():
        left, right = (load_rgb(image) for image in (pair.images[::-1] if blind and pair.swapped else pair.images))
        both = Image.new("RGB", (left.width + right.width + _GAP, max(left.height, right.height)), "white")
        both.paste(left, (0, 0))
        both.paste(right, (left.width + _GAP, 0))
        buffer = io.BytesIO()
        both.save(buffer, "PNG")
        durable.make_directory(path.parent)
        durable.write_file(path, buffer.getvalue(), durable=False)
    return path
