"""What is said before the start of what was chosen for the end of a run: missing programs, addresses, keys, and what a stopped pod costs."""

from __future__ import annotations

from pathlib import Path

import pytest

from loratui.engine.machine import addresses, pods
from loratui.engine.planning.ending_rules import check_ending
from loratui.presets.schema import WhenFinished


@pytest.fixture(autouse=True)
def own_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORATUI_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in (*pods._NAMES, "HF_TOKEN", *(one for names in addresses.VARIABLES.values() for one in names)):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pods, "_FIRST_PROCESS", tmp_path / "environ")


def said(home: Path, **chosen: object) -> dict[str, str]:
    return {found.key: found.message for found in check_ending(WhenFinished(**chosen), home)}  # type: ignore[arg-type]  # mypy takes each value for any field's


def test_nothing_chosen_is_nothing_said(tmp_path: Path) -> None:
    assert said(tmp_path) == {}


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "rsync is not here" in said(tmp_path, copy_to="rsync:host:x")["ending_no_program"]
    assert "rclone is not here" in said(tmp_path, copy_to="rclone:x:y")["ending_no_program"]
    assert "no-such is not here" in said(tmp_path, command=("no-such", "x"))["ending_no_program"]
    assert said(tmp_path, copy_to="hub:a/b").keys() == {"ending_no_token"}
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefgh")
    assert said(tmp_path, copy_to="hub:a/b") == {}


def test_an_address_is_missed_until_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "webhook" in said(tmp_path, notify="webhook")["ending_no_address"]
    addresses.keep("ntfy_url", "https://ntfy.sh/topic")
    monkeypatch.setenv("LORATUI_WEBHOOK_URL", "https://example.org/hook")
    assert said(tmp_path, notify="both") == {}
    addresses.file().chmod(0o640)
    assert "can be read by others" in said(tmp_path, notify="ntfy")["ending_addresses"]


def test_a_secret_in_a_choice_is_an_error_that_does_not_repeat_it(tmp_path: Path) -> None:
    found = said(tmp_path, command=("sh", "--password", "hunter2hunter2"))
    assert "hunter2" not in " ".join(found.values())
    assert found["ending_secret"].startswith("when_finished.command")


def test_a_machine_that_is_no_pod(tmp_path: Path) -> None:
    assert "no pod" in said(tmp_path, pod="stop")["ending_pod.none"]


def test_a_pod_without_a_key_is_told_before_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_POD_ID", "abc")
    monkeypatch.setattr("loratui.engine.planning.ending_rules.erases", lambda *_: False)
    found = said(tmp_path, pod="stop")
    assert "no key" in found["ending_pod"]
    assert "volume disk" in found["ending_pod_costs"]
    monkeypatch.setenv("RUNPOD_API_KEY", "rpa_abcdefgh12345678")
    assert said(tmp_path, pod="stop").keys() == {"ending_pod_costs"}


def test_a_home_on_the_disk_that_a_stop_erases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_POD_ID", "abc")
    monkeypatch.setenv("RUNPOD_API_KEY", "rpa_abcdefgh12345678")
    monkeypatch.setattr("loratui.engine.planning.ending_rules.erases", lambda *_: True)
    assert "will not stop the pod" in said(tmp_path, pod="stop")["ending_pod_erases"]
    assert "ending_pod_erases.copied" in said(tmp_path, pod="stop", copy_to="hub:a/b")


def test_the_environment_of_the_first_process_counts_too(tmp_path: Path) -> None:
    """A session of ssh lacks the variables of the container."""
    pods._FIRST_PROCESS.write_bytes(b"PATH=/bin\0CONTAINER_ID=4242\0CONTAINER_API_KEY=abcdef0123\0SECRET=x\0")
    found = pods.this_pod()
    assert found is not None
    assert (found.provider, found.id, found.key) == ("vast", "4242", "abcdef0123")
    assert "abcdef0123" not in repr(found)


@pytest.mark.parametrize("env", [{"CONTAINER_ID": "7"}, {"VAST_CONTAINERLABEL": "C.x"}, {"RUNPOD_POD_ID": "a b"}, {}])
def test_what_is_no_pod(env: dict[str, str]) -> None:
    assert pods.this_pod(env) is None


def test_only_the_container_disk_of_runpod_is_erased(tmp_path: Path) -> None:
    runpod, vast = pods.Pod("runpod", "a", ""), pods.Pod("vast", "1", "")
    assert pods.erases(runpod, Path("/etc/loratui/none"))
    assert not pods.erases(runpod, Path("/proc"))
    assert not pods.erases(vast, Path("/etc"))
