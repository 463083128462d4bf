"""Writes the report of a run from a screen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from textual import work

from loratui.engine.errors import LoratuiError
from loratui.engine.runs.directory import RunDirectory
from loratui.tui.runs.run_screen import RunScreen
from loratui.tui.terminal import ssh_hints


class ReportingScreen(RunScreen):
    """A screen of a run whose report can be written from it."""

    def __init__(self, run: RunDirectory) -> None:
        super().__init__(run)
        self._reporting = False
        self._report: Path | None = None

    @property
    def can_report(self) -> bool:
        """One report at a time."""
        return not self._reporting

    @work(group="report", description="write the report")
    async def action_report(self) -> None:
        """Writes the report into the run; `y` then copies its path and scp line."""
        from loratui.engine import jobs

        self._reporting = True
        self.refresh_bindings()
        self.loratui.tell("Writing the report.")
        request = {"run": str(self.run_directory.path), "folder": "", "photos": False}
        try:
            written = await self.in_thread(jobs.run, "report", request)
        except LoratuiError as error:
            self.loratui.tell(str(error), "error")
        else:
            self._report = Path(written["html"])
            self.loratui.tell(f"The report is written: {self._report}. y copies its scp line.")
        self._reporting = False
        self.refresh_bindings()

    @property
    def report_to_copy(self) -> Sequence[tuple[str, str]]:
        """What `y` offers of the report that was written here."""
        if self._report is None:
            return ()
        return [("scp line of the report", ssh_hints.scp_line(self._report)), ("path of the report", str(self._report))]
