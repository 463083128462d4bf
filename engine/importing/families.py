"""Which family of bases a file of another trainer is for, and a clear word for one that is not trained here."""

from __future__ import annotations

import contextlib
import re

from loratui.engine import families
from loratui.engine.errors import LoratuiError
from loratui.engine.families.spec import FamilySpec
from loratui.engine.importing.reading import Reading


def spec_of(name: str) -> FamilySpec:
    """The family by its name."""
    return families.family(name)


def flows(name: str) -> bool:
    """Whether a family is trained by flow matching."""
    return families.family(name).objective == "flow"


def by_word(tool: str, word: str) -> str:
    """The family that a tool's word means; empty for none that is trained here."""
    return next((spec.name for spec in families.FAMILIES if word in spec.elsewhere.names.get(tool, ())), "")


def words(tool: str) -> tuple[str, ...]:
    """All words of a tool that mean a family."""
    return tuple(word for spec in families.FAMILIES for word in spec.elsewhere.names.get(tool, ()))


def by_keys(reading: Reading) -> str:
    """The family that has an argument of sd-scripts alone which the file gives; empty for none."""
    return next((spec.name for spec in families.FAMILIES if any(map(reading.given, spec.elsewhere.own_keys))), "")


def smallest() -> str:
    """The family whose usual resolution is the lowest, which sd-scripts and its interface mean where they say nothing else."""
    return min(families.FAMILIES, key=lambda spec: spec.figures.resolution).name


def family_of(reading: Reading, model: str, resolution: str = "") -> str:
    """The family by the base's file where it is here, else by its name, else by the resolution; a guess is told."""
    from loratui.engine.planning.bases import base_path, find_base
    from loratui.presets.schema import Base

    if model and len(model) < 1000 and "\0" not in model:
        with contextlib.suppress(LoratuiError, OSError):  # a base that is not here, or not one: its name is read instead
            if base_path(model) is not None:
                return find_base(Base(model=model)).family
    known = families.known_base(model)
    if known:
        return next(spec.name for spec in families.FAMILIES if known in spec.bases)
    for spec in families.FAMILIES:
        if spec.elsewhere.in_names and re.search(spec.elsewhere.in_names, model, re.IGNORECASE):
            return spec.name
    side = max((int(n) for n in re.findall(r"\d{1,6}", resolution)), default=0)
    diffusing = [spec for spec in families.FAMILIES if spec.objective == "diffusion"]
    fitting = [spec for spec in diffusing if spec.native_px[0] <= side] or [families.family(smallest())]
    guess = max(fitting, key=lambda spec: spec.native_px[0]).name
    reading.lost.append(
        f"The file does not say what kind of base it is for; by its {'resolution' if side else 'name'} it is taken for "
        f"{families.family(guess).title}. Another: --family."
    )
    return guess


def trains(reading: Reading, key: str, title: str, model: str = "") -> str:
    """Says that this kind of base is not trained here; empty, for no family."""
    what = f"This is a recipe for {title}. loratui trains {families.choices()}."
    reading.problem = f"{what} Its values are listed; no recipe is made."
    reading.changed(key, {}, what)
    if model:
        reading.changed("pretrained_model_name_or_path", {}, what)
    for left in list(reading.values):
        if left not in reading.said and reading.given(left):
            reading.changed(left, {}, f"It belongs to a recipe for {title}, which loratui does not train.")
    return ""
