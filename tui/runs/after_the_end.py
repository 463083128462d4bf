"""What the screen of a run offers for its end and after it: the actions that follow it, and more training."""

from __future__ import annotations

from typing import Any

from textual import work
from textual.content import Content

from loratui.engine.runs.directory import RunDirectory
from loratui.engine.runs.lineage import ancestors
from loratui.tui.runs.run_screen import RunScreen
from loratui.tui.widgets.line import plain


class AfterTheEnd(RunScreen):
    """The keys, and when they work; in the heading what the run began from."""

    def __init__(self, run: RunDirectory) -> None:
        super().__init__(run)
        self.lineage = ancestors(run)

    def heading(self) -> Content:
        """With what the run began from, as far as there is room."""
        began = [plain(self.lineage[0].words, "$muted")] if self.lineage else []
        return Content("  ").join([super().heading(), *began])

    def lineage_words(self) -> list[tuple[str, str]]:
        """All that the run goes back to, to copy."""
        return [("what it began from", ", which ".join(one.words for one in self.lineage))] if self.lineage else []

    @property
    def finishing(self) -> bool:
        """Whether what follows the end of the run is being done."""
        return self.summary is not None and self.summary.status == "finishing"

    @property
    def can_continue(self) -> bool:
        """Whether another run can go on from this one."""
        return self.summary is not None and not self.summary.active and not self.gone and bool(self.state.step)

    @property
    def not_gone(self) -> bool:
        return self.summary is not None and not self.gone

    def action_cancel_actions(self) -> None:
        self.action_command("cancel_when_finished")

    def action_command(self, command: str, args: dict[str, Any] | None = None) -> None:
        """Sends the run's process a command."""
        raise NotImplementedError

    @work(exclusive=True, group="question")
    async def action_when_finished(self) -> None:
        """Chooses what is done when the run has ended; what is left of it for an ending that was, is done after a question."""
        from loratui.engine.runs.when_finished import choice
        from loratui.engine.runs.when_finished.carry_out import left
        from loratui.tui.screens.confirm import ConfirmScreen
        from loratui.tui.screens.when_finished import WhenFinishedScreen

        run = self.run_directory
        chosen = await self.in_thread(choice.chosen_or_none, run)
        screen = WhenFinishedScreen(chosen, lambda values: choice.change(run, values), self.loratui.home, run.name)
        await self.app.push_screen_wait(screen)
        names = await self.in_thread(left, run, self.state)
        question = ConfirmScreen(f"{run.name} has ended. Do it now?", f"Left to do: {', '.join(names)}.", "do it now")
        if not names or self.active:
            return
        if await self.app.push_screen_wait(question):
            self.launch("train", "left")

    @work(exclusive=True, group="question")
    async def action_bounds(self) -> None:
        """Chooses how long the run waits before it is ended, also while it hangs or waits."""
        from loratui.engine.runs import bounds
        from loratui.tui.screens.bounds import BoundsScreen

        run = self.run_directory
        chosen = await self.in_thread(bounds.read, run)
        await self.app.push_screen_wait(BoundsScreen(chosen, lambda values: bounds.change(run, values)))

    @work(exclusive=True, group="question")
    async def action_more(self) -> None:
        """Opens the plan of a run that goes on from this one."""
        from loratui.engine.errors import LoratuiError
        from loratui.engine.runs import continuing
        from loratui.presets.schema import SchemaError
        from loratui.tui.runs.more_screen import MoreScreen
        from loratui.tui.wizard.drafts import saved_from

        run = self.run_directory
        wanted = await self.app.push_screen_wait(MoreScreen(run.name, max(1, self.state.epochs // 2)))
        if wanted is None:
            return
        try:
            if wanted.way == "weights":
                recipe = (await self.in_thread(continuing.from_weights, run)).with_changes({"schedule.epochs": wanted.epochs})
            else:
                recipe = await self.in_thread(continuing.to_continue, run, wanted.epochs, rates=wanted.way)
        except (LoratuiError, SchemaError) as error:
            self.loratui.tell(str(error), "error")
            return
        self.loratui.continue_draft(saved_from(recipe, "plan"))
