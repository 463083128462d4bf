"""What a validation screen does with an advice: opens the next plan with its change made, or chooses a file."""

from __future__ import annotations

from textual import work

from loratui.engine.errors import LoratuiError
from loratui.engine.proof.judgement import Advice, Best
from loratui.presets.schema import SchemaError
from loratui.tui.runs.run_screen import RunScreen
from loratui.tui.validation.model import ValidationModel


class Applying(RunScreen):
    """The keys, and when they work."""

    model: ValidationModel

    @property
    def can_apply(self) -> bool:
        """Whether there is an advice that a key can carry out."""
        return self.model.first_to_apply is not None

    @property
    def is_judged(self) -> bool:
        """Whether there is a verdict."""
        return self.model.judgement is not None

    def action_apply(self) -> None:
        """Applies the first advice that can be."""
        if self.model.first_to_apply is not None:
            self.apply(self.model.first_to_apply)

    def action_verdict(self) -> None:
        from loratui.tui.validation.verdict_screen import VerdictScreen

        def closed(advice: Advice | None) -> None:
            if advice is not None:
                self.apply(advice)

        if self.model.judgement is not None:
            self.app.push_screen(VerdictScreen(self.model, self.model.judgement), closed)

    def apply(self, advice: Advice) -> None:
        """Carries an advice out as far as a program can."""
        if advice.do.use is not None:
            self.use(advice.do.use)
        else:
            self._plan(advice)

    def use(self, best: Best) -> None:
        """Chooses a file."""
        raise NotImplementedError

    @work(exclusive=True, group="question")
    async def _plan(self, advice: Advice) -> None:
        """Opens the plan of the next run."""
        from loratui.engine.proof.next_plan import next_plan
        from loratui.tui.wizard.drafts import saved_from

        try:
            found = await self.in_thread(next_plan, self.run_directory, advice, self.loratui.home)
        except (LoratuiError, SchemaError) as error:
            self.loratui.tell(str(error), "error")
            return
        self.loratui.continue_draft(saved_from(found.recipe, "dataset" if found.re_caption else "plan"))
        if found.re_caption:
            self.loratui.tell("Its images are listed here as “advice”: write better captions, save them with s, then go on.")
