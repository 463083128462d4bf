"""What is read of the machine while it trains, and what of it is told."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loratui.engine.machine.accelerator import shown_gpus
from loratui.engine.machine.telemetry import MachineMonitor, TelemetrySample, throttle_words, worth_telling

UUIDS = ("GPU-11aa", "GPU-22bb", "GPU-33cc")


@pytest.mark.parametrize(
    ("visible", "places"),
    [
        (None, (0, 1, 2)),
        ("1", (1,)),
        (" 2 , 0", (2, 0)),
        ("GPU-22", (1,)),
        ("GPU-", ()),
        ("GPU-99", ()),
        ("7", ()),
        ("0,7,1", (0,)),
        ("0,1,0", ()),
        ("", ()),
        ("-1", ()),
        ("all", ()),
        ("MIG-1", ()),
    ],
)
def test_the_gpus_are_those_that_cuda_shows(visible: str | None, places: tuple[int, ...]) -> None:
    assert shown_gpus(visible, UUIDS) == places


def test_a_slice_of_the_only_gpu_is_told_by_that_gpu() -> None:
    assert shown_gpus("MIG-1", UUIDS[:1]) == (0,)
    assert shown_gpus(None, ()) == ()


def test_the_card_that_torch_named_is_read_whatever_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pynvml", _Driver())
    sampler = MachineMonitor(tmp_path)
    assert sampler.read().gpu == "card 0"
    sampler.watch(UUIDS[1])
    assert sampler.read().gpu == "card 1"
    sampler.watch("GPU-of-another-machine")
    assert sampler.read().gpu == "card 0"


def test_reasons_for_lower_clocks_are_words_and_idling_is_none() -> None:
    assert throttle_words(0x01) == ()
    assert throttle_words(0x04 | 0x40) == ("power limit", "heat")


def test_a_machine_without_a_driver_still_tells_memory_and_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pynvml", None)
    reading = MachineMonitor(tmp_path).read()
    assert reading.gpu is None
    assert reading.disk_free_gib is not None
    assert reading.disk_free_gib > 0
    assert reading.ram_gib is not None
    assert "gpu" not in reading.to_fields()
    assert "throttle" not in reading.to_fields()


class _Driver:
    """A driver that answers most questions."""

    NVML_TEMPERATURE_GPU = 0

    def __init__(self, lost: bool = False) -> None:
        self.lost = lost

    def nvmlInit(self) -> None: ...
    def nvmlShutdown(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetUUID(self, handle: int) -> bytes:
        return UUIDS[handle].encode()

    def nvmlDeviceGetName(self, handle: int) -> str:
        return f"card {handle}"

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        if self.lost:
            raise RuntimeError("GPU is lost")
        return SimpleNamespace(used=3 << 30, total=24 << 30)

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        return SimpleNamespace(gpu=97)

    def nvmlDeviceGetTemperature(self, handle: int, kind: int) -> int:
        return 71

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        return 285_400

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: int) -> int:
        raise RuntimeError("not supported")

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: int) -> int:
        return 0x20


@pytest.mark.parametrize("lost", [False, True])
def test_what_the_driver_tells_is_told_and_what_it_refuses_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pynvml", _Driver(lost))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    fields = MachineMonitor(tmp_path).read().to_fields()
    assert fields["gpu"] == "card 1"
    assert fields["gpu_c"] == 71
    assert fields["gpu_w"] == 285.4
    assert fields["throttle"] == ("heat",)
    assert "gpu_limit_w" not in fields
    assert fields.get("gpu_memory_gib") == (None if lost else 3.0)


def test_only_what_changed_is_told_again_and_everything_once_in_a_while() -> None:
    before = TelemetrySample(gpu_percent=97, gpu_c=70, ram_gib=8.0)
    assert worth_telling(None, before, 0)
    assert not worth_telling(before, TelemetrySample(gpu_percent=96, gpu_c=71, ram_gib=8.02), 5)
    assert worth_telling(before, TelemetrySample(gpu_percent=80, gpu_c=70, ram_gib=8.0), 5)
    assert worth_telling(before, TelemetrySample(gpu_percent=97, gpu_c=70, ram_gib=8.0, throttle=("heat",)), 5)
    assert worth_telling(before, TelemetrySample(gpu_percent=None, gpu_c=70, ram_gib=8.0), 5)
    assert worth_telling(before, before, 30)


@given(st.text(max_size=40), st.lists(st.text(max_size=12), max_size=4))
def test_no_value_of_the_environment_leads_beyond_the_gpus(visible: str, uuids: list[str]) -> None:
    assert all(0 <= place < len(uuids) for place in shown_gpus(visible, uuids))
