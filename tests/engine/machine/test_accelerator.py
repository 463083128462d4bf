"""The driver's answer and torch's are compared in one place; a card that cannot be used is refused with the line that mends it."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import threading
import types
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loratui.engine import children
from loratui.engine.errors import ExitCode
from loratui.engine.jobs import JOBS
from loratui.engine.machine import accelerator as accelerators
from loratui.engine.machine import cuda_builds, hardware
from loratui.engine.machine.accelerator import Accelerator, TorchDevice, TorchFacts, facts_of, judge, match
from loratui.engine.machine.cuda_builds import BUILDS, build_for, has_kernels, install_line, is_served, version_of
from loratui.engine.machine.hardware import Gpu, Listing

SUPPORT = Path(__file__).parents[2] / "support"
TODAY = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")
CU126 = ("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90")


def gpu(name: str = "NVIDIA RTX A5000", driver: str = "580.95.05", index: int = 0, capability: Any = (8, 6)) -> Gpu:
    uuid = f"GPU-0000000{index}-1111-2222-3333-444444444444"
    return Gpu(index, name, 24.0, 20.0, driver, 0, 40, 30.0, uuid, f"00000000:{index + 1:02X}:00.0", capability)


def torch_of(*cards: Gpu, arches: tuple[str, ...] = TODAY, cuda: str = "13.0", **known: Any) -> TorchFacts:
    devices = tuple(TorchDevice(card.name, card.capability or (8, 6), 23.5, card.uuid.removeprefix("GPU-")) for card in cards)
    return TorchFacts(**{"version": "2.13.0", "cuda": cuda, "arches": arches, "devices": devices, **known})


def listed(*cards: Gpu, problem: str = "") -> Listing:
    return Listing(cards, problem)


def test_a_card_that_both_know_is_used_with_the_memory_that_torch_has() -> None:
    found = judge(listed(gpu()), torch_of(gpu()), None)
    card = accelerators.Card("NVIDIA RTX A5000", 23.5, (8, 6), gpu().uuid)
    assert found == Accelerator(card, together=(gpu().uuid,), listed=(gpu(),))


def test_what_the_driver_says_of_a_whole_card_is_not_said_of_its_slice() -> None:
    (whole,) = torch_of(gpu()).devices
    sliced = torch_of(devices=(dataclasses.replace(whole, total_gib=11.0),))
    assert judge(listed(gpu()), sliced, None).listed == ()


def test_cards_that_train_together_are_listed_in_their_order() -> None:
    both, other = [gpu(index=1), gpu(index=0)], gpu("NVIDIA A40", index=2)
    found = judge(listed(gpu(index=0), gpu(index=1), other), torch_of(*both, other), None)
    assert [card.index for card in found.listed] == [1, 0]
    assert [card.uuid for card in found.listed] == list(found.together)


def test_without_a_gpu_nothing_is_asked_and_nothing_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "listing", lambda *_: listed())
    monkeypatch.setattr(hardware, "has_device_file", lambda: False)
    monkeypatch.setattr(accelerators, "torch_facts", lambda _: pytest.fail("torch was asked"))
    assert accelerators.accelerator() == Accelerator()


NONE = {"arches": ()}
REFUSED = {
    "driver too old": (
        listed(gpu(driver="550.54.14")),
        torch_of(**NONE, problem="The NVIDIA driver on your system is too old (found version 12040)."),
        None,
        ("driver 550.54.14 is too old", "CUDA 13.0", "580 or newer", "whl/cu126"),
    ),
    "driver too old, and torch says nothing": (
        listed(gpu(driver="470.82.01")), torch_of(**NONE, cuda="12.6"), None, ("470.82.01", "525.60.13 or newer", "whl/cu118")
    ),
    "driver older than any torch": (
        listed(gpu(driver="390.157")), torch_of(**NONE), None, ("390.157", "No torch works with driver 390.157")
    ),
    "a build for CPUs": (
        listed(gpu()), torch_of(cuda="", version="2.13.0+cpu", **NONE), None, ("2.13.0+cpu is a build for CPUs", "whl/cu130")
    ),
    "a build for AMD": (listed(gpu()), torch_of(cuda="", hip="6.3", **NONE), None, ("AMD", "whl/cu130")),
    "torch that cannot be loaded": (
        listed(gpu(driver="535.183.01")),
        TorchFacts(broken="libcudart.so.13: cannot open shared object file"),
        None,
        ("cannot be loaded", "libcudart.so.13", "whl/cu126"),
    ),
    "every card hidden": (listed(gpu()), torch_of(**NONE), "", ('CUDA_VISIBLE_DEVICES is ""', "unset CUDA_VISIBLE_DEVICES")),
    "hidden by -1": (listed(gpu()), torch_of(**NONE), "-1", ('is "-1"', "unset")),
    "hidden by a word": (listed(gpu()), torch_of(**NONE), "all", ('is "all"', "unset")),
    "hidden by another card's UUID": (listed(gpu()), torch_of(**NONE), "GPU-dead", ('is "GPU-dead"', "unset")),
    "a card older than the build": (
        listed(gpu("GeForce GTX 1080 Ti", capability=(6, 1))),
        torch_of(gpu("GeForce GTX 1080 Ti", capability=(6, 1))),
        None,
        ("no kernels", "6.1", "whl/cu126"),
    ),
    "a card newer than the build": (
        listed(gpu("NVIDIA GeForce RTX 5090", capability=(12, 0))),
        torch_of(gpu("NVIDIA GeForce RTX 5090", capability=(12, 0)), arches=CU126, cuda="12.6"),
        None,
        ("no kernels", "12.0", "whl/cu130"),
    ),
    "a card that no torch serves": (
        listed(gpu("Tesla K80", capability=(3, 7))),
        torch_of(gpu("Tesla K80", capability=(3, 7))),
        None,
        ("no kernels", "3.7", "has kernels for this card"),
    ),
    "a card taken by another program": (
        listed(gpu()),
        torch_of(gpu(), problem="CUDA error: CUDA-capable device(s) is/are busy or unavailable"),
        None,
        ("taken by another program", "nvidia-smi -c 0"),
    ),
    "an error that nobody knows": (listed(gpu()), torch_of(gpu(), problem="strange"), None, ("strange", "whl/cu130")),
    "links that are not up": (
        listed(gpu()), torch_of(**NONE, problem="Error 802: system not yet initialized"), None, ("Fabric Manager",)
    ),
    "a driver that lists nothing": (
        listed(problem="Driver/library version mismatch"), torch_of(**NONE), None, ("version mismatch", "Restart the machine")
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_torch_cannot_use_is_refused_with_its_remedy(case: str) -> None:
    listing, facts, visible, words = REFUSED[case]
    found = judge(listing, facts, visible)
    assert found.card is None
    for word in words:
        assert word in f"{found.problem} {found.remedy}"


def test_another_card_that_torch_can_use_is_named() -> None:
    old, new = gpu("Tesla K80", capability=(3, 7)), gpu("NVIDIA T4", index=1, capability=(7, 5))
    found = judge(listed(old, new), torch_of(old, new), None)
    assert "no kernels for Tesla K80" in found.problem
    assert f"CUDA_VISIBLE_DEVICES={new.uuid} to train on NVIDIA T4" in found.remedy


def test_a_gpu_that_torch_alone_knows_is_used_and_none_is_made_up() -> None:
    assert judge(listed(), torch_of(gpu()), None).card is not None
    assert judge(listed(), torch_of(), None) == judge(listed(), torch_of(cuda=""), "0") == Accelerator()


def test_a_device_file_without_a_driver_is_a_gpu_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(hardware, "_DEV", tmp_path)
    assert hardware.listing() == listed()
    (tmp_path / "nvidiactl").touch()  # of the driver, not of a card
    assert hardware.listing() == listed()
    (tmp_path / "nvidia0").touch()
    assert hardware.listing().gpus == ()
    assert "pynvml" in hardware.listing().problem


def test_a_variable_that_hides_nothing_is_not_blamed() -> None:
    found = judge(listed(gpu()), torch_of(**NONE, problem="CUDA unknown error - this may be due to an incorrectly set up"), "0")
    assert "CUDA_VISIBLE_DEVICES" not in found.problem
    assert "CUDA unknown error" in found.problem


def test_a_slices_name_is_not_blamed_for_a_driver_that_does_not_work() -> None:
    two = listed(gpu(), gpu(index=1))
    found = judge(two, torch_of(**NONE, problem="Error 802: system not yet initialized"), "MIG-1111")
    assert "Fabric Manager" in found.problem
    found = judge(two, torch_of(**NONE, problem="CUDA error: no CUDA-capable device is detected"), "7")
    assert "hides every GPU" in found.problem


def test_two_screens_that_ask_at_once_load_torch_once(monkeypatch: pytest.MonkeyPatch) -> None:
    times = []

    def ask() -> TorchFacts:
        times.append(threading.get_ident())
        threading.Event().wait(0.1)
        return torch_of(gpu())

    monkeypatch.setattr(accelerators, "_ask_torch", ask)
    others = [threading.Thread(target=accelerators.torch_facts, args=(listed(gpu()),)) for _ in range(3)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    assert len(times) == 1


def test_a_card_without_free_memory_is_a_card() -> None:
    assert judge(listed(gpu()), torch_of(gpu(), problem="CUDA error: out of memory"), None).card is not None


def test_a_driver_that_does_not_answer_is_no_reason_while_torch_has_the_card() -> None:
    found = judge(listed(problem="it does not answer"), torch_of(gpu()), None)
    assert found.card is not None
    assert found.problem == ""


def test_of_several_cards_only_the_shown_one_counts_whatever_its_number() -> None:
    slow, fast = gpu("Tesla T4", index=0, capability=(7, 5)), gpu("NVIDIA A100", index=1, capability=(8, 0))
    both = judge(listed(slow, fast), torch_of(fast, slow), None)  # CUDA's order: the fastest first
    assert both.card is not None
    assert both.card.name == "NVIDIA A100"
    assert both.card.uuid == fast.uuid
    assert both.hidden == ()
    one = judge(listed(slow, fast), torch_of(slow), slow.uuid)
    assert one.card is not None
    assert one.card.name == "Tesla T4"
    assert one.hidden == (1,)


def test_cards_of_one_kind_can_train_together_in_torchs_order() -> None:
    first, other, third = gpu(index=0), gpu("NVIDIA T4", index=1, capability=(7, 5)), gpu(index=2)
    found = judge(listed(first, other, third), torch_of(third, other, first), None)
    assert found.together == (third.uuid, first.uuid)
    assert judge(listed(first, third), torch_of(third), third.uuid).together == (third.uuid,)


def test_cards_are_told_apart_by_uuid_then_place_then_name() -> None:
    first, second = gpu(index=0), gpu(index=1)
    device = TorchDevice(first.name, (8, 6), 24.0)
    assert match((first, second), dataclasses.replace(device, uuid=second.uuid.removeprefix("GPU-").upper())) == second
    assert match((first, second), dataclasses.replace(device, pci="00000000:02:00")) == second
    assert match((first, second), device) is None  # two of the same name
    assert match((first, gpu("NVIDIA T4", index=1)), device) == first
    assert match((first,), dataclasses.replace(device, name="NVIDIA RTX A5000 MIG 1g.6gb", uuid="of a slice")) == first


@pytest.mark.parametrize(
    ("driver", "capability", "tag"),
    [
        ("595.10", (9, 0), "cu130"), ("580.65.06", (7, 5), "cu130"), ("580.65.06", (7, 0), "cu126"), ("575.57.08", (12, 0), "cu128"),
        ("570.86.15", (8, 9), "cu128"), ("565.57.01", (8, 9), "cu126"), ("525.60.13", (8, 0), "cu126"), ("525.60.11", (8, 0), "cu118"),
        ("470.256.02", (7, 5), "cu118"), ("450.51.06", (7, 5), None), ("", (8, 0), None), ("580.95.05", (6, 1), "cu126"),
        ("560.35.05", (12, 0), None), ("580.95.05", (3, 7), None), ("550.54.14", None, "cu126"), ("580", (10, 0), "cu130"),
    ],
)  # fmt: skip
def test_the_build_is_the_newest_that_driver_and_card_take(driver: str, capability: Any, tag: str | None) -> None:
    found = build_for(driver, capability)
    assert (found.tag if found else None) == tag


@given(st.tuples(*[st.integers(0, 999)] * 3), st.one_of(st.none(), st.tuples(st.integers(3, 13), st.integers(0, 9))))
def test_no_build_is_named_that_the_driver_does_not_serve(driver: tuple[int, int, int], capability: Any) -> None:
    found = build_for(".".join(map(str, driver)), capability)
    if found is not None:
        assert driver >= found.least_driver
        assert is_served(".".join(map(str, driver)), f"{found.tag[2:4]}.{found.tag[4]}")


def test_the_table_goes_from_new_to_old() -> None:
    drivers = [build.least_driver for build in BUILDS]
    assert drivers == sorted(drivers, reverse=True)


@pytest.mark.parametrize(
    ("capability", "arches", "runs"),
    [
        ((8, 9), ("sm_86",), True), ((8, 6), ("sm_89",), False), ((9, 0), ("sm_86",), False), ((9, 0), ("compute_86",), True),
        ((6, 1), ("sm_60",), True), ((6, 1), TODAY, False), ((12, 0), CU126, False), ((12, 1), ("sm_120",), True),
        ((9, 0), ("sm_90a",), True), ((9, 1), ("sm_90a",), False), ((10, 3), ("sm_100f",), True), ((8, 0), (), True),
        ((8, 0), ("gfx90a",), False), ((7, 0), ("compute_120",), False),
    ],
)  # fmt: skip
def test_kernels_run_on_the_cards_that_cuda_says(capability: tuple[int, int], arches: tuple[str, ...], runs: bool) -> None:
    assert has_kernels(capability, arches) is runs


@given(st.text(max_size=60))
def test_any_text_is_some_version(text: str) -> None:
    assert all(part >= 0 for part in version_of(text))


def test_the_install_line_is_for_the_environment_that_runs_this(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/my box/.venv/bin/python")
    monkeypatch.setattr(cuda_builds, "_has_pip", lambda: True)
    line = (
        "'/my box/.venv/bin/python' -m pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu126"
    )
    assert install_line("550.54.14", (8, 6)) == line
    monkeypatch.setattr(cuda_builds, "_has_pip", lambda: False)
    assert install_line("550.54.14", (8, 6)).startswith("uv pip install --python '/my box/.venv/bin/python' --reinstall torch")


def test_the_page_on_installing_has_the_same_table() -> None:
    rows = (Path(__file__).parents[3] / "docs" / "install.md").read_text().splitlines()
    for build in BUILDS:
        (row,) = (row for row in rows if row.startswith("|") and f"`{build.tag}`" in row)
        assert f"| {'.'.join(f'{part:02d}' for part in build.least_driver)} or newer |" in row


# ---- asking torch


class FakeCuda:
    """As much of torch.cuda as is asked."""

    def __init__(self, *, usable: bool = True, warning: str = "", fails: str = "") -> None:
        self.usable, self.warning, self.fails = usable, warning, fails

    def is_available(self) -> bool:
        if self.warning:
            warnings.warn(self.warning, stacklevel=1)
        return self.usable

    def get_arch_list(self) -> list[str]:
        return ["sm_75", "sm_80"]

    def device_count(self) -> int:
        return 1

    def get_device_properties(self, index: int) -> Any:
        known = {"name": "Some card", "major": 7, "minor": 5, "total_memory": 15 << 30, "uuid": "0000-1111"}
        return types.SimpleNamespace(**known, pci_domain_id=0, pci_bus_id=0x17, pci_device_id=0)


def fake_torch(cuda: FakeCuda, version: str | None = "13.0") -> Any:
    def ones(*_: Any, **__: Any) -> Any:
        if cuda.fails:
            raise RuntimeError(cuda.fails)
        return types.SimpleNamespace(sum=lambda: types.SimpleNamespace(item=lambda: 8))

    numbers = types.SimpleNamespace(cuda=version, hip=None)
    return types.SimpleNamespace(__version__="2.13.0", version=numbers, cuda=cuda, ones=ones)


def asked(monkeypatch: pytest.MonkeyPatch, torch: Any, *, link: bool = False) -> TorchFacts:
    from loratui.engine.training import torch_facts

    monkeypatch.setitem(sys.modules, "torch", torch)
    return facts_of(json.loads(json.dumps(torch_facts.gather(link=link))))


class FakeLink:
    """Copies to a card that take so many ms each, and events that tell the time."""

    def __init__(self, *taken_ms: float) -> None:
        self.left, self.now = list(taken_ms), 0.0

    def copy_(self, *_: Any, **__: Any) -> None:
        self.now += self.left.pop(0)

    def event(self, **_: Any) -> Any:
        mark = types.SimpleNamespace(at=0.0)
        mark.record = lambda: setattr(mark, "at", self.now)
        mark.elapsed_time = lambda other: other.at - mark.at
        return mark


def test_the_link_to_the_card_is_measured_in_the_middle_of_its_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    torch, link = fake_torch(FakeCuda()), FakeLink(90.0, 2.7, 2.6, 70.0, 2.7, 2.8)
    torch.cuda.Event, torch.cuda.synchronize = link.event, lambda: None
    torch.uint8, torch.empty, torch.empty_like = "uint8", lambda *_, **__: link, lambda *_, **__: link
    (device,) = asked(monkeypatch, torch, link=True).devices
    assert device.link_gb_s == pytest.approx(2**26 / 1e6 / 2.7, abs=0.1)
    here = judge(listed(gpu()), torch_of(gpu()), None)
    assert here.card is not None
    assert here.card.link_gb_s is None


def test_a_link_that_cannot_be_measured_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = fake_torch(FakeCuda())

    def refused(*_: Any, **__: Any) -> Any:
        raise RuntimeError("CUDA error: out of memory")

    torch.uint8, torch.empty = "uint8", refused
    found = asked(monkeypatch, torch, link=True)
    assert (found.devices[0].link_gb_s, found.problem) == (None, "")


def test_torch_is_asked_for_its_cards_and_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    found = asked(monkeypatch, fake_torch(FakeCuda()))
    assert found == TorchFacts(
        version="2.13.0",
        cuda="13.0",
        arches=("sm_75", "sm_80"),
        devices=(TorchDevice("Some card", (7, 5), 15.0, "0000-1111", "00000000:17:00"),),
    )


def test_what_torch_says_of_its_trouble_is_kept_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    too_old = "CUDA initialization: The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver by"
    found = asked(monkeypatch, fake_torch(FakeCuda(usable=False, warning=too_old)))
    assert found.devices == ()
    assert found.problem == "CUDA initialization: The NVIDIA driver on your system is too old (found version 11040)."
    busy = "CUDA error: all CUDA-capable devices are busy or unavailable\nCUDA kernel errors might be asynchronously reported"
    found = asked(monkeypatch, fake_torch(FakeCuda(fails=busy)))
    assert len(found.devices) == 1
    assert found.problem == "CUDA error: all CUDA-capable devices are busy or unavailable"


@pytest.mark.parametrize("name", ["PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"])
def test_a_card_whose_memory_cannot_grow_is_used_in_pieces(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As within some virtual cards: cuMemSetAccess or cuMemAddressReserve fails in the first computation."""
    cuda = FakeCuda(fails="CUDA driver error: operation not supported")
    torch, told = fake_torch(cuda), []

    def in_pieces(settings: str) -> None:
        told.append(settings)
        cuda.fails = ""

    torch.cuda.memory = types.SimpleNamespace(_set_allocator_settings=in_pieces)
    for other in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"):
        monkeypatch.delenv(other, raising=False)
    assert asked(monkeypatch, torch).problem == "CUDA driver error: operation not supported"
    assert not told
    monkeypatch.setenv(name, "expandable_segments:True")
    assert asked(monkeypatch, torch).problem == ""
    assert told == ["expandable_segments:False"]


def test_memory_grows_unless_a_person_has_set_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    from loratui.engine.training import torch_facts

    monkeypatch.setattr(os, "environ", {"PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:128"})
    torch_facts.let_memory_grow()
    assert os.environ == {"PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:128"}
    monkeypatch.setattr(os, "environ", {})
    torch_facts.let_memory_grow()
    assert set(os.environ.values()) == {"expandable_segments:True"}


def test_a_torch_that_cannot_be_loaded_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    found = asked(monkeypatch, None)
    assert "torch" in found.broken


def child(monkeypatch: pytest.MonkeyPatch, answer: str, **limits: Any) -> None:
    """Has `answer` (Python) stand in the place of the job that loads torch."""
    monkeypatch.setenv("PYTHONPATH", str(SUPPORT), prepend=os.pathsep)
    monkeypatch.setenv("ANSWER", answer)
    monkeypatch.setitem(JOBS, "torch", dataclasses.replace(JOBS["torch"], module="answers_as_told", **limits))


ANSWER = json.dumps(dataclasses.asdict(torch_of(gpu())))


def test_a_child_that_answers_is_believed_and_remembered_until_something_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    child(monkeypatch, f"answer = json.loads({ANSWER!r})")
    assert accelerators.torch_facts(listed(gpu())) == torch_of(gpu())
    monkeypatch.setattr(children, "start", lambda *_, **__: pytest.fail("it was asked again"))
    assert accelerators.torch_facts(listed(gpu())) == torch_of(gpu())
    for changed in ({"CUDA_VISIBLE_DEVICES": "0"}, {"LD_LIBRARY_PATH": "/other"}):
        with monkeypatch.context() as patched:
            for name, value in changed.items():
                patched.setenv(name, value)
            with pytest.raises(pytest.fail.Exception, match="asked again"):
                accelerators.torch_facts(listed(gpu()))
    with pytest.raises(pytest.fail.Exception, match="asked again"):
        accelerators.torch_facts(listed(gpu(driver="550.1")))


@pytest.mark.parametrize("kept", ["", "{", "[]", '{"format": 1}', '{"format": 1, "key": 3, "facts": []}', "9" * 70_000])
def test_a_memory_that_is_none_is_asked_anew(monkeypatch: pytest.MonkeyPatch, kept: str) -> None:
    path = accelerators._cache_file()
    path.parent.mkdir(parents=True)
    path.write_text(kept)
    monkeypatch.setattr(accelerators, "_ask_torch", lambda: torch_of(gpu()))
    assert accelerators.torch_facts(listed(gpu())) == torch_of(gpu())
    assert path.stat().st_mode & 0o777 == 0o600


def test_trouble_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [TorchFacts(broken="half installed"), torch_of(gpu())]
    monkeypatch.setattr(accelerators, "_ask_torch", lambda: answers.pop(0))
    assert accelerators.torch_facts(listed(gpu())).broken
    assert accelerators.torch_facts(listed(gpu())) == torch_of(gpu())


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("os.abort()", "the process that loaded it crashed (signal 6)"),
        ("answer = 'x' * 2_000_000", "sends a line longer than"),
        ("answer = {}", "an answer that is none"),
    ],
)
def test_a_child_that_gives_no_answer_is_a_torch_that_cannot_be_loaded(
    monkeypatch: pytest.MonkeyPatch, code: str, words: str
) -> None:
    child(monkeypatch, code)
    assert words in accelerators._ask_torch().broken


def test_a_torch_that_hangs_is_not_installed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    child(monkeypatch, "time.sleep(60)", answer_s=0.4)
    found = judge(listed(gpu()), accelerators._ask_torch(), None)
    assert found.code == ExitCode.GPU_LOST
    assert "did not answer" in found.problem
    assert "nvidia-smi hangs" in found.remedy
    assert "nstall" not in found.remedy


def test_a_lost_card_is_told_with_the_code_for_gpus() -> None:
    found = judge(listed(problem="GPU is lost"), torch_of(**NONE), None)
    assert (found.code, found.card) == (ExitCode.GPU_LOST, None)
    found = judge(listed(gpu(), problem="GPU is lost"), torch_of(**NONE), None)
    assert found.code == ExitCode.GPU_LOST
    assert "no longer answers" in found.problem


class FakeNvml:
    """A driver with two cards, of which the first is lost."""

    NVMLError = RuntimeError

    def __getattr__(self, name: str) -> Any:
        answers = {"nvmlSystemGetDriverVersion": "580.95.05", "nvmlDeviceGetCount": 2, "nvmlDeviceGetName": "NVIDIA A100"}
        return lambda *_: answers.get(name)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        if index == 0:
            raise RuntimeError("GPU is lost")
        return index

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return types.SimpleNamespace(total=80 << 30, free=79 << 30)


def test_a_lost_card_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())
    found = hardware.listing()
    assert [(card.index, card.name) for card in found.gpus] == [(1, "NVIDIA A100")]
    assert found.problem == "GPU is lost"


def test_two_who_ask_the_driver_at_once_both_get_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    entered, answers = threading.Event(), []

    def slow() -> Listing:
        entered.set()
        threading.Event().wait(0.1)
        return listed(gpu())

    monkeypatch.setattr(hardware, "_ask_nvml", slow)
    first = threading.Thread(target=lambda: answers.append(hardware.listing(30)))
    first.start()
    assert entered.wait(30)
    answers.append(hardware.listing(30))
    first.join()
    assert answers == [listed(gpu())] * 2


def test_windows_device_alone_is_no_nvidia_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "_DEV", tmp_path)
    monkeypatch.setattr(hardware, "_WSL_LIBRARIES", tmp_path / "lib")
    (tmp_path / "dxg").touch()
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/libdxcore.so").touch()
    assert not hardware.has_device_file()
    (tmp_path / "lib/libcuda.so.1").touch()
    assert hardware.has_device_file()


def test_the_real_torch_answers_from_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('a module of the current folder was run')")
    monkeypatch.chdir(tmp_path)
    found = accelerators._ask_torch()
    assert found.version == hardware.versions(["torch"])["torch"]
    assert found.broken == ""
