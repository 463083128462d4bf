"""How the files of a captioner come here: found on this machine, or downloaded by the hub after a yes with size and licence."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping
from pathlib import Path

from loratui.engine.captioning.captioners import Captioner
from loratui.engine.errors import LoratuiError
from loratui.engine.limits import MODEL_JSON_BYTES
from loratui.engine.machine import hub
from loratui.engine.machine.hub_cache import cache_folder
from loratui.engine.untrusted import Unreadable, leads_out, read_json
from loratui.engine.words import size

_INDEX = "model.safetensors.index.json"


def find(captioner: Captioner, home: Path, environ: Mapping[str, str] | None = None) -> Path | None:
    """The folder with all of its files: below the home's `models`, else in the cache of the hub; None where one is missing."""
    cached = cache_folder(environ) / f"models--{captioner.repo.replace('/', '--')}" / "snapshots" / captioner.revision
    places = (home / "models" / captioner.id, cached)
    return next((place for place in places if is_whole(captioner, place)), None)


def is_whole(captioner: Captioner, folder: Path) -> bool:
    """Whether a folder has every file, and every part of weights in several files."""
    try:
        here = {path.name for path in folder.iterdir() if path.is_file()}
        if not all(fnmatch.filter(here, name) for name in captioner.files if not name.endswith("*")):  # those may be missing
            return False
        return _INDEX not in here or set(_parts(folder / _INDEX)) <= here
    except OSError:
        return False


def look_up(captioner: Captioner, environ: Mapping[str, str] | None = None) -> hub.DownloadPlan:
    """What a download would bring, from the commit that loratui knows. Raises `HubError`."""
    captioner.require_extra()  # before gigabytes that nothing here could read
    return hub.look_up(captioner.repo, captioner.files, known=True, revision=captioner.revision, environ=environ)


def offer(captioner: Captioner, plan: hub.DownloadPlan | None = None) -> str:
    """What the person is asked before a download: `florence-community/Florence-2-large (1.6 GB, MIT)`."""
    bytes_ = plan.fetch_bytes if plan else captioner.bytes
    sold = "" if captioner.commercial else ", not for captions that are sold"
    terms = f": {captioner.terms}" if captioner.terms else ""
    return f"{captioner.repo} ({'' if plan else 'about '}{size(bytes_)}, {captioner.licence}{sold}{terms})"


def fetch(
    captioner: Captioner,
    plan: hub.DownloadPlan,
    *,
    progress: Callable[[hub.Progress], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
    environ: Mapping[str, str] | None = None,
) -> Path | None:
    """Downloads what a plan says and returns the folder; None if it was cancelled. Call it only when a person said yes.

    Raises `HubError` and `DiskError`, and `LoratuiError` where the files are not all of them.
    """
    folder = hub.download(plan, progress=progress, cancelled=cancelled, environ=environ)
    if folder is not None and not is_whole(captioner, folder):
        raise LoratuiError(f"{captioner.repo} lacks files that {captioner.title} needs.", "Try again later, or update loratui.")
    return folder


def _parts(path: Path) -> list[str]:
    """The files that an index names. Raises `Unreadable`."""
    index = read_json(path, MODEL_JSON_BYTES)
    names = index.get("weight_map") if isinstance(index, dict) else None
    found = {str(name) for name in names.values()} if isinstance(names, dict) else set()
    if not found or any(leads_out(name) for name in found):
        raise Unreadable(0, "names no weights", str(path))
    return sorted(found)
