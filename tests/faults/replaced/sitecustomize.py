"""With this folder on PYTHONPATH, `python -m loratui.engine.training` is the simulated trainer."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path


class SimulatedTrainer:
    """Finds the simulated trainer in the place of the real one."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """The import system's question for a module."""
        if name != "loratui.engine.training.__main__":
            return None
        return spec_from_file_location(name, Path(__file__).parent.parent / "simulated_trainer.py")


sys.meta_path.insert(0, SimulatedTrainer)  # type: ignore[arg-type]
