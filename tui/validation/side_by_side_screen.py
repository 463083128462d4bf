"""Two LoRA files side by side: the same prompt and seed with each, and a vote for the better one, blind if wanted."""

from __future__ import annotations

from pathlib import Path

from textual import work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content

from loratui.engine.dataset.decoding import ImageError
from loratui.engine.errors import LoratuiError
from loratui.engine.proof import side_by_side
from loratui.engine.proof.side_by_side import Pair, Side, Vote, Votes
from loratui.tui.screens.large_image import LargeImage
from loratui.tui.widgets.line import Line, joined, plain
from loratui.tui.widgets.thumbnail import ThumbnailView


class SideBySideScreen(LargeImage):
    """The arrows vote. Blind, each pair has its own order, the names are hidden and the count comes when all pairs have a vote."""

    CONTEXT = "validation_sides"
    CSS_PATH = "side_by_side_screen.tcss"

    def __init__(self, first: Side, second: Side, *, blind: bool = False) -> None:
        super().__init__()
        self._sides = (first, second)
        self._blind = blind
        self._path = side_by_side.votes_path(first, second)
        self._votes = Votes()
        self._pairs: list[Pair] = []
        self._at = 0

    def heading(self) -> Content:
        return joined(plain("loratui", "bold $accent"), plain("  side by side", "bold"))

    def body(self) -> ComposeResult:
        with Horizontal(id="sides"):
            for side in ("left", "right"):
                with Vertical(classes="half"):
                    yield Line(id=f"{side}-title", classes="half-title")
                    yield ThumbnailView("no image", id=f"{side}-image")
        yield Line(id="side-words")
        yield Line("Looking for images of both …", id="side-vote")
        yield Line(id="side-result")

    def on_mount(self) -> None:
        self._read()

    @work(exclusive=True, group="sides", description="look for images of both files")
    async def _read(self) -> None:
        """In a thread: logs may be long."""
        try:
            pairs = await self.in_thread(side_by_side.pairs_of, *self._sides)
            self._votes = await self.in_thread(side_by_side.read_votes, self._path)
        except LoratuiError as error:
            self.loratui.tell(str(error), "error")
            return
        self._pairs = sorted(pairs, key=lambda pair: pair.id) if self._blind else pairs
        self._at = next((at for at, pair in enumerate(self._pairs) if pair.id not in self._votes.votes), 0)
        self._show()

    # What the keys ask

    @property
    def pair_here(self) -> bool:
        """Whether there are images of both files."""
        return bool(self._pairs)

    image_here = pair_here

    @property
    def several_pairs(self) -> bool:
        return len(self._pairs) > 1

    def action_vote(self, side: str) -> None:
        """For the left one, the right one or both; the same vote again takes it back. Then comes the next pair without a vote."""
        pair = self._pairs[self._at]
        wanted: Vote = "equal" if side == "equal" else self._shown[0 if side == "left" else 1]
        given = None if self._votes.votes.get(pair.id) == wanted else wanted
        try:
            self._votes = side_by_side.vote(self._path, *self._sides, pair, given)
        except LoratuiError as error:
            self.loratui.tell(str(error), "error")
            return
        if given is not None:
            later = [*range(self._at + 1, len(self._pairs)), *range(self._at)]
            self._at = next((at for at in later if self._pairs[at].id not in self._votes.votes), self._at)
        self._show()

    def action_pair(self, by: int) -> None:
        """To another pair."""
        self._at = (self._at + by) % len(self._pairs)
        self._show()

    def action_names(self) -> None:
        """Hides which file is which, or shows it."""
        self._blind = not self._blind
        self._show()

    def action_back(self) -> None:
        """To the screen below; alone, to the list of runs."""
        if len(self.app.screen_stack) > 2:
            self.dismiss(None)
        else:
            self.loratui.open("home")

    @property
    def image_path(self) -> Path | None:
        """Both images in one file."""
        if not self._pairs:
            return None
        try:
            return side_by_side.sheet(*self._sides, self._pairs[self._at], blind=self._blind)
        except (LoratuiError, ImageError) as error:
            self.loratui.tell(str(error), "error")
            return None

    @property
    def image_title(self) -> str:
        return f"A (left) and B (right): {self._pairs[self._at].prompt}"

    # What is shown

    @property
    def _open(self) -> int:
        return self._votes.of(self._pairs)["open"]

    @property
    def _hidden(self) -> bool:
        """Whether nobody may see now which file is which."""
        return self._blind and self._open > 0

    @property
    def _shown(self) -> tuple[Vote, Vote]:
        """What is on the left, and what on the right."""
        return ("second", "first") if self._blind and self._pairs[self._at].swapped else ("first", "second")

    def _show(self) -> None:
        if not self._pairs:
            for which, side in enumerate(("left", "right")):
                self.line(f"{side}-title").say(plain(self._sides[which].title, "bold"))
            self.line("side-vote").say(plain("The two have no image of the same prompt and seed.", "$warning"))
            self.line("side-result").say("loratui compare makes them; see loratui help compare.")
            self.refresh_bindings()
            return
        pair = self._pairs[self._at]
        for at, side in enumerate(("left", "right")):
            which = 0 if self._shown[at] == "first" else 1
            letter = "AB"[at]
            title = letter if self._hidden else f"{letter}: {self._sides[which].title}"
            self.line(f"{side}-title").say(plain(title, "bold"))
            self.query_one(f"#{side}-image", ThumbnailView).show(pair.images[which])
        place = f"{self._at + 1} of {len(self._pairs)}  "
        self.line("side-words").say(plain(place, "$muted"), plain(pair.prompt, "bold"), plain(f"  seed {pair.seed}", "$muted"))
        self.line("side-vote").say(self._vote_words(pair))
        done = not self._open or not self._blind
        words = self._votes.words(*self._sides, self._pairs) if done and self._votes.votes else []
        left = f"{self._open} without a vote. The names and the count come at the end." if self._hidden else ""
        self.line("side-result").say(plain(" ".join(words) or left, "bold" if words else "$muted"))
        self.refresh_bindings()

    def _vote_words(self, pair: Pair) -> Content:
        given = self._votes.votes.get(pair.id)
        if given is None:
            return plain("Which is better?")
        letter = "equal" if given == "equal" else "AB"[self._shown.index(given)]
        return joined(plain("You voted: "), plain(letter if given == "equal" else f"{letter} is better", "bold $success"))
