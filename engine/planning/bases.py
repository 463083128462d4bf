"""Where a base model lies on this machine."""

from __future__ import annotations

import os
import re
from pathlib import Path

from loratui.presets import SHIPPED


def base_path(model: str) -> Path | None:
    """Where a base model lies on this machine: embedded, a path, or a download of the hub's own tools; None if nowhere."""
    if model.startswith("embedded:"):
        path = SHIPPED / "bases" / model.removeprefix("embedded:")
        return path if (path / "model_index.json").is_file() else None
    path = Path(model).expanduser()
    return path if path.exists() else _hub_snapshot(model)


def _hub_snapshot(model: str) -> Path | None:
    """The folder of `owner/name` in the cache of huggingface_hub."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", model):
        return None
    home = Path(os.environ.get("HF_HOME") or Path("~/.cache/huggingface").expanduser())
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    folder = cache / f"models--{model.replace('/', '--')}"
    try:
        commit = (folder / "refs" / "main").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    snapshot = folder / "snapshots" / commit
    return snapshot if commit and (snapshot / "model_index.json").exists() else None
