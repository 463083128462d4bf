"""Where base models lie on this machine: the one that a recipe names, whole with its parts, and all that can be found."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loratui.engine import families
from loratui.engine.families.spec import PartName, PartSpec
from loratui.engine.formats.base_files import identify, part_file, with_parts
from loratui.engine.formats.base_parts import BaseFiles, BaseRefused, PartFile
from loratui.engine.formats.part_fit import misfit, wanted_sizes
from loratui.engine.formats.safetensors_file import may_hold_tensors
from loratui.engine.limits import MODEL_JSON_BYTES
from loratui.engine.machine import hub_cache
from loratui.engine.planning.base_search import DEPTH, Memory, Seen, Walk, usual_roots, walk
from loratui.engine.untrusted import read_json
from loratui.presets import SHIPPED
from loratui.presets.schema import Base, Family

NAMED_PARTS: tuple[PartName, ...] = ("text_encoder", "text_encoder_2", "vae")
"""Parts that a recipe can name: `base.text_encoder` and so on."""

LISTED_PROBLEMS = frozenset(
    {
        "base_inpainting", "base_instruct", "base_control", "base_schnell", "base_distilled", "base_refiner", "base_quantised",
        "base_other_family", "base_other_schedule", "base_other_shape", "base_format", "base_unreadable", "base_damaged",
        "base_incomplete",
    }
)  # fmt: skip
"""Reasons for which a model is listed although it cannot be used: somebody would look for it."""

KIND_FOLDERS = frozenset(
    {
        "unet", "diffusion_models", "checkpoints", "stable-diffusion", "transformer", "transformers", "main", "vae", "clip",
        "text_encoder", "text_encoders",
    }
)  # fmt: skip
"""Folders in which ComfyUI, Forge, Automatic1111, InvokeAI and kohya's tools keep one kind of file, beside those of other kinds;
folders of one family's models (`FamilySpec.folders`) come to these."""

_NEAR_DEPTH = 2


@dataclass(frozen=True)
class FoundBase:
    """A base model on this machine, or one that cannot be used, with the reason."""

    model: str
    """What `base.model` is set to for it: `embedded:NAME`, a hub id, or a path."""
    where: str
    """`embedded`, `hub` or `folder`."""
    path: Path
    family: Family | None
    title: str
    prediction: str | None
    bytes: int
    missing: tuple[str, ...]
    """Parts that are neither in it nor anywhere else on this machine, by their names in `base_parts`."""
    problem: str = ""
    remedy: str = ""

    @property
    def reason(self) -> str:
        """The problem without the path at its beginning, for where that stands already."""
        return self.problem.removeprefix(f"{self.path}: ")

    @property
    def toy(self) -> bool:
        """Whether it came along with loratui, for the demo; proposed for nothing else."""
        return self.where == "embedded"

    @property
    def missing_titles(self) -> list[str]:
        """What is missing, for people."""
        return [families.family(self.family).part(name).title for name in self.missing] if self.family else []

    @property
    def usable(self) -> bool:
        """Whether training can start from it as it is."""
        return not self.problem and not self.missing


def base_path(model: str) -> Path | None:
    """Where a base model lies on this machine: embedded, a path, or a download of the hub's own tools; None if nowhere."""
    if model.startswith("embedded:"):
        path = SHIPPED / "bases" / model.removeprefix("embedded:")
        return path if (path / "model_index.json").is_file() else None
    if not model:
        return None
    given = _existing(model)
    if given is not None:
        return given
    named = hub_cache.parse_id(model)
    folder = hub_cache.snapshot(named.repo) if named else None
    if named is None or folder is None:
        return None
    if named.file:
        return folder / named.file if (folder / named.file).is_file() else None
    # A snapshot also comes about when another tool fetched a single small file of it.
    return folder if (folder / "model_index.json").is_file() or any(map(may_hold_tensors, folder.iterdir())) else None


def _existing(text: str) -> Path | None:
    """The file or folder that a text names; None also for texts that can be no path."""
    try:
        path = Path(text).expanduser()
        return path if path.exists() else None
    except (OSError, ValueError, RuntimeError):  # too long, with a zero byte, of no known user, or in a closed folder
        return None


def tokenizer_base(base: Base) -> Path | None:
    """The folder in which the family's tokenizer lies that counts a base's tokens exactly; None if only an estimate is to be had.

    CLIP's is bundled; a folder may bring another.
    """
    counting, path = families.family(base.family).caption_tokenizer, base_path(base.model)
    if counting.bundled is None or (path is not None and (path / counting.name / "tokenizer.json").is_file()):
        return path
    return counting.bundled.parent


def find_base(base: Base, roots: Sequence[Path] | None = None, *, memory: Memory | None = None) -> BaseFiles:
    """The base that a recipe names, with the parts that it names, and missing parts found beside it or in `roots`.

    `roots` defaults to the usual places. What could not be found is in `missing`. Nothing is fetched.
    Raises `BaseRefused` for a model or part that is not there or cannot be used.
    """
    if not base.model:
        raise BaseRefused("base_missing", "No base model is chosen.", "Name one with --base; loratui bases lists what is here.")
    path = base_path(base.model)
    if path is None:
        raise _not_found(base.model)
    found = identify(path)
    found = with_parts(found, {part: _named_part(base, part, found) for part in NAMED_PARTS if getattr(base, part)})
    if found.missing:
        found = with_parts(found, dict(_parts_nearby(found, usual_roots() if roots is None else roots, memory)))
    return found


def pinned(base: Base) -> Mapping[str, str]:
    """Settings that name a base and its parts by full paths, so that a run goes on with the same files from any folder,
    whatever comes to lie beside them later. Raises `BaseRefused` as `find_base` does.
    """
    found = find_base(base)
    model = None if base.model.startswith("embedded:") else _existing(base.model)
    settings = {"base.model": str(model.absolute())} if model is not None else {}
    for part in NAMED_PARTS:
        held = found.parts.get(part)
        if held is not None and (getattr(base, part) or not _lies_within(held.path, found)):
            settings[f"base.{part}"] = str(held.path.absolute())
    return settings


def _lies_within(path: Path, found: BaseFiles) -> bool:
    return path == found.denoiser.path or (found.layout == "diffusers" and path.is_relative_to(found.path))


def discover(roots: Sequence[Path] | None = None, *, memory_file: Path | None = None) -> tuple[list[FoundBase], bool]:
    """The bases below `roots`, or every base on this machine: embedded, in the hub's cache, and in the usual places.

    Also whether the walk was cut short. Reads headers only; `memory_file` keeps what was read for the next time.
    A root that is a file is listed whatever it is. Raises `BaseRefused` for a root that is not there or is closed.
    """
    for root in roots or ():
        _require_open(root)
    memory = Memory.load(memory_file or default_memory())
    hub = {} if roots is not None else {repo: walk([folder], memory=memory) for repo, folder in hub_cache.snapshots()}
    here = walk(usual_roots() if roots is None else roots, depth=DEPTH, memory=memory)
    everything = Walk(
        [s for w in (*hub.values(), here) for s in w.seen], [t for w in (*hub.values(), here) for t in w.tokenizers]
    )
    bases = list(_embedded(memory)) if roots is None else []
    for repo, inside in hub.items():
        bases += _of_repository(repo, inside, everything)
    known = {base.path for base in bases}
    bases += [
        _found(seen, seen.path, "folder", everything)
        for seen in here.seen
        if Path(seen.path) not in known and (_listed(seen) or Path(seen.path) in (roots or ()))
    ]
    memory.save(memory_file or default_memory())
    unique = {base.path: base for base in bases}
    return sorted(unique.values(), key=_usable_first), here.cut


def _require_open(root: Path) -> None:
    try:
        if root.is_dir():
            os.scandir(root).close()
        else:
            root.stat()
    except FileNotFoundError:
        raise _not_found(str(root)) from None
    except OSError as error:
        message = f"{root}: it cannot be looked into: {error.strerror or error}."
        raise BaseRefused("base_not_found", message, "Check the path and its permissions.") from None


def default_memory() -> Path:
    """The file in which `discover` keeps what it read."""
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(caches).expanduser() / "loratui" / "bases.json"


def _not_found(model: str) -> BaseRefused:
    if hub_cache.parse_id(model) and not model.startswith(("/", ".", "~")):
        remedy = f"If it is on the hub, fetch it with: loratui download {model}. loratui bases lists what is here."
    else:
        remedy = "Check the path, and that its folders may be read; loratui bases lists what is here."
    return BaseRefused("base_not_found", f"{model}: no such base model on this machine.", remedy)


def _named_part(base: Base, part: PartName, found: BaseFiles) -> PartFile:
    text = getattr(base, part)
    path = base_path(text)
    if path is None:
        raise BaseRefused("base_part_not_found", f"{text}: no such file or folder.", f"Check base.{part}.")
    if part not in (m.part for m in found.missing) and part not in found.parts:
        raise BaseRefused(
            "base_part_wrong", f"base.{part}: {families.family(found.family).title} has no such part.", "Leave it empty."
        )
    return part_file(path, found.family, part, found.config)


def _parts_nearby(found: BaseFiles, roots: Sequence[Path], memory: Memory | None) -> Iterator[tuple[PartName, PartFile]]:
    """The missing parts, from the nearest place that has them. Those that look like another family's are not taken."""
    spec = families.family(found.family)
    wanted = [m.part for m in found.missing if spec.part(m.part).found_by_shape]
    remembered = memory if memory is not None else Memory.load(default_memory())
    for place, depth in _places(found.path, roots):
        if not wanted:
            break
        inside = walk([place], depth=depth, memory=remembered)
        for part in list(wanted):
            own = spec.part(part)
            taken = _tokenizer(inside, own) if own.role == "tokenizer" else _best(inside.seen, found, part)
            if taken is not None:
                wanted.remove(part)
                yield part, taken
    if memory is None:
        remembered.save(default_memory())


def _places(path: Path, roots: Sequence[Path]) -> Iterator[tuple[Path, int]]:
    """Where parts are looked for, nearest first: beside the model, in the program's folders, in the roots and the hub's cache."""
    near = path if path.is_dir() else path.parent
    yield near, _NEAR_DEPTH
    kinds = KIND_FOLDERS.union(*(spec.folders for spec in families.FAMILIES))
    models = next((f.parent for f in [*list(near.parents)[2::-1], near] if f.name.lower() in kinds), None)
    if models is not None:
        yield models, _NEAR_DEPTH + 1
        if models.name.lower() == "models":
            yield models.parent, _NEAR_DEPTH + 1
    for root in roots:
        yield root, DEPTH
    for _, folder in hub_cache.snapshots():
        yield folder, _NEAR_DEPTH


def _best(seen: Iterable[Seen], found: BaseFiles, part: PartName) -> PartFile | None:
    """The file that holds a part in the widest number format; of equals the first by path."""
    spec = families.family(found.family)
    wanted = wanted_sizes(found.config, spec).get(part, {})
    ranks = {"fp32": 0, "bf16": 1, "fp16": 1, "fp8_e4m3": 2, "fp8_e5m2": 3}
    fitting = []
    for one in _lenders(seen, found.family):
        for held in one.held:
            if held.dtype in ranks and not misfit(held, spec.part(part), wanted):
                fitting.append((held.fp8 == "scaled", ranks[held.dtype], bool(one.family), one.path))
    for *_, path in sorted(fitting):
        try:
            return part_file(Path(path), found.family, part, found.config)
        except BaseRefused:
            continue
    return None


def _lenders(seen: Iterable[Seen], family: str) -> Iterator[Seen]:
    """Files that parts may be taken from: those of parts alone, and checkpoints of the same family.

    A text encoder inside a checkpoint may have been trained along with it and is another one.
    """
    denoisers = [network for spec in families.FAMILIES for network in spec.denoiser.networks]
    return (one for one in seen if one.family == family or not any(held.network in denoisers for held in one.held))


def _tokenizer(inside: Walk, part: PartSpec) -> PartFile | None:
    """A tokenizer by what it holds, since every tokenizer's file is named alike."""
    return next((PartFile(folder) for folder in inside.tokenizers if is_tokenizer_of(part, folder)), None)


def is_tokenizer_of(part: PartSpec, folder: Path) -> bool:
    """Whether a folder's `tokenizer.json` is of the kind that a part needs."""
    try:
        return part.is_tokenizer(read_json(folder / "tokenizer.json", MODEL_JSON_BYTES)["model"])
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return False


def _embedded(memory: Memory) -> Iterator[FoundBase]:
    for index in sorted((SHIPPED / "bases").glob("*/model_index.json")):
        seen = memory.look(index.parent)
        yield _found(seen, f"embedded:{index.parent.name}", "embedded", Walk())


def _of_repository(repo: str, inside: Walk, everything: Walk) -> Iterator[FoundBase]:
    """A repository as one base where it is a diffusers folder or holds one model; else its files, each for itself."""
    whole = [seen for seen in inside.seen if _listed(seen)]
    folder = hub_cache.snapshot(repo)
    for seen in whole:
        place = Path(seen.path)
        alone = len(whole) == 1 or place == folder
        name = repo if alone or folder is None else f"{repo}/{place.relative_to(folder)}"
        yield _found(seen, name, "hub", everything)


def _listed(seen: Seen) -> bool:
    return bool(seen.family) or seen.code in LISTED_PROBLEMS


def _found(seen: Seen, model: str, where: str, everything: Walk) -> FoundBase:
    family: Family | None = seen.family or None  # type: ignore[assignment]  # written by the memory from a Family
    return FoundBase(
        model,
        where,
        Path(seen.path),
        family,
        seen.title,
        seen.prediction,
        seen.bytes,
        tuple(_still_missing(seen, everything)),
        seen.problem,
        seen.remedy,
    )


def _still_missing(seen: Seen, everything: Walk) -> Iterator[str]:
    if not seen.missing:
        return
    spec = families.family(seen.family)
    sizes = wanted_sizes(spec.bundled, spec)
    for name in seen.missing:
        part = spec.part(name)
        there = (
            _tokenizer(everything, part) is not None
            if part.role == "tokenizer"
            else part.found_by_shape
            and any(
                not misfit(held, part, sizes.get(name, {}))
                for other in _lenders(everything.seen, seen.family)
                for held in other.held
            )
        )
        if not there:
            yield name


def _usable_first(base: FoundBase) -> tuple[int, bool, str]:
    return ({"folder": 0, "hub": 1, "embedded": 2}[base.where] if base.usable else 3, bool(base.problem), str(base.model))
