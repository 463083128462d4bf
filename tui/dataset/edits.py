"""What a person has chosen for a folder of images so far: remedies and caption edits, with undo; nothing is carried out here."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from loratui.engine.dataset import remedies
from loratui.engine.dataset.captions import normalised
from loratui.engine.dataset.contents import LeftOut
from loratui.engine.dataset.facts import ImageFacts
from loratui.engine.dataset.prepared_copy import read_history
from loratui.engine.dataset.remedies import Kind, Remedy
from loratui.engine.dataset.scan import DatasetScan, ImageEntry, without
from loratui.engine.untrusted import parse_json

BY_CHOICE = "left out by you"
MOST_UNDO = 100
MOST_KEPT = 400_000
"""Characters of choices that are kept with a draft."""
_WITHOUT_FACTS = ("left_out", "sound", "edited", "names", "unusable")
"""What is worked out once for each preparation, and does not depend on the facts."""


@dataclass(frozen=True)
class Choices:
    """What is to be done, as of one moment."""

    remedies: tuple[Remedy, ...] = ()
    captions: Mapping[str, str] = field(default_factory=dict)
    """Relative path -> caption that was typed and not saved; only where it differs from what is on the disk."""


@dataclass(frozen=True)
class DatasetEdits:
    """A folder and what is to become of it. The folder itself stays as it is until something is carried out."""

    given: str
    """What was typed: a folder or a zip."""
    scan: DatasetScan
    """The folder as read; of a zip the place where it was unpacked."""
    chosen: Choices = Choices()
    facts: Mapping[str, ImageFacts] = field(default_factory=dict)
    """What the deep check measured so far."""
    damaged: Mapping[str, str] = field(default_factory=dict)
    """Images that the deep check could not decode -> why."""
    copied_captions: Mapping[str, str] = field(default_factory=dict)
    """Captions that were saved, though not beside their images: they belong into the prepared copy."""
    copied: DatasetScan | None = None
    """The prepared copy of just these choices; None where it is still to be made."""
    same_bytes: tuple[tuple[str, ...], ...] | None = None
    """Groups of files with the same bytes; None where nobody compared them."""
    past: tuple[tuple[str, Choices], ...] = ()
    """(what was done, the choices before), the last one last."""
    future: tuple[tuple[str, Choices], ...] = ()
    """(what was undone, the choices that it had led to)."""

    @property
    def root(self) -> Path:
        """The folder with the original images."""
        return self.scan.root

    @property
    def needs_copy(self) -> bool:
        """Whether the folder as it is is not what is to be trained on."""
        return bool(self.chosen.remedies or self.copied_captions)

    @property
    def copy(self) -> Path | None:
        """The folder of the prepared copy."""
        return self.copied.root if self.copied is not None else None

    @property
    def trained(self) -> DatasetScan:
        """What is to be trained on: the copy if there is one, else the folder without what is damaged."""
        return self.copied if self.copied is not None and self.needs_copy else self.sound

    @property
    def trained_facts(self) -> Mapping[str, ImageFacts]:
        """What was measured of the images that are to be trained on; of a copy only those that it holds unchanged."""
        if self.copied is None or not self.needs_copy:
            return self.facts
        history = read_history(self.copied.root)
        if history is None:
            return {}
        changed = {remedy.relative for remedy in self.chosen.remedies}
        sources = history.sources.items()
        return {name: self.facts[source] for name, source in sources if source in self.facts and source not in changed}

    @property
    def unsaved(self) -> int:
        """Captions that were edited and not saved."""
        return len(self.chosen.captions)

    @cached_property
    def left_out(self) -> frozenset[str]:
        """Images that the person left out."""
        return frozenset(remedy.relative for remedy in self.chosen.remedies if remedy.kind == "leave_out")

    @cached_property
    def sound(self) -> DatasetScan:
        """The folder without the images that turned out to be damaged: what a prepared copy is made of."""
        return without(self.scan, dict(self.damaged))

    @cached_property
    def edited(self) -> DatasetScan:
        """The set as it would be trained on now, with unsaved captions and without what is left out."""
        reasons = {**dict.fromkeys(self.left_out, BY_CHOICE), **self.damaged}
        texts = {**self.copied_captions, **self.chosen.captions}
        found = without(self.scan, {name: reason for name, reason in reasons.items() if name in self.names})
        if not texts:
            return found
        images = tuple(
            image.with_caption(texts[image.relative]) if image.relative in texts else image for image in found.images
        )
        return dataclasses.replace(found, images=images)

    @cached_property
    def names(self) -> Mapping[str, ImageEntry]:
        """The images by relative path."""
        return {image.relative: image for image in self.scan.images}

    @cached_property
    def unusable(self) -> tuple[LeftOut, ...]:
        """Files that look like images and cannot be used."""
        return tuple(item for item in self.scan.left_out if item.image)

    def caption(self, relative: str) -> str:
        """The caption of an image as it stands now, saved or not; empty if it has none."""
        saved = self.saved_caption(relative)
        return self.chosen.captions.get(relative, saved)

    def saved_caption(self, relative: str) -> str:
        """The caption without unsaved edits."""
        return self.copied_captions.get(relative, self.names[relative].caption or "")

    def _is_edit(self, relative: str, text: str) -> bool:
        """Whether saving this text would change the caption file: its words, or the encoding that they are kept in."""
        in_utf8 = relative in self.copied_captions or self.names[relative].caption_encoding.startswith("utf-8")
        return text != self.saved_caption(relative) or not in_utf8

    def captions(self) -> dict[str, str]:
        """Captions as they stand now of the subject's images that are kept and have one."""
        found = {image.relative: image.caption or "" for image in self.edited.training}
        return {name: caption for name, caption in found.items() if caption}

    def remedies_of(self, relative: str) -> tuple[Remedy, ...]:
        """What is to be done to one image, in its order."""
        own = tuple(remedy for remedy in self.chosen.remedies if remedy.relative == relative)
        return remedies.by_image(own).get(relative, ())

    def has(self, kind: Kind, relative: str) -> bool:
        """Whether this remedy was chosen for this image."""
        return any((remedy.kind, remedy.relative) == (kind, relative) for remedy in self.chosen.remedies)

    def reason_left_out(self, relative: str) -> str:
        """Why an image of the scan is not trained on; empty if it is."""
        return BY_CHOICE if relative in self.left_out else self.damaged.get(relative, "")

    def with_remedies(self, what: str, added: Sequence[Remedy]) -> DatasetEdits:
        """More remedies; each takes the place of one of its kind for its image. Raises `UsageError`."""
        keys = {(remedy.kind, remedy.relative) for remedy in added}
        others = tuple(r for r in self.chosen.remedies if (r.kind, r.relative) not in keys)
        return self._chose(what, dataclasses.replace(self.chosen, remedies=(*others, *map(remedies.checked, added))))

    def without_remedy(self, what: str, kind: Kind, relative: str) -> DatasetEdits:
        """One remedy less."""
        kept = tuple(r for r in self.chosen.remedies if (r.kind, r.relative) != (kind, relative))
        return self._chose(what, dataclasses.replace(self.chosen, remedies=kept))

    def with_captions(self, what: str, texts: Mapping[str, str]) -> DatasetEdits:
        """Captions as typed; those that are as they were saved are no edits any more."""
        merged = {**self.chosen.captions, **{name: normalised(text) for name, text in texts.items()}}
        for name in texts:
            if not self._is_edit(name, merged[name]):
                del merged[name]
        return self._chose(what, dataclasses.replace(self.chosen, captions=merged))

    def with_apart(self, names: Collection[str]) -> DatasetEdits:
        """Each line of these captions is one of its own from now on, whatever the recipe says; a save gives each a file."""
        images = tuple(
            dataclasses.replace(image, apart=True) if image.relative in names else image for image in self.scan.images
        )
        return dataclasses.replace(self, scan=dataclasses.replace(self.scan, images=images))

    def undone(self) -> tuple[DatasetEdits, str]:
        """The step before, and what was taken back; itself and nothing at the beginning."""
        if not self.past:
            return self, ""
        what, before = self.past[-1]
        future = (*self.future, (what, self.chosen))
        return dataclasses.replace(self._with(before), past=self.past[:-1], future=future), what

    def redone(self) -> tuple[DatasetEdits, str]:
        """What was taken back last, done again."""
        if not self.future:
            return self, ""
        what, after = self.future[-1]
        past = (*self.past, (what, self.chosen))
        return dataclasses.replace(self._with(after), past=past, future=self.future[:-1]), what

    def with_copy(self, copied: DatasetScan) -> DatasetEdits:
        """After the changes were carried out on a copy."""
        return dataclasses.replace(self, copied=copied)

    def to_json(self) -> str:
        """The choices as text, to be kept with the draft of a run; of very many captions the remedies alone."""
        table = {"root": str(self.root), "remedies": remedies.to_json(self.chosen.remedies)}
        if sum(map(len, self.chosen.captions.values())) > MOST_KEPT:
            return json.dumps(table)
        apart = [image.relative for image in self.scan.images if image.apart and image.relative in self.chosen.captions]
        whole = json.dumps({**table, "captions": dict(self.chosen.captions), "apart": apart})
        return whole if len(whole) <= MOST_KEPT else json.dumps(table)

    def with_json(self, text: str) -> DatasetEdits:
        """The choices of `to_json`, if they belong to this folder; names that are gone are passed over."""
        try:
            table = parse_json(text)
            if table["root"] != str(self.root):
                return self
            kept = tuple(r for r in remedies.from_json(table["remedies"]) if r.relative in self.names)
            captions = {str(k): str(v) for k, v in table.get("captions", {}).items() if k in self.names}
            apart = {str(name) for name in table.get("apart", ())} & captions.keys()
        except (ValueError, KeyError, TypeError, AttributeError):
            return self
        captions = {name: text for name, text in captions.items() if self._is_edit(name, text)}
        return (self.with_apart(apart) if apart else self)._with(Choices(kept, captions))

    def with_measured(self, facts: Mapping[str, ImageFacts], damaged: Mapping[str, str]) -> DatasetEdits:
        """More of the deep check."""
        after = dataclasses.replace(self, facts={**self.facts, **facts}, damaged={**self.damaged, **damaged})
        if not damaged:
            # What does not follow from the facts is not worked out again: with 10 000 images that would be felt.
            after.__dict__.update({name: self.__dict__[name] for name in _WITHOUT_FACTS if name in self.__dict__})
        return after

    def saved_beside(self, scan: DatasetScan) -> DatasetEdits:
        """After the captions were written beside the images, with the folder read anew. Undo brings the old texts back
        as unsaved edits."""
        saved = self._after_save(dataclasses.replace(self, scan=scan))
        apart = {image.relative for image in self.scan.images if image.apart} & saved.chosen.captions.keys()
        return saved.with_apart(apart) if apart else saved

    def saved_for_copy(self, texts: Mapping[str, str]) -> DatasetEdits:
        """After these captions were given to the prepared copy, since the folder itself cannot be written."""
        return self._after_save(dataclasses.replace(self, copied_captions={**self.copied_captions, **texts}))

    def _after_save(self, saved: DatasetEdits) -> DatasetEdits:
        earlier = {name: self.saved_caption(name) for name in self.chosen.captions}

        def rebased(choices: Choices, texts: Mapping[str, str]) -> Choices:
            kept = {name: text for name, text in texts.items() if name in saved.names and saved._is_edit(name, text)}
            return dataclasses.replace(choices, captions=kept)

        return dataclasses.replace(
            saved,
            copied=None,
            chosen=rebased(self.chosen, self.chosen.captions),
            past=tuple((what, rebased(choices, {**earlier, **choices.captions})) for what, choices in self.past),
            future=tuple((what, rebased(choices, {**earlier, **choices.captions})) for what, choices in self.future),
        )

    def _chose(self, what: str, choices: Choices) -> DatasetEdits:
        if choices == self.chosen:
            return self
        past = (*self.past, (what, self.chosen))[-MOST_UNDO:]
        return dataclasses.replace(self._with(choices), past=past, future=())

    def _with(self, choices: Choices) -> DatasetEdits:
        same = choices.remedies == self.chosen.remedies
        after = dataclasses.replace(self, chosen=choices, copied=self.copied if same else None)
        if same:
            # What is worked out already is kept but for the captions that differ: a key must not wait for 10 000 of them.
            after.__dict__.update({name: self.__dict__[name] for name in _WITHOUT_FACTS if name in self.__dict__})
            if "edited" in self.__dict__:
                after.__dict__["edited"] = self._edited_with(choices.captions)
        return after

    def _edited_with(self, captions: Mapping[str, str]) -> DatasetScan:
        """`edited` with other unsaved captions."""
        before, found = self.chosen.captions, self.edited
        differ = {name for name, text in captions.items() if before.get(name) != text} | (before.keys() - captions.keys())
        if not differ:
            return found

        def changed(image: ImageEntry) -> ImageEntry:
            if image.relative not in differ:
                return image
            text = captions.get(image.relative, self.copied_captions.get(image.relative))
            return self.names[image.relative] if text is None else image.with_caption(text)

        return dataclasses.replace(found, images=tuple(map(changed, found.images)))
