"""The steps of the wizard: their order, the line that shows the current step, and back and next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import events, work
from textual.content import Content

from loratui.tui.bindings import WIZARD
from loratui.tui.screens.base import LoratuiScreen
from loratui.tui.widgets.line import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loratui.engine.machine.accelerator import Accelerator
    from loratui.engine.planning.measured import Measurement

STEPS = tuple(zip(WIZARD, ("preset", "base", "dataset", "plan", "samples", "preflight"), strict=True))
"""Screen and title of each step, in order."""

_ROOM_FOR_STEPS, _ROOM_FOR_ALL = 78, 90
"""Columns for the line of steps, and for that line with the purpose."""
_VIEW_ONLY = len("view only  ")
"""Columns that the words take from it."""


class StepScreen(LoratuiScreen[None]):
    """A step of the wizard. The app's draft holds all input, so steps may come and go."""

    def heading(self) -> Content:
        purpose = "  new run" if self.app.size.width >= _ROOM_FOR_ALL else ""
        return Content.assemble(("loratui", "bold $accent"), (purpose, "$muted"))

    def heading_right(self) -> Content:
        """All steps, this one in brackets and colour; only this one if there is little room."""
        room = self.app.size.width - (_VIEW_ONLY if self.loratui.view_only else 0)
        parts = []
        for at, (name, title) in enumerate(STEPS, 1):
            here = name == self.CONTEXT
            if here and room < _ROOM_FOR_STEPS:
                return Content.assemble(plain(f"[{at} {title}]", "bold $accent"), plain(f" of {len(STEPS)} steps", "$muted"))
            parts.append(plain(f"[{at} {title}]" if here else f"{at} {title}", "bold $accent" if here else "$muted"))
        return Content(" › ").join(parts)

    def on_resize(self, event: events.Resize) -> None:
        super().on_resize(event)
        self.line("heading-left").say(self.heading())
        self.line("heading-right").say(self.heading_right())

    @property
    def enter_goes_on(self) -> bool:
        """Whether enter goes to the next step."""
        return True

    def action_back(self) -> None:
        """To the previous step; from the first to the runs."""
        at = WIZARD.index(self.CONTEXT)
        self.keep()
        self.loratui.open(WIZARD[at - 1] if at else "home")

    def go_on(self) -> None:
        self.loratui.open(WIZARD[WIZARD.index(self.CONTEXT) + 1])

    @work(exclusive=True, group="machine", description="look at the machine")
    async def look_at_the_machine(self) -> None:
        """Reads the machine and its measurements in a thread, as a driver may be slow, and shows them."""
        from loratui.engine.machine.accelerator import accelerator
        from loratui.engine.planning.measured import read_all

        machine = await self.in_thread(accelerator)
        self.machine_known(machine, await self.in_thread(read_all))

    def machine_known(self, machine: Accelerator, measurements: Sequence[Measurement]) -> None:
        """Shows what depends on the machine."""

    def keep(self) -> None:
        """Puts the input into the draft, complete or not."""
