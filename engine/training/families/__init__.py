"""The model families, each behind the same protocol; all that differs between base models stands here."""

from __future__ import annotations

import importlib
from typing import cast

from loratui.engine.errors import UsageError
from loratui.engine.training.families.base import FamilyLoader

LOADERS = {name: f"loratui.engine.training.families.{name}" for name in ("sd15", "sdxl", "flux")}
"""Family name -> module with a `load` function (`FamilyLoader`)."""


def loader(name: str) -> FamilyLoader:
    """The function that loads a base of this family. Raises `UsageError` for a family that cannot be trained."""
    if name not in LOADERS:
        raise UsageError(f"This version cannot train {name}.", f"It trains: {', '.join(LOADERS)}.")
    return cast(FamilyLoader, importlib.import_module(LOADERS[name]).load)
