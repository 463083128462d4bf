"""How findings are shown: a sign, a tone and a word for each severity, for every screen and command."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from loratui.engine.findings import Finding

SIGNS: Mapping[str, str] = {"error": "✖", "warning": "!", "info": "·", "ok": "✔"}
TONES: Mapping[str, str] = {"error": "$error", "warning": "$warning", "info": "$muted", "ok": "$success"}
WORDS: Mapping[str, str] = {"error": "error", "warning": "warning", "info": "note"}


def in_one_line(finding: Finding) -> str:
    """`warning: what was found. What to do.`; a note goes without its word."""
    word = "" if finding.severity == "info" else f"{WORDS[finding.severity]}: "
    return f"{word}{finding.message} {finding.remedy}".rstrip()


def in_full(findings: Iterable[Finding]) -> Iterator[str]:
    """Each with its remedy and its reason, a line each, to be cleaned."""
    for finding in findings:
        yield ""
        yield f"{WORDS[finding.severity]}: {finding.message}"
        yield from (f"  {line}" for line in (finding.remedy, finding.why) if line)
