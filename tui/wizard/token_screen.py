"""Asks for a token of the Hugging Face hub, without showing it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input

from loratui.tui.app_words import in_token_field
from loratui.tui.services import services_of
from loratui.tui.widgets.line import Line, plain


@dataclass
class SignedIn(Message):
    """The hub has confirmed a token, or refused it."""

    name: str
    problem: str = ""


class TokenScreen(ModalScreen[bool]):
    """Closes with whether the hub has confirmed a token."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", priority=True)]

    def compose(self) -> ComposeResult:
        """What it is for, the field, and what came of it."""
        with Vertical(classes="dialog"):
            yield Line(plain("A token of the Hugging Face hub", "bold $accent"))
            words = (
                "Some models are given out only to people who have accepted their terms. Accept them on the model's page, "
                "make a token with the right to read at huggingface.co/settings/tokens, and paste it here. The hub's own "
                "tools keep it; loratui writes it nowhere else."
            )
            yield Line(plain(words))
            field = Input(password=True, placeholder="hf_…", id="token", compact=True)
            field.cursor_blink = False
            yield field
            yield Line(id="token-said")
            yield Line(plain("enter signs in, esc closes", "$muted"))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Has the hub confirm it."""
        event.stop()
        token = event.value.strip()
        if token:
            self.query_one("#token-said", Line).wait("Asking the hub whose token it is")
            self._sign_in(token)

    @work(thread=True, exclusive=True, group="sign in", description="sign in to the hub")
    def _sign_in(self, token: str) -> None:
        from loratui.engine.errors import LoratuiError
        from loratui.engine.machine import hub

        try:
            account = hub.login(token)
        except (LoratuiError, OSError) as error:
            # Whatever is said of a token must not repeat it.
            self.post_message(SignedIn("", str(error).replace(token, "…")))
        else:
            self.post_message(SignedIn(account.name))

    def on_signed_in(self, message: SignedIn) -> None:
        """Closes, or says what is wrong."""
        if message.problem:
            self.query_one("#token-said", Line).say(plain(f"✖ {in_token_field(message.problem)}", "$error"))
            return
        services_of(self).tell(f"Signed in to the hub as {message.name}.")
        self.dismiss(True)

    def action_leave(self) -> None:
        """Without a token."""
        self.dismiss(False)
