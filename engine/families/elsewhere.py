"""What other trainers call a family of base models, and which of their choices of layers are which target sets here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Elsewhere:
    """A family in other trainers. Tools are those of `engine/importing`."""

    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Tool -> the words in its settings that mean this family."""
    in_names: str = ""
    """Pattern of what the names of its bases have in them; the first family that matches is taken."""
    own_keys: tuple[str, ...] = ()
    """Arguments of sd-scripts that only this family has."""
    layers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Tool -> its set of layers -> the target set."""
    near_layers: Mapping[str, Mapping[str, tuple[str, str]]] = field(default_factory=dict)
    """The same for sets that have no equal: the nearest, and the difference in a sentence."""
    usual_layers: Mapping[str, str] = field(default_factory=dict)
    """Tool -> the target set of the layers that it adapts where nothing is said."""
    part: str = "unet"
    """The denoiser's name in OneTrainer."""
    flavours: Mapping[str, str] = field(default_factory=dict)
    """SimpleTuner's short name of a base -> its repository."""
