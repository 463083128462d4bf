"""The validation in plain lines: its parts in turn, then the files and the export."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from loratui.engine.errors import LoratuiError
from loratui.engine.handover import keep
from loratui.engine.handover.keep import Keep
from loratui.engine.proof import notes
from loratui.engine.proof.judgement import Advice, read_judgement
from loratui.engine.proof.kept import read_parts
from loratui.engine.proof.notes import Checklist
from loratui.engine.proof.told import sentence
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.lora_files import lora_files
from loratui.tui.paths import path_from_text
from loratui.tui.plain.asking import Asker
from loratui.tui.terminal import ssh_hints
from loratui.tui.validation import checklist, grid_images, verdict_words
from loratui.tui.validation.checklist import POINTS, SEEN, Point
from loratui.tui.validation.grid_images import Slot, Subject, Tile

if TYPE_CHECKING:
    from loratui.presets.schema import Settings

Say = Callable[[str], None]


def walk(run: RunDirectory, ask: Asker, say: Say) -> Advice | None:
    """Goes through the validation of a run, and gives the advice of which the person wants the plan. Raises `DiskError`, and `UsageError` for a checklist of a newer loratui."""
    from loratui.engine.planning.recipe import read_recipe

    return _Walk(run, read_recipe(run.effective).settings, ask, say).whole()


def say_judgement(run: RunDirectory, say: Say) -> None:
    """The verdict on the run's images with its advice; nothing if there is none."""
    from loratui.engine.planning.recipe import read_recipe

    judged = read_judgement(run, read_recipe(run.effective).settings)
    for line in verdict_words.lines(judged, run.name) if judged else ():
        say(line)


class _Walk:
    def __init__(self, run: RunDirectory, settings: Settings, ask: Asker, say: Say) -> None:
        self._run, self._settings, self._ask, self._say = run, settings, ask, say
        self._path = run.validation / "checklist.json"
        self._kept = notes.read_checklist(self._path)
        dataset = settings.dataset
        files = lora_files(run, settings)
        self._subject = Subject(dataset.trigger, dataset.class_word, settings.validation.likely_strength, files)
        self._slots = _slots(run)
        self._measured = {part["id"]: part["measures"] for part in read_parts(run.validation / "measures.json")}

    def whole(self) -> Advice | None:
        say_judgement(self._run, self._say)
        for at, point in enumerate(POINTS[:-1], 1):
            self._part(at, point)
        self._say(f"{len(POINTS)}. {POINTS[-1].title}: {POINTS[-1].why}")
        self._next_step()
        files = self._subject.files.all
        if files:
            self._files(files)
        self._ask_tick(POINTS[-1], "Is the validation done?")
        self._say(f"{len(self._kept.ticked)} of {len(POINTS)} ticked.")
        self._say(f"A report to send to others: loratui report {self._run.name}")
        return self._advice()

    def _advice(self) -> Advice | None:
        """Which advice the person wants to apply."""
        judged = read_judgement(self._run, self._settings)
        advice = [one for one in judged.advice if one.do.use is None and not one.do.re_caption] if judged else []
        advice = [one for one in advice if not verdict_words.is_for_the_person(one)]
        if not advice:
            return None
        at = self._ask.choose("Plan the next run?", ["No", *(one.change for one in advice)])
        return advice[at - 1] if at else None

    def _part(self, at: int, point: Point) -> None:
        dataset = self._settings.dataset
        look_at = point.look_at.replace("{trigger}", dataset.trigger).replace("{class}", dataset.class_word)
        self._say(f"{at}. {point.title}: {look_at}")
        table = grid_images.table(point.id, self._slots, self._subject)
        made = [tile for tile in table.tiles if tile.slot.made and not tile.training]
        for tile in made[:8]:
            self._say(f"   {self._words(tile)}")
        if len(made) > 8:
            self._say(f"   and {len(made) - 8} more")
        if not made:
            self._say("   There are no images for this yet.")
        for row in self._measured.get(point.id, ()):
            self._say(f"   {sentence(row)}")
        self._ask_tick(point, f"{point.look_for} Tick this part?")
        note = self._ask.text("Note (may be empty)", self._kept.notes.get(point.id, ""))
        if note != self._kept.notes.get(point.id, ""):
            self._keep(lambda kept: kept.note(point.id, note))

    def _ask_tick(self, point: Point, question: str) -> None:
        ticked = point.id in self._kept.ticked
        if self._ask.confirm(question, default=ticked) != ticked:
            self._keep(lambda kept: kept.toggle(point.id))

    def _words(self, tile: Tile) -> str:
        slot = tile.slot
        file = f"{self._subject.files.words(slot.file)}, strength {slot.strength:g}" if slot.strength else "the base alone"
        like = f"; {grid_images.likeness(slot.similarity).word} {slot.nearest}" if slot.nearest else ""
        return f"{self._run.path / slot.path}: {file}, {slot.prompt}, seed {slot.seed}{like}"

    def _next_step(self) -> None:
        for seen in SEEN:
            known = seen.id in self._kept.seen
            if self._ask.confirm(f"Seen: {seen.seen}?", default=known) != known:
                self._keep(partial(Checklist.toggle_seen, id=seen.id))
            if seen.id in self._kept.seen:
                do = checklist.advice(seen, **checklist.numbers(self._settings))
                self._say(f"   Do: {do}.")

    def _files(self, files: tuple[str, ...]) -> None:
        names = [f"{self._subject.files.words(file)} {'★' * self._kept.mark(file).rating}".rstrip() for file in files]
        now = files.index(self._kept.chosen) + 1 if self._kept.chosen in files else 0
        at = self._ask.choose("Which file do you choose?", ["None yet", *names], now)
        chosen = files[at - 1] if at else ""
        if chosen != self._kept.chosen:
            self._keep(lambda kept: kept.choose(chosen or kept.chosen))
        if not chosen:
            return
        ratings = ["Not rated", *("★" * stars for stars in range(1, notes.MOST_STARS + 1))]
        stars = self._ask.choose("How good is it?", ratings, self._kept.mark(chosen).rating)
        if stars != self._kept.mark(chosen).rating:
            self._keep(lambda kept: kept.rate(chosen, stars))
        if self._ask.confirm("Keep it under a name?", default=False):
            self._export(chosen)

    def _export(self, file: str) -> None:
        name = self._ask.text("Name, without its ending", Path(file).stem)
        own = self._run.path / "export"
        folder = path_from_text(self._ask.path("Folder", str(own))) or own
        wanted = Keep(file, name, folder.absolute())
        try:
            kept = keep.keep(self._run, self._settings, wanted)
        except LoratuiError as error:
            self._say(f"The file was not written: {error}")
            return
        self._say(f"Written: {kept.path}, and {', '.join(path.name for path in kept.beside)} beside it.")
        if kept.no_preview:
            self._say(kept.no_preview)
        for line in keep.place_lines(kept):
            self._say(f"  {line}")
        self._say(f"On your own computer: {ssh_hints.scp_line(keep.all_of(kept))}")
        self._say(keep.licence_note(self._settings))

    def _keep(self, change: Callable[[Checklist], Checklist]) -> None:
        self._kept = notes.update(self._path, change)


def _slots(run: RunDirectory) -> list[Slot]:
    from loratui.engine.runs.history import RunHistory
    from loratui.engine.runs.tail import Tail

    history = RunHistory()
    for batch in Tail(run.validation_events).drain():
        history.apply_batch(batch)
    return grid_images.merged(grid_images.read_listed(run.validation / "grid.json"), history.grid_images)
