"""Where downloads of huggingface_hub lie: its cache is read as files, without the package, which takes long to import."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from loratui.engine.untrusted import read_text

_ID = re.compile(r"(?P<repo>[\w][\w.-]*/[\w][\w.-]*?)(?:/(?P<file>[\w][\w./-]*\.(?:safetensors|sft|json)))?")


@dataclass(frozen=True)
class HubId:
    """`owner/name`, or `owner/name/file.safetensors` for one file of a repository."""

    repo: str
    file: str = ""


def parse_id(text: str) -> HubId | None:
    """What `text` names on the hub; None for anything that cannot be a name there."""
    match = _ID.fullmatch(text)
    if match is None or ".." in text or "--" in text or len(text) > 250:
        return None
    return HubId(match["repo"], match["file"] or "")


def cache_folder(environ: Mapping[str, str] | None = None) -> Path:
    """The folder in which huggingface_hub keeps repositories, by its own variables. It may not exist."""
    env = os.environ if environ is None else environ
    if env.get("HF_HUB_CACHE"):
        return Path(env["HF_HUB_CACHE"]).expanduser()
    caches = Path(env.get("XDG_CACHE_HOME") or "~/.cache")
    home = Path(env["HF_HOME"]) if env.get("HF_HOME") else caches / "huggingface"
    return home.expanduser() / "hub"


def snapshot(repo: str, environ: Mapping[str, str] | None = None) -> Path | None:
    """The folder of a repository's downloaded files: the commit that `main` was last, else the newest; None if none."""
    if parse_id(repo) is None:
        return None
    folder = cache_folder(environ) / f"models--{repo.replace('/', '--')}"
    try:
        commit = read_text(folder / "refs" / "main", 4096).strip()
    except OSError:
        commit = ""
    named = folder / "snapshots" / commit
    if re.fullmatch(r"\w[\w.-]*", commit) and named.is_dir():
        return named
    try:
        others = [path for path in (folder / "snapshots").iterdir() if path.is_dir()]
        return max(others, key=lambda path: path.stat().st_mtime, default=None)
    except OSError:
        return None


def snapshots(environ: Mapping[str, str] | None = None) -> Iterator[tuple[str, Path]]:
    """Every repository of models in the cache with the folder of its files."""
    try:
        folders = sorted(cache_folder(environ).glob("models--*--*"))
    except OSError:
        return
    for folder in folders:
        repo = folder.name.removeprefix("models--").replace("--", "/", 1)
        path = snapshot(repo, environ)
        if path is not None:
            yield repo, path
