"""Lasting writes are whole or absent, private, and fail with a sentence."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from loratui.engine import durable
from loratui.engine.errors import DiskError, UsageError


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def run_python(code: str, *args: object, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **env}, timeout=30, check=False)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_replaced_in_one_move_and_private_under_any_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        durable.make_directory(tmp_path / "a" / "b")
        durable.write_file(tmp_path / "a" / "b" / "file", b"one")
        durable.write_file(tmp_path / "a" / "b" / "file", b"two", durable=False)
    finally:
        os.umask(old)
    assert (tmp_path / "a/b/file").read_bytes() == b"two"
    assert mode(tmp_path / "a") == mode(tmp_path / "a/b") == 0o700
    assert mode(tmp_path / "a/b/file") == 0o600
    assert names_in(tmp_path / "a/b") == ["file"]


def test_json_refuses_what_json_cannot_say(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        durable.write_json(tmp_path / "x.json", {"loss": float("nan")})
    durable.write_json(tmp_path / "x.json", {"näme": "狐"})
    assert json.loads((tmp_path / "x.json").read_text(encoding="ascii")) == {"näme": "狐"}


def test_a_link_at_the_target_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("keep")
    (tmp_path / "state.json").symlink_to(tmp_path / "victim")
    durable.write_file(tmp_path / "state.json", b"{}")
    assert (tmp_path / "victim").read_text() == "keep"
    assert not (tmp_path / "state.json").is_symlink()


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "no permission"),
        (errno.EIO, "disk reports an error"),
    ],
)
def test_disk_trouble_is_named_with_path_and_remedy_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    (tmp_path / "file").write_bytes(b"old")

    def fail(fd: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DiskError, match=words) as caught:
        durable.write_file(tmp_path / "file", b"new")
    assert str(tmp_path / "file") in str(caught.value)
    assert caught.value.remedy
    assert names_in(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_file_in_place_of_a_folder_is_the_persons_mistake(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(UsageError, match="a file stands where a folder is needed"):
        durable.make_directory(tmp_path / "home" / "runs")


def test_a_file_size_limit_is_a_disk_error_and_the_old_file_stays(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    code = """
import resource, sys
from pathlib import Path
from loratui.engine.errors import DiskError
from loratui.engine import durable
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    durable.write_file(Path(sys.argv[1]), b"x" * 5000)
except DiskError as error:
    print(error)
"""
    done = run_python(code, tmp_path / "file")
    assert "larger than is allowed" in done.stdout
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names_in(tmp_path) == ["file"]


def test_a_folder_that_is_read_only_to_this_user_is_a_disk_error(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere; tests/faults covers it with a dropped uid")
    (tmp_path / "home").mkdir(mode=0o500)
    with pytest.raises(DiskError, match="no permission"):
        durable.make_directory(tmp_path / "home" / "runs")


PUBLISH = """
import sys
from pathlib import Path
from loratui.engine import durable
final = Path(sys.argv[1])
with durable.building(final) as folder:
    for name in "abc":
        (folder / name).write_text(name * 1000)
"""


@pytest.mark.parametrize("point", ["publish.start", "publish.synced", "publish.renamed", "publish.done"])
def test_a_published_folder_is_whole_or_absent_wherever_the_process_is_killed(tmp_path: Path, point: str) -> None:
    final = tmp_path / "step-000010"
    done = run_python(PUBLISH, final, LORATUI_FAILPOINT=f"{point}:1")
    assert done.returncode == -signal.SIGKILL
    if final.exists():
        assert point in ("publish.renamed", "publish.done")
        assert {p.name: p.read_text() for p in final.iterdir()} == {n: n * 1000 for n in "abc"}
    else:
        assert point in ("publish.start", "publish.synced")
    durable.sweep_leftovers(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == (["step-000010"] if final.exists() else [])


@pytest.mark.parametrize("point", ["write_file.opened", "write_file.written", "write_file.synced", "write_file.renamed"])
def test_a_written_file_is_the_old_or_the_new_one_wherever_the_process_is_killed(tmp_path: Path, point: str) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(b"old")
    code = "import sys; from pathlib import Path; from loratui.engine import durable\n"
    code += "durable.write_file(Path(sys.argv[1]), b'new' * 100)"
    assert run_python(code, path, LORATUI_FAILPOINT=f"{point}:1").returncode == -signal.SIGKILL
    assert path.read_bytes() == (b"new" * 100 if point == "write_file.renamed" else b"old")
    durable.sweep_leftovers(tmp_path)
    assert names_in(tmp_path) == ["state.json"]


def test_a_failpoint_counts_its_hits_and_is_silent_without_the_variable(tmp_path: Path) -> None:
    code = "from loratui.engine.durable import failpoint\n"
    code += "for i in range(5):\n    failpoint('x'); failpoint('y'); print(i, flush=True)"
    assert run_python(code, LORATUI_FAILPOINT="x:3").stdout.split() == ["0", "1"]
    assert run_python(code).returncode == 0


def test_a_folder_never_replaces_another(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious").write_text("x")
    with pytest.raises(FileExistsError), durable.building(tmp_path / "run") as folder:
        (folder / "new").write_text("y")
    assert [p.name for p in tmp_path.rglob("*")] == ["run", "precious"]


def test_a_block_that_fails_publishes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), durable.building(tmp_path / "run"):
        raise ZeroDivisionError
    assert names_in(tmp_path) == []


def test_a_removed_tree_is_gone_under_its_name_even_if_killed_half_way(tmp_path: Path) -> None:
    (tmp_path / "run" / "deep").mkdir(parents=True)
    code = "import sys; from pathlib import Path; from loratui.engine import durable\ndurable.remove_tree(Path(sys.argv[1]))"
    assert run_python(code, tmp_path / "run", LORATUI_FAILPOINT="remove.renamed:1").returncode == -signal.SIGKILL
    assert not (tmp_path / "run").exists()
    assert durable.sweep_leftovers(tmp_path, temporary=False) == 1
    assert names_in(tmp_path) == []
    durable.remove_tree(tmp_path / "run")


def test_removing_does_not_follow_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(UsageError):
        durable.remove_tree(tmp_path / "link")
    assert (tmp_path / "real").is_dir()


def test_short_writes_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data[:3])))
    durable.write_file(tmp_path / "file", b"0123456789")
    assert (tmp_path / "file").read_bytes() == b"0123456789"


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is made to last, and what is renamed, in order: power loss keeps only what was synced before."""
    done: list[str] = []
    fsync, rename = os.fsync, os.rename

    def synced(fd: int) -> None:
        done.append(f"sync {Path(os.readlink(f'/proc/self/fd/{fd}')).name}")  # noqa: PTH115 - the link's text is wanted
        fsync(fd)

    def renamed(source: str, target: str, **handles: int) -> None:
        done.append(f"rename to {target}")
        rename(source, target, **handles)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    return done


def test_a_durable_file_is_synced_before_it_gets_its_name_and_the_name_after(tmp_path: Path, order: list[str]) -> None:
    durable.write_file(tmp_path / "state.json", b"x")
    temporary, *rest = order
    assert temporary.startswith("sync .state.json.")
    assert rest == ["rename to state.json", f"sync {tmp_path.name}"]
    order.clear()
    durable.write_file(tmp_path / "state.json", b"x", durable=False)
    assert order == ["rename to state.json"]


def test_a_folder_is_synced_in_all_its_parts_before_it_gets_its_name(tmp_path: Path, order: list[str]) -> None:
    with durable.building(tmp_path / "step") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "c").write_text("c")
        (folder / "a").write_text("a")
        (folder / "b").write_text("b")
        name = folder.name
    renamed = order.index("rename to step")
    assert set(order[:renamed]) == {"sync a", "sync b", "sync c", "sync deep", f"sync {name}"}
    assert order.index("sync c") < order.index("sync deep") < order.index(f"sync {name}")
    assert order[renamed + 1 :] == [f"sync {tmp_path.name}"]


def test_removing_lets_the_name_go_before_the_content(tmp_path: Path, order: list[str]) -> None:
    (tmp_path / "run").mkdir()
    durable.remove_tree(tmp_path / "run")
    first, second = order
    assert first.startswith("rename to .run.")
    assert second == f"sync {tmp_path.name}"


# ---- what never takes the place of anything


def test_a_new_file_is_whole_or_not_there_and_replaces_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"x" * 3_000_000)
    durable.copy_new(source, target)
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        durable.write_new(target, b"other")
    assert target.read_bytes() == source.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskError, match="disk is full"):
        durable.copy_new(source, tmp_path / "third")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "target"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP])
def test_a_volume_without_hard_links_is_written_to_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(number, "no links here")

    monkeypatch.setattr(os, "link", refused)
    durable.write_new(tmp_path / "a", b"x")
    durable.keep_as(tmp_path / "a", tmp_path / "b")
    with pytest.raises(FileExistsError):
        durable.write_new(tmp_path / "a", b"y")
    assert [(path.name, path.read_bytes()) for path in sorted(tmp_path.iterdir())] == [("a", b"x"), ("b", b"x")]


def test_a_name_of_the_most_letters_is_written(tmp_path: Path) -> None:
    durable.write_file(tmp_path / ("ä" * 127), b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["ä" * 127]


def test_a_memory_that_cannot_be_kept_is_no_error(tmp_path: Path) -> None:
    assert durable.remember(tmp_path / "new" / "memory.json", ["a"])
    (tmp_path / "file").write_text("")
    assert not durable.remember(tmp_path / "file" / "memory.json", {})


def test_sweeping_takes_what_is_half_written_or_half_deleted_and_nothing_else(tmp_path: Path) -> None:
    for name in (".a.01234567.tmp", ".step-1.01234567.removed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    for name in (".b.01234567.tmp", "kept.tmp", ".kept"):
        (tmp_path / name).touch()
    assert durable.sweep_leftovers(tmp_path, temporary=False) == 1
    assert names_in(tmp_path) == [".a.01234567.tmp", ".b.01234567.tmp", ".kept", "kept.tmp"]
    (tmp_path / ".step-1.01234567.removed").mkdir()
    assert durable.sweep_leftovers(tmp_path) == 3
    assert names_in(tmp_path) == [".kept", "kept.tmp"]
