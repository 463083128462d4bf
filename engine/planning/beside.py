"""Whether a validation has room on a machine on which a run trains."""

from __future__ import annotations

from loratui.engine.errors import OutOfMemoryError
from loratui.engine.findings import Finding
from loratui.engine.machine import hardware
from loratui.engine.machine.accelerator import Accelerator
from loratui.engine.planning import figures
from loratui.engine.planning.memory_need import Facts
from loratui.engine.planning.memory_plan import decide
from loratui.presets.schema import Settings

_REMEDY = "Wait until the training has ended, or pause it."


def room_beside(settings: Settings, here: Accelerator) -> str:
    """What a validation takes of the memory that is free now, in a sentence. Raises `OutOfMemoryError` where that is too little."""
    facts = Facts.here(settings, here)
    if facts.card is None:
        least, most = figures.EMBEDDED_RAM_GIB if settings.base.is_embedded else facts.figures.ram_gib
        free = hardware.ram().free_gib
        if free and free < least:
            raise OutOfMemoryError(
                f"Beside the training {free:.1f} GiB of main memory are free, and {least:g} GiB are needed.", _REMEDY
            )
        return f"It takes {least:g} to {most:g} GiB of main memory, and the training is slower meanwhile."
    plan = decide(facts)
    if isinstance(plan, Finding):
        raise OutOfMemoryError(plan.message, _REMEDY)
    room = f"{facts.card.name} has {facts.room_gib:.1f} GiB free beside the training"
    if plan.need is None:
        return f"{room}, enough for a tiny base."
    needed = plan.need.sampling  # nothing is trained: what images take, in tiles where they must
    if needed > facts.room_gib:
        raise OutOfMemoryError(f"{room}, and {needed:.1f} GiB are needed.", _REMEDY)
    return f"{room}, and it takes {needed:.1f} GiB (memory plan {plan.way}); the training is slower meanwhile."
