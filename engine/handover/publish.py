"""Puts a LoRA file on the hub, with a model card and images that it made: first prepared and shown, then uploaded and compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from loratui.engine import durable
from loratui.engine.errors import ExitCode, LoratuiError, UsageError
from loratui.engine.handover import keep
from loratui.engine.handover.card import Shown, model_card
from loratui.engine.handover.private import Private
from loratui.engine.handover.shots import shots_of
from loratui.engine.machine import hub
from loratui.engine.machine.hub_cache import parse_id
from loratui.engine.planning.recipe import read_recipe
from loratui.engine.runs import contents
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.lineage import is_imported
from loratui.engine.runs.lora_files import chosen_name, file_name
from loratui.engine.runs.lora_hashes import require_as_saved
from loratui.engine.runs.when_finished.copying import differing

MOST_IMAGES = 4
CARD = "README.md"


@dataclass(frozen=True)
class Prepared:
    """What would be uploaded."""

    repo: str
    visibility: str
    """Of the repository on the hub: `missing`, `private` or `public`."""
    public: bool
    """Whether a repository that is missing is made public."""
    files: dict[str, Path]
    """Name in the repository -> the file here."""
    card: str

    @property
    def page(self) -> str:
        """The address of the repository."""
        return f"{hub.endpoint()}/{self.repo}"

    @property
    def becomes(self) -> str:
        """What others see of it, in words."""
        if self.visibility == "missing":
            return "a new public repository" if self.public else "a new private repository"
        return f"your {self.visibility} repository"


def prepare(run: RunDirectory, file: str, name: str, repo: str, staging: Path, *, public: bool = False) -> Prepared:
    """Writes the card and the images into `staging`, a folder that exists and is empty, and asks the hub for the repository.

    Raises `UsageError` for a wrong name, a file that is not as it was saved, and a public repository without `public`; `HubError`.
    """
    named = parse_id(repo)
    if named is None or named.file:
        raise UsageError(f"{repo}: not a name of a repository.", "Names look like owner/name.")
    contents.require_sound(run.path)
    settings, recipe = read_recipe(run.effective).settings, None if is_imported(run) else read_recipe(run.recipe)
    source, own = run.inside(file), chosen_name(name) or Path(file).stem
    require_as_saved(source)
    if not hub.has_token():
        raise UsageError("There is no token of the hub.", "Sign in with one that may write: loratui login")
    visibility = hub.visibility(repo)
    if visibility == "public" and not public:
        raise UsageError(f"{repo} is public: everybody could see the LoRA.", "Choose another name, or add --public.")
    strength = keep.strength_of(run, settings, file)
    shots = shots_of(run, settings, file, strength)[:MOST_IMAGES]
    private = Private((), [run.path, run.path.parent, run.path.parent.parent, Path(settings.dataset.path), Path.home()])
    images = {f"images/{own}-{at}.png": shot for at, shot in enumerate(shots, 1)}
    pairs = [(shot.path, staging / Path(name).name) for name, shot in images.items()]
    problems = keep.write_previews(pairs)
    shown = {name: target for name, (_, target), problem in zip(images, pairs, problems, strict=True) if not problem}
    listed = [Shown(name, images[name].prompt) for name in shown]
    card = model_card(own, repo, settings, recipe, strength, listed, private)
    durable.write_new(staging / CARD, card.encode())
    return Prepared(repo, visibility, public, {file_name(own): source, CARD: staging / CARD, **shown}, card)


def upload(prepared: Prepared, *, cancelled: Callable[[], bool] = lambda: False) -> bool:
    """Uploads what was prepared and compares what the hub holds then; False if it was cancelled. Raises `HubError`."""
    there = hub.upload(
        prepared.repo, prepared.files, private=not prepared.public, message="Add a LoRA (loratui)", cancelled=cancelled
    )
    if there is None:
        return False
    if different := differing(prepared.files, there):
        message = f"Uploaded, but {prepared.repo} holds other bytes of {', '.join(different)}."
        raise LoratuiError(message, "Upload it again.", exit_code=ExitCode.UNAVAILABLE)
    return True
