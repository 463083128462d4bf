"""The findings of a dataset, and below them what is said of the one under the highlight."""

from __future__ import annotations

from collections.abc import Iterable

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll

from loratui.tui.dataset.topic_list import TopicList
from loratui.tui.dataset.topics import Topic
from loratui.tui.widgets.line import Line


class FindingsPane(Vertical):
    """A list and a text."""

    DEFAULT_CSS = """
    FindingsPane { width: 52; padding: 0 1; }
    FindingsPane #topics { height: 1fr; max-height: 50%; }
    FindingsPane #topic-scroll { height: 1fr; border-top: solid $border-blurred; scrollbar-size-vertical: 1; }
    FindingsPane #topic-text { padding: 0 1; }
    """

    def compose(self) -> ComposeResult:
        yield TopicList(id="topics")
        with VerticalScroll(id="topic-scroll", can_focus=False):
            yield Line(id="topic-text")

    def show(self, topics: Iterable[Topic]) -> None:
        """Other findings, or other words on them."""
        self.query_one(TopicList).show(topics)
        self._explain()

    def on_option_list_option_highlighted(self) -> None:
        self._explain()

    def _explain(self) -> None:
        topic = self.query_one(TopicList).topic
        self.query_one("#topic-text", Line).say(topic.detail if topic else "")
        self.query_one("#topic-scroll").scroll_home(animate=False)
