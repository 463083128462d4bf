"""The list of findings and other topics of a dataset, kept in place while its rows change."""

from __future__ import annotations

from collections.abc import Iterable

from textual.widgets import OptionList
from textual.widgets.option_list import Option

from loratui.tui.dataset.topics import Topic


class TopicList(OptionList):
    """One option a topic; the highlight stays on the same topic when others come and go."""

    DEFAULT_CSS = """
    TopicList, TopicList:focus { height: 1fr; border: none; padding: 0; background: $background;
        text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id, markup=False)
        self._shown: list[Topic] = []

    def show(self, topics: Iterable[Topic]) -> None:
        """Shows other rows; says nothing to the terminal if they are the same."""
        new = list(topics)
        if [(t.id, t.title) for t in new] == [(t.id, t.title) for t in self._shown]:
            self._shown = new
            return
        here, before = self.topic.id if self.topic else "", self.highlighted or 0
        self._shown = new
        self.clear_options()
        self.add_options([Option(topic.title) for topic in new])
        found = next((at for at, topic in enumerate(new) if topic.id == here), min(before, len(new) - 1))
        self.highlighted = found if new else None

    @property
    def topic(self) -> Topic | None:
        """The topic under the highlight."""
        at = self.highlighted
        return self._shown[at] if at is not None and at < len(self._shown) else None
