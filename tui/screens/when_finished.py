"""Chooses what is done when a run has ended: copy, command, message, stop of the pod. Each change applies at once."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, get_args

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from loratui.engine.errors import LoratuiError
from loratui.engine.findings import Finding
from loratui.presets.schema import KEYS, SchemaError, WhenFinished
from loratui.tui.findings import SIGNS, TONES
from loratui.tui.widgets.line import Line, plain

Change = Callable[[Mapping[str, Any]], WhenFinished]
"""Takes values by their names without section, and returns what is chosen then. Raises `LoratuiError`, `SchemaError`."""

_NOTIFY: tuple[str, ...] = get_args(KEYS["when_finished.notify"].type)
_NOTIFIES = {"off": "nobody", "both": "webhook and ntfy"}
_FIELDS = {"copy_to": "Copy the files to (rsync:…, rclone:…, hub:owner/name)", "command": "Command, run without a shell"}


class WhenFinishedScreen(ModalScreen[None]):
    """A list of choices and two fields. `f6` sends a test message."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", priority=True),
        Binding("f6", "test", priority=True),
    ]

    def __init__(self, chosen: WhenFinished, change: Change, home: Path, run_name: str) -> None:
        super().__init__()
        self._chosen, self._change, self._home, self._run_name = chosen, change, home, run_name
        self._problem = ""

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Line(plain("When finished", "bold $accent"))
            yield OptionList(*self._options(), id="ending", markup=False)
            for name, label in _FIELDS.items():
                yield Line(plain(label, "$muted"))
                yield Input(_typed(self._chosen, name), id=f"ending-{name}", compact=True, max_length=1000)
            yield Line(id="ending-said")
            yield Line(plain("enter changes · tab: next field · f6 sends a test message · esc closes", "$muted"))

    def on_mount(self) -> None:
        self.query_one(OptionList).focus()
        self._judge()

    @on(OptionList.OptionSelected)
    def _choose(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        now = self._chosen
        match event.option_id:
            case "notify":
                self._take({"notify": _NOTIFY[(_NOTIFY.index(now.notify) + 1) % len(_NOTIFY)]})
            case "pod":
                self._take({"pod": "keep" if now.pod == "stop" else "stop"})
            case name:
                self._take({str(name): not getattr(now, str(name))})

    @on(Input.Submitted)
    def _submit(self, event: Input.Submitted) -> None:
        event.stop()
        self._take_fields()

    def action_close(self) -> None:
        """Takes what is typed; a second time it closes with what cannot be used left out."""
        if self._problem or self._take_fields():
            self.dismiss()

    @work(exclusive=True, group="test", thread=True)
    def action_test(self) -> None:
        """Sends a test message by each channel, in a thread."""
        from loratui.engine.runs.when_finished import choice, notify

        channels = choice.channels(self._chosen)
        if not channels:
            self.app.call_from_thread(self._say, plain("Nobody is notified: choose a webhook or ntfy first.", "$warning"))
            return
        self.app.call_from_thread(self._say, plain("Sending a test message …", "$muted"))
        results = [(channel, notify.test(channel, self._run_name)) for channel in channels]
        words = [plain(f"{one}: {r.message}", "$success" if r.state == "done" else "$error") for one, r in results]
        self.app.call_from_thread(self._say, Content("\n").join(words))

    def _take_fields(self) -> bool:
        """Whether all that is typed can be used."""
        values: dict[str, Any] = {}
        for name in _FIELDS:
            text = self.query_one(f"#ending-{name}", Input).value.strip()
            if text == _typed(self._chosen, name):
                continue
            try:
                values[name] = tuple(shlex.split(text)) if name == "command" else text
            except ValueError as error:
                self._refuse(f"{text}: {error}.")
                return False
        return not values or self._take(values)

    def _take(self, values: Mapping[str, Any]) -> bool:
        try:
            self._chosen = self._change(values)
        except (LoratuiError, SchemaError) as error:
            self._refuse(str(error))
            return False
        self._problem = ""
        for at, option in enumerate(self._options()):
            self.query_one(OptionList).replace_option_prompt_at_index(at, option.prompt)
        self._judge()
        return True

    def _refuse(self, problem: str) -> None:
        self._problem = problem
        self._say(plain(problem, "$error"))

    def _say(self, words: Content) -> None:
        if self.is_mounted:
            self.query_one("#ending-said", Line).say(words)

    @work(exclusive=True, group="judge", thread=True)
    def _judge(self) -> None:
        """Says what stands against the choice on this machine, and what a stopped pod costs."""
        from loratui.engine.planning.ending_rules import check_ending

        found = list(check_ending(self._chosen, self._home))
        self.app.call_from_thread(self._say, Content("\n").join(_told(found)))

    def _options(self) -> list[Option]:
        now = self._chosen
        told = f" after {now.countdown_s} s, once the files are verified" if now.pod == "stop" else ""
        rows = [
            ("   ", f"notify: {_NOTIFIES.get(now.notify, now.notify)}", "notify"),
            ("[✔]" if now.pod == "stop" else "[ ]", f"stop the rented pod{told}", "pod"),
            (
                "[✔]" if now.after_failure else "[ ]",
                "all this after a failure too (messages are always sent then)",
                "after_failure",
            ),
            ("[✔]" if now.after_pause else "[ ]", "all this after a pause or a stop too", "after_pause"),
        ]
        return [Option(Content.assemble(plain(f"{mark} ", "$accent"), plain(words)), id=id) for mark, words, id in rows]


def _typed(chosen: WhenFinished, name: str) -> str:
    return shlex.join(chosen.command) if name == "command" else chosen.copy_to


def _told(found: list[Finding]) -> list[Content]:
    """A line each; there is room for one remedy."""
    words = [one.message if at else f"{one.message} {one.remedy}".rstrip() for at, one in enumerate(found)]
    return [plain(f"{SIGNS[one.severity]} {said}", TONES[one.severity]) for one, said in zip(found, words, strict=True)]
