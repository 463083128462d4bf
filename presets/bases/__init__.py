"""Where the embedded bases and the demo's images lie; paths only, so that any process may import it."""

from __future__ import annotations

from pathlib import Path

from loratui.presets.schema import SchemaError

DEMO_TRIGGER = "anafox"
"""The made-up word that stands for the demo's person."""

DEMO_CLASS = "woman"
"""The general noun for the demo's person."""

_HERE = Path(__file__).parent
_NAMES = ("sd15", "sdxl", "flux")


def embedded_base(name: str) -> Path:
    """The diffusers folder of an embedded base, such as `sd15` for `embedded:sd15`.

    Raises `SchemaError`, a `ValueError`, that names the known bases.
    """
    if name not in _NAMES:
        raise SchemaError(f"embedded:{name}: no such embedded base; there is {', '.join(f'embedded:{n}' for n in _NAMES)}")
    return _HERE / name


def demo_dataset() -> Path:
    """The folder of the 18 images of the invented person `anafox`, each with its caption."""
    return _HERE / "anafox"
