"""No child process takes code from the current folder, or a setting of Python that changes what loratui does."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from made_images import clean_set

from loratui.engine import children
from loratui.engine.dataset.deep import measure_all
from loratui.engine.dataset.scan import scan
from loratui.engine.errors import LoratuiError
from loratui.engine.handover.keep import written_by_job
from loratui.engine.jobs import JobFailed
from loratui.engine.machine import hub
from loratui.engine.runs import lock
from loratui.engine.runs.directory import RunDirectory, create_run
from loratui.engine.runs.launcher import launch

ROOT = Path(__file__).parents[2]

POISON = "import os, sys\nopen(os.environ['WITNESS'], 'a').write(f'{__name__} in {sys.argv}\\n')\n"
NAMES = (
    "json.py",
    "argparse.py",
    "torch.py",
    "numpy.py",
    "sitecustomize.py",
    "usercustomize.py",
    "huggingface_hub.py",
    "PIL.py",
)


@pytest.fixture
def witness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder full of traps; the file that is returned comes to be when one snaps."""
    trap = tmp_path / "trap"
    (trap / "loratui").mkdir(parents=True)
    for name in (*NAMES, "loratui/__init__.py"):
        (trap / name).write_text(POISON)
    found = tmp_path / "witness"
    monkeypatch.setenv("WITNESS", str(found))
    monkeypatch.setenv("PYTHONPATH", f":{tmp_path / 'elsewhere'}:.")  # `PYTHONPATH=$PYTHONPATH:/x` with nothing before it
    monkeypatch.chdir(trap)
    return found


def test_the_traps_snap_where_nothing_is_done_against_it(witness: Path) -> None:
    subprocess.run([sys.executable, "-m", "json.tool", "--help"], check=False, capture_output=True)
    assert witness.exists()


def test_the_hubs_process_takes_no_code_from_here(witness: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    assert hub.account() is None
    assert not witness.exists()


def test_the_deep_worker_takes_no_code_from_here(witness: Path, tmp_path: Path) -> None:
    done = measure_all(scan(clean_set(tmp_path / "images", 1)).images, 64, workers=1)
    assert len(done.facts) == 1
    assert not witness.exists()


def test_the_exporter_takes_no_code_from_here(witness: Path, tmp_path: Path) -> None:
    with pytest.raises(JobFailed):
        written_by_job(RunDirectory(tmp_path / "no-run"))
    assert not witness.exists()


def test_supervisor_and_trainer_take_no_code_from_here_or_from_the_run(witness: Path, tmp_path: Path) -> None:
    run = create_run(tmp_path / "home", "a", recipe_toml="", effective_toml="", ledger={})
    for name in NAMES:
        (run.path / name).write_text(POISON)
    launch(run)
    wait_until_over(run)
    assert "run_finished" in run.events.read_text()
    assert not witness.exists()


def test_the_command_takes_no_code_from_here(witness: Path) -> None:
    script = Path(sys.executable).parent / "loratui"
    done = subprocess.run([script, "presets", "--json"], env={**os.environ, "PYTHONPATH": ""}, capture_output=True, check=False)
    assert json.loads(done.stdout)["presets"]
    assert not witness.exists()


def test_started_as_a_module_it_takes_no_more_code_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tomllib.py").write_text(POISON)  # what a subcommand loads, after main has begun
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WITNESS", str(tmp_path / "witness"))
    done = subprocess.run([sys.executable, "-m", "loratui.tui.cli", "presets", "--json"], capture_output=True, check=False)
    assert json.loads(done.stdout)["presets"]
    assert not (tmp_path / "witness").exists()


def wait_until_over(run: RunDirectory) -> None:
    held = None
    while held is None:
        try:
            held = lock.acquire(run.lock)
        except LoratuiError:
            time.sleep(0.02)
    held.release()


# ---- what is inherited


def test_what_changes_python_stays_out_and_what_finds_an_install_stays_in() -> None:
    env = {
        "PYTHONOPTIMIZE": "2",
        "PYTHONINSPECT": "1",
        "PYTHONSTARTUP": "/home/me/.pythonrc",
        "PYTHONWARNINGS": "error",
        "PYTHONDEVMODE": "1",
        "PYTHONPROFILEIMPORTTIME": "1",
        "PYTHONIOENCODING": "utf-16",
        "PYTHONBREAKPOINT": "os.system",
        "PYTHONNEVERHEARDOF": "1",
        "PYTHONPATH": "/opt/torch:",
        "PYTHONUTF8": "1",
        "HF_TOKEN": "hf_x",
        "PATH": "/usr/bin",
    }
    assert children.environment(env) == {
        "PYTHONPATH": "/opt/torch",
        "PYTHONUTF8": "1",
        "PYTHONSAFEPATH": "1",
        "HF_TOKEN": "hf_x",
        "PATH": "/usr/bin",
    }


@pytest.mark.parametrize(
    ("compiled", "writable", "environ", "prefix"),
    [
        (True, True, {"PYTHONDONTWRITEBYTECODE": "1"}, None),
        (False, True, {}, None),  # Python writes it beside the source
        (False, True, {"PYTHONDONTWRITEBYTECODE": "1"}, "python"),
        (False, False, {}, "python"),
        (False, False, {"PYTHONPYCACHEPREFIX": "/elsewhere"}, "/elsewhere"),
    ],
)
def test_a_trainer_keeps_what_python_would_compile_each_time(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    compiled: bool,
    writable: bool,
    environ: dict[str, str],
    prefix: str | None,
) -> None:
    library = tmp_path / "peft"
    (library / "__pycache__").mkdir(parents=True)
    (library / "__init__.py").touch()
    if compiled:
        Path(importlib.util.cache_from_source(str(library / "__init__.py"))).touch()
    monkeypatch.setattr(children, "_LARGE", ("peft",))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: spec)
    spec = importlib.util.spec_from_file_location("peft", library / "__init__.py")
    monkeypatch.setattr(os, "access", lambda path, _: writable or path != library)
    made = children.environment(environ, compiled=tmp_path)
    assert made.get("PYTHONPYCACHEPREFIX") == (str(tmp_path / prefix) if prefix else None)
    assert ("PYTHONDONTWRITEBYTECODE" in made) == (prefix is None and "PYTHONDONTWRITEBYTECODE" in environ)
    assert not children.environment(environ).get("PYTHONPYCACHEPREFIX", "").startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("PYTHONPATH", ".", None),
        ("PYTHONPATH", "", None),
        ("PYTHONPATH", ":/a::b:/c:", "/a:/c"),
        ("PYTHONUSERBASE", "here", None),
        ("PYTHONPYCACHEPREFIX", "cache", None),
        ("PATH", ".:/usr/bin:", "/usr/bin"),
        ("LD_LIBRARY_PATH", "/usr/local/cuda/lib64:", "/usr/local/cuda/lib64"),
        ("LD_PRELOAD", "./evil.so /usr/lib/libjemalloc.so:libtcmalloc.so evil/x.so", "/usr/lib/libjemalloc.so libtcmalloc.so"),
        ("LD_AUDIT", "x/y.so", None),
    ],
)
def test_no_entry_of_a_path_leads_to_the_current_folder(name: str, value: str, kept: str | None) -> None:
    assert children.environment({name: value}).get(name) == kept


def test_assertions_hold_in_a_child_although_the_person_has_them_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONOPTIMIZE", "1")
    code = "import sys; print(sys.flags.optimize, sys.flags.safe_path)"
    with children.start([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.read().split() == [b"0", b"True"]


def test_a_program_of_the_current_folder_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trap = tmp_path / "tmux"
    trap.write_text("#!/bin/sh\necho trap\n")
    trap.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError):
        children.ask("tmux", timeout_s=5.0, environ={"PATH": f".::{tmp_path / 'none'}"})


# ---- there is no other way


STARTERS = {"fork", "forkpty", "system", "popen", "startfile"}


def starts_a_process(node: ast.AST) -> str:
    """The name under which a piece of code could start a process past `engine.children`; "" for all other code."""
    if isinstance(node, ast.Import):
        return next((a.name for a in node.names if a.name.split(".")[0] in ("multiprocessing", "pty", "pexpect")), "")
    if isinstance(node, ast.ImportFrom):
        module = (node.module or "").split(".")[0]
        names = {alias.name for alias in node.names}
        if module in ("multiprocessing", "pty") or (module in ("subprocess", "os") and names & {"run", "Popen", *STARTERS}):
            return f"from {module}"
        return "ProcessPoolExecutor" if "ProcessPoolExecutor" in names else ""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        owner, name = node.value.id, node.attr
        if owner == "os" and (name in STARTERS or name.startswith(("exec", "spawn", "posix_spawn"))):
            return f"os.{name}"
        if owner == "subprocess" and name in ("run", "call", "check_call", "check_output", "getoutput", "getstatusoutput"):
            return f"subprocess.{name}"
        if owner == "asyncio" and name.startswith("create_subprocess"):
            return f"asyncio.{name}"
    if isinstance(node, ast.Call) and ast.unparse(node.func) in ("subprocess.Popen", "Popen"):
        return "subprocess.Popen"
    return ""


def test_every_process_is_started_by_the_one_module() -> None:
    found = set()
    for folder in ("engine", "tui", "presets"):
        for path in (ROOT / folder).rglob("*.py"):
            if "make" in path.parts:  # scripts that made the embedded bases; not part of the installed package
                continue
            found |= {
                (path.relative_to(ROOT).as_posix(), n)
                for node in ast.walk(ast.parse(path.read_text()))
                if (n := starts_a_process(node))
            }
    assert {what for file, what in found if file == "engine/children.py"} == {
        "subprocess.Popen",
        "subprocess.run",
        "os.execve",
        "os.execv",
    }
    # The supervisor forks there, so that its trainer waits for the first event; what it becomes is `children.become`.
    assert {entry for entry in found if entry[0] != "engine/children.py"} == {("engine/runs/trainer_process.py", "os.fork")}


@pytest.mark.parametrize(
    "code", ["subprocess.run([])", "os.execvp('a', [])", "os.posix_spawn", "from subprocess import Popen", "os.system('')"]
)
def test_the_search_finds_what_it_is_for(code: str) -> None:
    assert any(starts_a_process(node) for node in ast.walk(ast.parse(code)))
