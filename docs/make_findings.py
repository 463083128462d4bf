"""Writes docs/findings.md from the table of findings: `python docs/make_findings.py`."""

from __future__ import annotations

import re
from pathlib import Path

from loratui.engine.findings import SUBJECTS, Kind

WHERE = {"dataset": "dataset", "base": "base", "plan": "plan", "samples": "samples", "": "–"}
"""Where it is fixed: the screens of the wizard."""

TITLES = {
    "dataset": "Dataset",
    "plan": "Plan",
    "samples": "Samples",
    "base": "Base model",
    "machine": "Machine",
    "gpu": "GPU",
    "disk": "Disk",
    "ending": "When finished",
    "run": "Run",
}


def shown(template: str) -> str:
    """A sentence with the names of its figures in italics."""
    said = re.sub(r"(?<!\{)\{([\w.]+)(?::(\w+)(?: ([\w -]+))?)?[^{}]*\}(?!\})", _place, template)
    return said.replace("{{", "{").replace("}}", "}").replace("|", "\\|")


def _place(match: re.Match[str]) -> str:
    name, how, noun = match.groups()
    if how in ("count", "are"):
        return f"*n* {noun}s{' are' if how == 'are' else ''}"
    return {"number": "*n*", "has": "have", "each": f"*{noun}*"}.get(how or "", f"*{name}*")


def row(key: str, kind: Kind, where: str) -> str:
    """One finding as a line of the page."""
    code, _, sentence = key.partition(".")
    name = f"`{code}`" + (f" ({sentence.replace('_', ' ')})" if sentence else "")
    meaning = kind.about or " ".join(filter(None, (shown(kind.message), shown(kind.why))))
    remedy = "given with it" if kind.remedy == "{remedy}" else shown(kind.remedy)
    severity = "note" if kind.severity == "info" else kind.severity
    return f"| {name} | {severity} | {where} | {meaning} | {remedy or '–'} | {kind.source} |"


def page() -> str:
    """The whole page."""
    lines = [
        "# Findings",
        "",
        "What `check`, `plan`, `train`, a run and the app can report about a dataset, a plan, a base, a machine or a run. `id` in `--json` is the code;",
        "if a code has several sentences, a name in brackets tells them apart. An error refuses the start; a warning does not.",
        "This page is made from the TOML files in `engine/findings` by `docs/make_findings.py`.",
    ]
    for subject in SUBJECTS:
        code = int(subject.error.exit_code)
        refuses = any(kind.severity == "error" for kind in subject.kinds.values())
        lines += [
            "",
            f"## {TITLES[subject.name]}",
            "",
            *([f"An error ends the start with exit code {code}.", ""] if refuses else []),
            "| code | severity | fixed in | what it means | remedy | source |",
            "|---|---|---|---|---|---|",
            *(row(key, kind, WHERE[subject.step]) for key, kind in subject.kinds.items()),
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (Path(__file__).parent / "findings.md").write_text(page(), encoding="utf-8")
