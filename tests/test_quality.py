"""The checks that need no running program: style, types, walls, and what start-up may load."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", [("-m", "ruff", "check", "."), ("-m", "ruff", "format", "--check", "."), ("-m", "mypy")])
def test_style_and_types(command: tuple[str, ...]) -> None:
    done = run(*command)
    assert done.returncode == 0, done.stdout + done.stderr


def test_walls_between_the_rooms() -> None:
    done = run("-c", "from importlinter.cli import lint_imports_command; lint_imports_command()")
    assert done.returncode == 0, done.stdout + done.stderr


HEAVY = ("torch", "diffusers", "transformers", "peft", "accelerate", "numpy", "bitsandbytes", "questionary")


@pytest.mark.parametrize(
    ("module", "also"),
    [
        ("loratui.tui.cli", ("textual", "PIL", "tomlkit")),
        ("loratui.tui.app", ()),
        ("loratui.engine.runs.supervisor", ("textual", "PIL")),
        ("loratui.presets", ("textual", "PIL", "loratui.engine", "loratui.tui")),
    ],
)
def test_nothing_heavy_is_loaded_at_import(module: str, also: tuple[str, ...]) -> None:
    forbidden = (*HEAVY, *also)
    code = f"import sys, {module}; print([m for m in {forbidden!r} if m in sys.modules])"
    assert run("-c", code).stdout.strip() == "[]"


def test_every_module_has_one_name_only() -> None:
    code = "import sys, loratui.tui.app, loratui.engine.planning.prepare; print([m for m in ('tui', 'engine', 'presets') if m in sys.modules])"
    assert run("-c", code).stdout.strip() == "[]"


def product_files() -> list[Path]:
    return [path for folder in ("tui", "engine", "presets") for path in (ROOT / folder).rglob("*.py")]


def test_no_shell_no_pickle_no_eval() -> None:
    unsafe = re.compile(
        r"shell=True|os\.system|os\.popen|\bpickle\b|torch\.load\(|(?<![.\w])(eval|exec)\(|trust_remote_code|allow_pickle"
    )
    found = [f"{path.relative_to(ROOT)}: {m.group()}" for path in product_files() if (m := unsafe.search(_code(path)))]
    assert not found


def _code(path: Path) -> str:
    """The file without comments and docstrings."""
    import io
    import tokenize

    skipped = {tokenize.COMMENT, tokenize.STRING, tokenize.NL}
    text, before = [], tokenize.OP
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type not in skipped:
            text.append(f" {token.string}" if token.type == before == tokenize.NAME else token.string)
            before = token.type
    return "".join(text)


def test_ci_runs_the_commands_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    lines = [line for line in (ROOT / ".ci" / "run").read_text().splitlines() if ".venv" in line]
    assert " && ".join(lines).replace(" --quiet", "") in readme


def test_the_page_of_settings_is_up_to_date() -> None:
    code = "import sys; sys.path.insert(0, 'docs'); import make_settings; sys.stdout.write(make_settings.page())"
    assert run("-c", code).stdout == (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
