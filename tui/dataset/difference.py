"""What a change makes of a caption, word by word."""

from __future__ import annotations

from collections.abc import Iterator

from textual.content import Content

from loratui.tui.widgets.line import plain


def difference(before: str, after: str) -> Iterator[Content]:
    """Two lines: what goes, struck and marked with −, and what comes, marked with +."""
    import difflib

    old, new = before.split(" "), after.split(" ")
    gone, come = [plain("− ", "$error")], [plain("+ ", "$success")]
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        style_old, style_new = ("strike $error", "bold $success") if kind != "equal" else ("$muted", "")
        if a < b:
            gone.append(plain(" ".join(old[a:b]) + " ", style_old))
        if c < d:
            come.append(plain(" ".join(new[c:d]) + " ", style_new))
    yield Content.assemble(*gone)
    yield Content.assemble(*come)
