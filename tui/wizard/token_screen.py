"""Asks for a Hugging Face token, without showing it."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from loratui.engine.errors import LoratuiError
from loratui.tui.app_words import in_token_field
from loratui.tui.services import services_of
from loratui.tui.widgets.line import Line, plain


class TokenScreen(ModalScreen[bool]):
    """Closes with whether the hub has confirmed a token."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", priority=True)]

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Line(plain("Hugging Face token", "bold $accent"))
            words = (
                "Some models require you to accept their terms. Accept them on the model's page, "
                "make a token with read access at huggingface.co/settings/tokens, and paste it here. The hub's own "
                "tools store it; loratui writes it nowhere else."
            )
            yield Line(plain(words))
            field = Input(password=True, placeholder="hf_…", id="token", compact=True)
            field.cursor_blink = False
            yield field
            yield Line(id="token-said")
            yield Line(plain("enter signs in, esc closes", "$muted"))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        token = event.value.strip()
        if token:
            self._sign_in(token)

    @work(exclusive=True, group="sign in", description="sign in to the hub")
    async def _sign_in(self, token: str) -> None:
        """Closes, or shows the problem."""
        from loratui.engine.machine import hub

        said = self.query_one("#token-said", Line)
        said.wait("Checking the token with the hub")
        try:
            account = await asyncio.to_thread(hub.login, token)
        except (LoratuiError, OSError) as error:
            # An error about a token must not repeat it.
            problem = in_token_field(str(error).replace(token, "…"))
            said.say(plain(f"✖ {problem}", "$error"))
        else:
            services_of(self).tell(f"Signed in to the hub as {account.name}.")
            if self.is_current:  # esc may have closed it meanwhile
                self.dismiss(True)

    def action_leave(self) -> None:
        self.dismiss(False)
