"""Text with hanging indents: long lines continue below their first word, not at the left edge."""

from __future__ import annotations

import re

from textual.content import Content
from textual.css.styles import RulesMap
from textual.strip import Strip
from textual.style import Style
from textual.visual import RenderOptions, Visual

_BEGINNING = re.compile(r" *(?:[^\w\s] |\S(?:\S| (?! ))* {2,})?")
"""Spaces; then a mark such as ✔, or a label with two spaces after it."""
_LARGEST_SHARE = 4
"""A beginning takes at most one part of so many of the width, to leave room for the text."""


class Hanging(Visual):
    """Content that wraps with a hanging indent."""

    def __init__(self, content: Content) -> None:
        self._content = content

    def wrapped(self, width: int) -> Content:
        """The text with line ends for `width` cells."""
        if self._content.cell_length <= width and "\n" not in self._content.plain:
            return self._content
        parts = [part for line in self._content.split(allow_blank=True) for part in _wrapped(line, width)]
        return Content("\n").join(parts)

    def render_strips(self, width: int, height: int | None, style: Style, options: RenderOptions) -> list[Strip]:
        return self._laid_out(options.rules, width).render_strips(width, height, style, options)

    def get_optimal_width(self, rules: RulesMap, container_width: int) -> int:
        return self._content.get_optimal_width(rules, container_width)

    def get_minimal_width(self, rules: RulesMap) -> int:
        return self._content.get_minimal_width(rules)

    def get_height(self, rules: RulesMap, width: int) -> int:
        return self._laid_out(rules, width).get_height(rules, width)

    def _laid_out(self, rules: RulesMap, width: int) -> Content:
        return self._content if rules.get("text_wrap") == "nowrap" or width <= 0 else self.wrapped(width)


def _wrapped(line: Content, width: int) -> list[Content]:
    if line.cell_length <= width:
        return [line]
    beginning = _beginning(line, width)
    indent = beginning.cell_length
    first, *rest = line[len(beginning.plain) :].wrap(width - indent) or [Content("")]
    return [beginning + first, *(part.pad_left(indent) for part in rest)]


def _beginning(line: Content, width: int) -> Content:
    """The part of a line that its further lines leave free."""
    found = _BEGINNING.match(line.plain)
    assert found is not None  # it may be empty
    spaces = len(line.plain) - len(line.plain.lstrip(" "))
    beginnings = (line[:end] for end in (found.end(), spaces))
    return next((part for part in beginnings if part.cell_length * _LARGEST_SHARE <= width), Content(""))
