"""The checks that need no running program: style, types, walls, and what start-up may load."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
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


HEAVY = (
    "torch",
    "diffusers",
    "transformers",
    "peft",
    "accelerate",
    "numpy",
    "bitsandbytes",
    "questionary",
    "charset_normalizer",
    "ftfy",
)


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


@pytest.mark.parametrize("name", ["settings", "findings"])
def test_the_pages_that_are_made_of_tables_are_up_to_date(name: str) -> None:
    code = f"import sys; sys.path.insert(0, 'docs'); import make_{name}; sys.stdout.write(make_{name}.page())"
    assert run("-c", code).stdout == (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


# ---- whatever anybody may have put into a file is read in two rooms alone


ROOMS = ("engine/untrusted.py", "presets/toml_text.py")
MADE_BY_HAND = "presets/bases/make/"
"""Scripts that are no part of the installed package."""

KERNEL = "a file of the kernel, which has no size and nobody else writes"
ALLOWED = {
    ("engine/machine/cgroup.py", ".read_text"): KERNEL,
    ("engine/machine/hardware.py", ".read_text"): KERNEL,
    ("engine/machine/processor.py", ".read_text"): KERNEL,
    ("engine/machine/volume.py", ".read_text"): KERNEL,
    ("engine/runs/ages.py", ".read_bytes"): KERNEL,
    ("engine/runs/lock.py", ".read_text"): KERNEL,
    ("engine/machine/pods.py", ".open"): KERNEL,
    ("engine/runs/lock.py", ".read_bytes"): KERNEL,
    ("engine/dataset/worker_limits.py", ".read_text"): KERNEL,
    ("engine/dataset/caption_words.py", ".read_text"): "a list that comes with the program",
    ("engine/dataset/archives.py", "ZipFile"): "the reader of zips, with limits of its own",
    ("engine/dataset/decoding.py", "pillow.open"): "the reader of images, with limits of its own; it is given an open file",
    ("engine/families/loading.py", "safe_open"): "weights of a base, after our own check of the header",
    ("tui/settings.py", "tomlkit.parse"): "a text that parse_toml has taken before, to keep its comments",
    ("tui/cli.py", "open"): "a descriptor of this process, to be written to",
}
"""File and call -> why it may stand there."""


def outside_the_rooms() -> Iterator[tuple[str, ast.Module]]:
    for path in product_files():
        name = path.relative_to(ROOT).as_posix()
        if name not in ROOMS and not name.startswith(MADE_BY_HAND):
            yield name, ast.parse(path.read_text(encoding="utf-8"))


def readings(tree: ast.AST) -> Iterator[str]:
    """The calls in a module that read a file or parse a text without bounds."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (found := _reading(node)):
            yield found


def _reading(call: ast.Call) -> str:
    if isinstance(call.func, ast.Name):
        name = call.func.id
        return name if name in ("open", "safe_open", "load_file", "ZipFile") else ""
    if not isinstance(call.func, ast.Attribute):
        return ""
    name, owner = call.func.attr, ast.unparse(call.func.value)
    if (owner, name) in {("tomlkit", "parse"), ("tomlkit", "load"), ("io", "open"), ("Image", "open"), ("pillow", "open")}:
        return f"{owner}.{name}"
    if owner in ("json", "tomllib", "pickle", "np", "torch") and name in ("load", "loads"):
        return f"{owner}.{name}"
    if name in ("ZipFile", "load_file", "safe_open"):
        return name
    if name in ("read_text", "read_bytes") and owner != "untrusted":
        return f".{name}"
    mode = call.args[0] if call.args else None
    if name == "open" and isinstance(mode, ast.Constant) and str(mode.value) in ("r", "rb", "rt", "rb+", "br"):
        return ".open"
    return ""


def test_foreign_files_are_read_in_their_rooms_alone() -> None:
    found = {(name, call) for name, tree in outside_the_rooms() for call in readings(tree)}
    assert found - ALLOWED.keys() == set(), "read it with engine/untrusted.py or presets/toml_text.py"
    assert ALLOWED.keys() - found == set(), "nothing of the kind stands there any more"


@pytest.mark.parametrize(
    "code",
    [
        "json.loads(text)", "json.load(file)", "tomllib.loads(t)", "tomlkit.parse(t)", "Path(p).read_text()", "path.read_bytes()",
        "open(p)", "path.open('rb')", "io.open(p)", "safe_open(p, 'pt')", "load_file(p)", "zipfile.ZipFile(p)", "torch.load(p)",
    ],
)  # fmt: skip
def test_the_scan_sees_each_kind(code: str) -> None:
    assert list(readings(ast.parse(code)))


@pytest.mark.parametrize(
    "code", ["read_text(p)", "app.open('home')", "log.open(path)", "path.open('xb')", "untrusted.read_text(p)"]
)
def test_the_scan_passes_what_is_none(code: str) -> None:
    assert not list(readings(ast.parse(code)))


# ---- whatever is kept is written by one room


SEAM = "engine/durable.py"
WRITES = {
    (
        "engine/machine/hub_fetch.py",
        ".open",
    ): "a partial download and a lock of the hub's cache, written in place so that they go on",
    ("engine/machine/hub_fetch.py", ".symlink_to"): "the hub's cache has links where the library makes them",
    ("engine/machine/hub_fetch.py", ".replace"): "puts such a link in its place; a content goes through durable.move",
    ("engine/runs/event_log.py", "os.fsync"): "of the log, which durable.open_to_write opened",
    ("engine/dataset/prepared_copy.py", "shutil.copyfileobj"): "into a file of durable.new_file",
    ("tui/cli.py", "os.open"): "the null device",
    ("engine/runs/trainer_process.py", "os.open"): "the null device",
    ("engine/machine/volume.py", "os.link"): "tries what a file system can do, with files that are gone on return",
    ("engine/machine/volume.py", ".rename"): "the same",
    ("engine/training/live/worker.py", ".write_text"): "tells the kernel which process to end first",
    ("engine/importing/result.py", "tempfile.TemporaryDirectory"): "a zip or a list of folders is counted and forgotten",
    ("tui/commands/check.py", "tempfile.TemporaryDirectory"): "the same",
    ("tui/commands/upload.py", "tempfile.TemporaryDirectory"): "a model card and its images, until they are uploaded",
    ("tui/validation/upload_screen.py", "tempfile.TemporaryDirectory"): "the same",
    (
        "engine/training/together.py",
        "tempfile.TemporaryDirectory",
    ): "where processes find each other and torch leaves their errors, until they end",
}
"""File and call -> why it may stand there."""


def writings(tree: ast.AST) -> Iterator[str]:
    """The calls in a module that make, change or rename a file past the one room for it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (found := _writing(node)):
            yield found


def _writing(call: ast.Call) -> str:
    words = [word.value for given in call.args for word in ast.walk(given) if isinstance(word, ast.Constant)]
    changes = any(isinstance(word, str) and set(word) <= set("rwaxbt+") and set(word) & set("wax+") for word in words)
    if isinstance(call.func, ast.Name):
        return "open" if call.func.id == "open" and changes else ""
    if not isinstance(call.func, ast.Attribute):
        return ""
    name, owner = call.func.attr, ast.unparse(call.func.value)
    if owner == "os":
        opens = name == "open" and any(flag in ast.unparse(call) for flag in ("O_WRONLY", "O_RDWR", "O_CREAT"))
        kept = ("rename", "replace", "link", "symlink", "fsync", "mkdir", "makedirs", "truncate", "renames", "mkfifo")
        return f"os.{name}" if opens or name in kept else ""
    if (owner == "tempfile" and name != "gettempdir") or (owner == "shutil" and (name.startswith("copy") or name == "move")):
        return f"{owner}.{name}"
    if name in ("write_text", "write_bytes", "touch", "mkdir", "symlink_to", "hardlink_to", "rename"):
        return f".{name}"
    # A text's has two arguments.
    if name == "replace" and owner != "dataclasses" and len(call.args) == 1 and not call.keywords:
        return ".replace"
    return ".open" if name == "open" and changes else ""


def outside_the_seam() -> Iterator[tuple[str, ast.Module]]:
    for path in product_files():
        name = path.relative_to(ROOT).as_posix()
        if name != SEAM and not name.startswith(MADE_BY_HAND):
            yield name, ast.parse(path.read_text(encoding="utf-8"))


def test_what_is_kept_is_written_by_one_room() -> None:
    found = {(name, call) for name, tree in outside_the_seam() for call in writings(tree)}
    assert found - WRITES.keys() == set(), "write it with engine/durable.py"
    assert WRITES.keys() - found == set(), "nothing of the kind stands there any more"


@pytest.mark.parametrize(
    "code",
    [
        "os.replace(a, b)", "os.open(p, os.O_WRONLY | os.O_CREAT)", "tempfile.mkstemp()", "Path(a).replace(b)", "a.rename(b)", "os.fsync(fd)",
        "open(p, 'w')", "p.open('xb')", "p.open('r+b')", "p.write_text(t)", "p.mkdir(parents=True)", "shutil.copy2(a, b)", "p.touch()",
    ],
)  # fmt: skip
def test_the_scan_sees_each_way_to_write(code: str) -> None:
    assert list(writings(ast.parse(code)))


@pytest.mark.parametrize(
    "code", ["t.replace('a', 'b')", "replace(x, a=1)", "dataclasses.replace(x, a=1)", "p.open('rb')", "os.open(p, os.O_RDONLY)"]
)
def test_the_scan_of_writings_passes_what_is_none(code: str) -> None:
    assert not list(writings(ast.parse(code)))


# ---- one check of where a name leads


CHECKED = {
    "engine/untrusted.py": "the check itself",
    "engine/machine/hub_answers.py": "every part of a name on the hub is looked at",
    "engine/machine/hub_cache.py": "no name on the hub has two dots in a row",
    "engine/runs/directory.py": "`..` as the run that a person names",
}


def test_where_a_name_leads_is_checked_in_one_place() -> None:
    found = {path.relative_to(ROOT).as_posix() for path in product_files() if '".."' in path.read_text(encoding="utf-8")}
    assert {name for name in found if not name.startswith(MADE_BY_HAND)} == CHECKED.keys(), (
        "use untrusted.leads_out or untrusted.inside"
    )


def test_a_wheel_has_what_the_program_imports_of_the_makers_of_the_bases() -> None:
    """The scripts that made the embedded bases stay out of it, and the reader of their drawings does not."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    left_out = f".namespace/loratui/{MADE_BY_HAND}*"
    assert wheel["exclude"][0] == left_out
    kept = {path.removeprefix("!.namespace/loratui/") for path in wheel["exclude"][1:]}
    needed = {f"{MADE_BY_HAND}__init__.py", f"{MADE_BY_HAND}reader.safetensors"}
    waiting = [path for path in product_files() if not path.relative_to(ROOT).as_posix().startswith(MADE_BY_HAND)]
    while waiting:
        for name in re.findall(
            r"^\s*from loratui\.presets\.bases\.make\.(\w+) import", waiting.pop().read_text(encoding="utf-8"), re.M
        ):
            if (file := f"{MADE_BY_HAND}{name}.py") not in needed:
                needed.add(file)
                waiting.append(ROOT / file)
    assert kept == needed
