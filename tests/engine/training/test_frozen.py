"""The frozen base in other formats and places: what its products differ by, where its blocks are, and what a run makes of it."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_bases import run_on
from small_runs import MakeRun, after_loading, events, every_step, losses, same, train, weights
from torch import nn

from loratui.engine.errors import ExitCode
from loratui.engine.families.model import SizeConditioning
from loratui.engine.planning import rungs
from loratui.engine.planning.rungs import BaseFormat
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.training.control_queue import ControlQueue
from loratui.engine.training.frozen import fit, swap
from loratui.engine.training.frozen.blocks import Blocks
from loratui.engine.training.frozen.fit import Fit, Measured
from loratui.engine.training.frozen.formats import FEWEST_ROWS, product, quantised, restored
from loratui.engine.training.frozen.joined import JoinedLinear, Joiner, LeanLinear, make_lean
from loratui.engine.training.frozen.linear import FrozenLinear
from loratui.engine.training.frozen.swap import BlockSwap, arena_bytes
from loratui.engine.training.guarded_step import GuardedStep
from loratui.engine.training.not_finite import MOST_IN_A_ROW
from loratui.engine.training.optimizer_steps import OptimizerSteps
from loratui.engine.training.peak_memory import PeakMemory
from loratui.engine.training.probe import Probe
from loratui.engine.training.reporting import Reporter, Told
from loratui.engine.training.setup import add_adapter, load_base, place_on_card, read_job
from loratui.engine.training.trainer import Trainer

CPU = torch.device("cpu")


def off(found: torch.Tensor, right: torch.Tensor) -> float:
    return float((found - right).norm() / right.norm())


@pytest.mark.parametrize(("base", "weight_off", "product_off"), [("fp8", 0.028, 0.04), ("int8", 0.01, 0.015)])
@pytest.mark.parametrize("rows", [1, FEWEST_ROWS, 200])
def test_products_in_8_bits_are_as_close_as_they_are_said_to_be(
    base: BaseFormat, weight_off: float, product_off: float, rows: int
) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(256, 192)
    frozen = FrozenLinear.of(linear, base, CPU, torch.float32)
    assert frozen.scale is not None
    assert off(restored(frozen.codes, frozen.scale, torch.float32), linear.weight) < weight_off
    made = []
    for layer in (frozen, linear):
        torch.manual_seed(1)
        x = torch.randn(2, rows, 256, requires_grad=True)
        y = layer(x)
        y.backward(torch.randn(y.shape))
        made.append((y.detach(), x.grad))
    (y, gradient), (right, right_gradient) = made
    assert gradient is not None
    assert right_gradient is not None
    assert off(y, right) < product_off
    assert off(gradient, right_gradient) < product_off


@pytest.mark.parametrize("base", ["fp8", "int8"])
def test_small_gradients_in_fp16_are_not_rounded_away(base: BaseFormat) -> None:
    torch.manual_seed(0)
    weight, gradient = torch.randn(192, 256) * 0.02, torch.randn(FEWEST_ROWS, 192) * 1e-4
    x = torch.randn(FEWEST_ROWS, 256, dtype=torch.float16, requires_grad=True)
    product(x, *quantised(weight, base)).backward(gradient.half())
    assert x.grad is not None
    assert x.grad.dtype == torch.float16
    assert off(x.grad.float(), gradient @ weight) < 0.04


@given(st.integers(0, 2**32), st.floats(-6, 6))
def test_a_weight_stored_in_fp8_keeps_its_values(seed: int, size: float) -> None:
    weight = (
        (torch.randn(8, 16, generator=torch.Generator().manual_seed(seed)) * math.exp(size)).to(torch.float8_e4m3fn).float()
    )
    assert torch.equal(restored(*quantised(weight, "fp8"), torch.float32), weight)


def test_zeros_and_huge_rows_stay_finite() -> None:
    weight = torch.zeros(3, 64)
    weight[1], weight[2] = 3e4, 1e-30
    for base in ("fp8", "int8"):
        codes, scale = quantised(weight, base)  # type: ignore[arg-type]  # both are formats
        x = torch.zeros(FEWEST_ROWS, 64)
        assert torch.isfinite(product(x, codes, scale)).all()
        assert off(restored(codes, scale, torch.float32)[1], weight[1]) < 0.04


class Stack(nn.Module):
    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(
                *(FrozenLinear.of(nn.Linear(a, b), "full", CPU, torch.float32) for a, b in pairwise((width, 4, width)))
            )
            for width in widths
        )


passes = st.lists(st.sampled_from(["step", "sample", "back"]), min_size=1, max_size=4)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), passes, st.sets(st.integers(0, 7)), st.sets(st.integers(0, 7)))
def test_every_block_has_its_own_weights_when_its_turn_comes(
    widths: list[int], turns: list[str], first: set[int], then: set[int]
) -> None:
    blocks = Stack(widths).blocks
    expected = [[layer.codes.clone() for layer in block] for block in blocks]  # type: ignore[attr-defined]  # a Sequential
    places = BlockSwap(CPU)
    for block in blocks:
        places.add(block)
    count = len(widths)
    for resident in (first, then):
        places.keep({number for number in resident if number < count})
        for turn in turns:
            forwards, backwards = range(count), range(count - 1, -1, -1)
            for number in {"step": [*forwards, *backwards], "sample": [*forwards], "back": [*backwards]}[turn]:
                places.bring(number)
                for layer, codes in zip(blocks[number], expected[number], strict=True):  # type: ignore[arg-type]  # a Sequential
                    assert torch.equal(layer.codes, codes)


def test_a_recording_that_failed_has_brought_no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = Stack([3, 3, 3, 3, 3]).blocks
    expected = [[layer.codes.clone() for layer in block] for block in blocks]  # type: ignore[attr-defined]  # a Sequential
    held = BlockSwap(CPU)
    for block in blocks:
        held.add(block)
    for number in range(5):  # a sample, which ends with the last blocks
        held.bring(number)
    there = [slot.clone() for slot in held._slots]
    monkeypatch.setattr(swap, "_records", lambda _: True)
    held.bring(0)
    for slot, before in zip(held._slots, there, strict=True):  # recorded copies are not made
        slot.copy_(before)
    monkeypatch.undo()
    for number in range(5):
        held.bring(number)
        for layer, codes in zip(blocks[number], expected[number], strict=True):  # type: ignore[arg-type]  # a Sequential
            assert torch.equal(layer.codes, codes)


@pytest.mark.parametrize("width", [1, 2])
def test_little_more_is_pinned_than_the_blocks_of_flux_take(width: int) -> None:
    blocks = [340 * 10**6 * width] * 19 + [142 * 10**6 * width] * 38
    pinned = rest = 0
    for length in blocks:
        if rest < length:
            rest = arena_bytes(length)
            pinned += rest
        rest -= length
    assert pinned < 1.15 * sum(blocks)


@given(st.integers(1, 2**33))
def test_a_block_fits_into_its_piece(length: int) -> None:
    size = arena_bytes(length)
    assert size >= length
    assert size.bit_count() == 1


@pytest.mark.parametrize("begun", [True, False])
def test_copies_that_a_broken_recording_has_begun_are_joined(monkeypatch: pytest.MonkeyPatch, begun: bool) -> None:
    joined_to: list[object] = []
    own = BlockSwap(CPU)
    own.join()
    own._stream = SimpleNamespace()  # type: ignore[assignment]  # a stream of a card
    monkeypatch.setattr(torch.cuda, "stream", contextlib.nullcontext)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: begun)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: SimpleNamespace(wait_stream=joined_to.append))
    own.join()
    assert joined_to == [own._stream] * begun


def test_what_a_sample_took_is_not_measured(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    reset: list[int] = []
    monkeypatch.setattr(PeakMemory, "measure", lambda _: reset.append(1))
    job = read_job(make_run("samples.steps=1"))
    trainer = Trainer(job, Reporter(Told(job.run.events, lambda _: None)), ControlQueue())
    trainer._set_up()
    assert trainer._sample()
    assert not reset
    trainer.steps.fit.due = True
    assert trainer._sample()
    assert reset


def test_moving_a_model_leaves_its_frozen_weights_where_they_are() -> None:
    layer = FrozenLinear.of(nn.Linear(4, 4), "int8", CPU, torch.float32)
    codes = layer.codes
    nn.Sequential(layer).to(torch.bfloat16)
    assert layer.codes is codes
    assert layer.scale is not None
    assert layer.scale.dtype == torch.float32


sizes = st.lists(st.integers(1, 100), min_size=1, max_size=60)


@given(sizes, st.integers(0, 2000), st.integers(0, 6000))
def test_as_many_blocks_keep_their_activations_as_fit(kept: list[int], peak: int, room: int) -> None:
    measured = Measured(peak, room)
    count = fit.recomputed(measured, kept)
    assert sum(kept[count:]) <= max(0, measured.left)
    assert count == 0 or sum(kept[count - 1 :]) > measured.left


@given(sizes, st.integers(0, 2000), st.integers(0, 6000), st.integers(0, 3000))
def test_blocks_that_stay_fit_beside_a_step_and_a_sample(own: list[int], peak: int, room: int, sampling: int) -> None:
    measured = Measured(peak, room)
    chosen = fit.resident(measured, own, sampling)
    taken = sum(own[number] for number in chosen)
    assert taken == 0 or (peak + taken <= room and sampling + taken <= room)
    gaps = [b - a for a, b in pairwise(sorted(chosen))]
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_a_recording_of_the_first_step_gives_way_before_the_blocks_move(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step of many batches is recorded within itself, with the blocks where they were."""
    done: list[str] = []
    job = read_job(make_run())
    trainer = Trainer(job, Reporter(Told(job.run.events, lambda _: None)), ControlQueue())
    trainer._set_up()
    trainer.steps.fit = SimpleNamespace(due=True, after_a_step=lambda _: done.append("fitted"))  # type: ignore[assignment]  # a stand-in
    trainer.steps.graph_step = SimpleNamespace(any=True, forget=lambda: done.append("forgotten"))  # type: ignore[assignment]
    trainer.steps.fit_blocks(next(trainer.batch_schedule.windows()))
    assert done == ["forgotten", "fitted"]


def test_a_real_step_before_the_start_is_measured_as_the_run_will_be(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[int] = []
    monkeypatch.setattr(OptimizerSteps, "fit_blocks", lambda _, window: fitted.append(window.after.step))
    job = read_job(make_run())
    Probe(job, Reporter(Told(job.run.events, lambda _: None)), ControlQueue()).run()
    assert fitted[:2] == [1, 2]


def test_what_a_failed_step_took_is_not_measured(make: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(monkeypatch)
    own, blocks = fitted(make, "memory.plan=partial")
    blocks.recompute(0)
    card.peak = 10 * 2**30
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: setattr(card, "peak", card.resting))
    assert own.shrink()
    assert own.after_a_step(1.0).startswith("0 of")


def test_a_step_that_is_not_finite_is_left_out_and_after_too_many_in_a_row_none_is_made() -> None:
    value = nn.Parameter(torch.ones(4))
    optimizer = torch.optim.AdamW([value], lr=0.1, fused=True)
    assert GuardedStep.suits(optimizer)
    assert not GuardedStep.suits(torch.optim.AdamW([value], lr=0.1))
    guarded = GuardedStep(optimizer, CPU)
    good, broken = [1.0, 2.0], [math.inf, 1.0]
    moved = []
    for figures in [good, broken, good, *[broken] * MOST_IN_A_ROW, good, *[broken] * (MOST_IN_A_ROW + 1), good, good]:
        value.grad = torch.full((4,), 1.0 if figures == good else math.nan)
        before = value.detach().clone()
        assert guarded.step(torch.tensor(figures)).values() == figures
        moved.append(not torch.equal(before, value))
    assert moved == [True, False, True, *[False] * MOST_IN_A_ROW, True, *[False] * (MOST_IN_A_ROW + 1), False, False]
    assert torch.isfinite(value).all()
    state = optimizer.state[value]
    assert float(state["step"]) == 3.0, "what was left out counts as no step"


SMALL = ("schedule.epochs=1", "samples.steps=1", "training.precision=auto", "training.min_snr_gamma=0")


@pytest.fixture(params=["sd15", "flux"])
def make(request: pytest.FixtureRequest, tmp_path: Path, images: Path, base_folder: Path) -> MakeRun:
    family = request.param
    base = base_folder if family == "sd15" else request.getfixturevalue("flux_folder")

    def made(*sets: str) -> RunDirectory:
        return run_on(base, tmp_path, f"base.family={family}", *SMALL, *sets, folder=images)

    return made


def test_swapped_blocks_change_no_bit(make: MakeRun) -> None:
    runs = [make("memory.plan=swapped", "memory.quantise=off"), make("memory.plan=checkpointing"), make("memory.plan=kept")]
    for run in runs:
        assert train(run, every_step) == ExitCode.DONE
    assert losses(runs[0]) == losses(runs[1]) == losses(runs[2])
    assert same(weights(runs[0]), weights(runs[2]))
    assert same(weights(runs[1]), weights(runs[2]))
    pngs = [[path.read_bytes() for path in sorted(run.samples.rglob("*.png"))] for run in runs]
    assert pngs[0] == pngs[2]
    assert pngs[0]


@pytest.mark.parametrize(
    "kind", [pytest.param("loha", marks=pytest.mark.long), "lokr", pytest.param("locon", marks=pytest.mark.long)]
)
def test_every_kind_of_adapter_trains_on_a_base_that_is_swapped_or_rounded(
    tmp_path: Path, images: Path, base_folder: Path, kind: str
) -> None:
    plans = ("plan=swapped", "quantise=off"), ("quantise=int8",), ("plan=nf4",), ("plan=kept",)
    runs = [
        run_on(base_folder, tmp_path, *SMALL, f"adapter.kind={kind}", *(f"memory.{one}" for one in plan), folder=images)
        for plan in plans
    ]
    for run in runs:
        assert train(run, every_step) == ExitCode.DONE
    swapped, rounded, few, exact = ([float.fromhex(loss) for loss in losses(run).values()] for run in runs)
    assert swapped == exact
    assert rounded == pytest.approx(exact, rel=0.02)
    assert few == pytest.approx(exact, rel=0.1)


@pytest.mark.parametrize(("base", "limit"), [("fp8", 0.02), ("int8", 0.02)])
def test_a_base_in_8_bits_trains_close_to_the_whole_one(make: MakeRun, base: str, limit: float) -> None:
    runs = [make(f"memory.quantise={base}"), make("memory.plan=swapped", f"memory.quantise={base}"), make()]
    for run in runs:
        assert train(run, every_step) == ExitCode.DONE
    lossy, swapped, exact = ([float.fromhex(loss) for loss in losses(run).values()] for run in runs)
    assert lossy == swapped
    assert lossy != exact
    assert all(abs(a - b) / b < limit for a, b in zip(lossy, exact, strict=True))


def test_a_split_batch_gives_the_gradients_of_the_whole(make: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    from loratui.engine.training import setup

    runs = [make("training.batch_size=3") for _ in range(2)]
    assert train(runs[0], every_step) == ExitCode.DONE
    decide = setup.decide_memory
    monkeypatch.setattr(setup, "decide_memory", lambda *facts, **more: dataclasses.replace(decide(*facts, **more), split=True))
    assert train(runs[1], every_step) == ExitCode.DONE
    assert events(runs[1], "run_started")[0].fields["memory_plan"] == "cpu-fp32-kept-split"
    whole, split = ([float.fromhex(loss) for loss in losses(run).values()] for run in runs)
    assert whole == pytest.approx(split, rel=1e-5)


@pytest.mark.parametrize("targets", ["sd-scripts", "attention"])
def test_joined_layers_compute_what_each_did(make: MakeRun, targets: str) -> None:
    run = make(f"adapter.targets={targets}")
    job = read_job(run)
    model = load_base(job)
    adapter = add_adapter(job, model)
    torch.manual_seed(0)
    for value in adapter.parameters.values():
        nn.init.normal_(value, std=0.3)
    size = model.encode_image(torch.zeros(3, 64, 64)).mean.shape
    torch.manual_seed(1)
    latents, embeds = torch.randn(1, *size), model.encode_prompts(["a fox"])
    conditioning = {
        name: value.detach() for name, value in model.conditioning(embeds, [SizeConditioning.whole(64, 64)]).items()
    }

    def answers() -> list[torch.Tensor]:
        made = []
        for strength in (1.0, 0.5, 0.0):
            with adapter.strength(strength), torch.no_grad():
                made.append(model.predict(latents, torch.tensor([0.4]), conditioning))
        loss = model.predict(latents, torch.tensor([0.4]), conditioning).square().sum()
        return [*made, *torch.autograd.grad(loss, list(adapter.parameters.values()))]

    before = answers()
    for layer in adapter.layers:
        make_lean(layer.layer)
    for module in list(model.denoiser.modules()):
        if type(module).__name__ in model.denoiser._repeated_blocks:  # type: ignore[operator, union-attr]  # diffusers' own
            model.join_projections(module, Joiner(appends=False))
    assert sum(isinstance(module, JoinedLinear) for module in model.denoiser.modules()) >= 4
    for found, right in zip(answers(), before, strict=True):
        torch.testing.assert_close(found, right, rtol=1e-3, atol=1e-4 * float(right.abs().max()) + 1e-7)


@pytest.mark.parametrize("sets", ["adapter.dropout=0.1", "adapter.rank_dropout=0.1", "adapter.dora=true", "adapter.kind=loha"])
def test_what_is_more_than_a_plain_lora_is_computed_by_its_own_layer(make: MakeRun, sets: str) -> None:
    job = read_job(make(sets, "adapter.targets=attention"))
    model = load_base(job)
    adapter = add_adapter(job, model)
    for layer in adapter.layers:
        make_lean(layer.layer)
        assert not isinstance(layer.layer, LeanLinear)
        assert Joiner(appends=True).joined([layer.layer]) == []


def test_the_largest_batch_of_a_run_is_what_must_fit(make: MakeRun) -> None:
    larger: list[tuple[int, float]] = []

    def look(trainer: Trainer) -> None:
        windows = trainer.batch_schedule.windows()
        larger.extend((max(map(len, window.batches)), trainer.steps.times_larger(window)) for window in windows)

    run = make("training.batch_size=3", "dataset.buckets=false")
    train(run, lambda trainer: after_loading(trainer, lambda: look(trainer)))
    assert dict(larger) == {3: 1.0, 2: 1.5}


class Card:
    """GPU memory as torch tells it, where there is no GPU."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.resting, self.peak, self.reserved = 2 * 2**30, 3 * 2**30, 4 * 2**30
        for name in ("synchronize", "empty_cache", "reset_peak_memory_stats"):
            monkeypatch.setattr(torch.cuda, name, lambda: None)
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: self.resting)
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: self.peak)
        monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: self.reserved)
        self.free = 20 * 2**30
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: self.reserved)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (self.free, 24 * 2**30))


def fitted(make: MakeRun, *sets: str, **plan: Any) -> tuple[Fit, Blocks]:
    """The blocks of a run, placed on the CPU, and their fit into a simulated card."""
    job = read_job(make(*sets))
    model = load_base(job)
    blocks = place_on_card(job, model, add_adapter(job, model))
    on_card = dataclasses.replace(job.memory_plan, placement="gpu", room_gib=10.0, **plan)
    return Fit(on_card, blocks, 0.0, PeakMemory(torch.device("cuda"))), blocks


def test_the_first_step_decides_how_many_blocks_keep_their_activations(make: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    Card(monkeypatch)
    own, blocks = fitted(make, "memory.plan=partial")
    count = len(blocks.blocks)
    assert own.due
    assert all(block.recomputed for block in blocks.blocks)
    for block in blocks.blocks:
        block.kept_bytes = 3 * 2**30
    assert own.after_a_step(1.0).startswith(f"{count - 2} of {count} blocks are computed again")
    assert [block.recomputed for block in blocks.blocks] == [True] * (count - 2) + [False] * 2
    assert not own.due
    assert own.shrink()
    assert all(block.recomputed for block in blocks.blocks)
    assert not own.shrink()
    own.again()
    assert own.due
    assert not any(block.kept_bytes for block in blocks.blocks)  # compiled, they keep fewer
    for block in blocks.blocks:
        block.kept_bytes = 3 * 2**30
    assert own.after_a_step(2.0).startswith(f"{count} of {count} blocks")


def test_blocks_that_stay_leave_the_card_when_memory_runs_out(make: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    Card(monkeypatch)
    own, blocks = fitted(make, "memory.plan=swapped")
    assert blocks.swap is not None
    assert own.after_a_step(1.0).startswith(f"{len(blocks.large)} of {len(blocks.large)} blocks stay on the card")
    assert blocks.swap.resident == len(blocks.large)
    assert own.shrink()
    assert blocks.swap.resident == 0


def test_blocks_are_fitted_into_what_others_have_left_by_then(make: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(monkeypatch)
    own, blocks = fitted(make, "memory.plan=partial")
    for block in blocks.blocks:
        block.kept_bytes = 3 * 2**30
    card.free, card.reserved = 3 * 2**30, 4 * 2**30
    assert own.after_a_step(1.0).endswith("the step took 3.00 GiB of 7.00")
    assert [block.recomputed for block in blocks.blocks] == [True] * (len(blocks.blocks) - 1) + [False]


def test_the_peak_of_a_run_is_that_of_all_its_work_but_failures(make: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(monkeypatch)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: setattr(card, "reserved", 2 * 2**30))
    peak = PeakMemory(torch.device("cuda"))
    job = read_job(make("memory.plan=partial"))
    model = load_base(job)
    blocks = place_on_card(job, model, add_adapter(job, model))
    card.reserved = 9 * 2**30  # while it was loaded
    own = Fit(dataclasses.replace(job.memory_plan, placement="gpu", room_gib=10.0), blocks, 0.0, peak)
    assert (peak.gib, card.reserved) == (9.0, 2 * 2**30)
    blocks.recompute(0)
    card.reserved = 10 * 2**30
    assert own.shrink()
    assert peak.gib == 9.0
    card.reserved = 4 * 2**30
    own.after_a_step(1.0)
    assert peak.gib == 9.0
    assert PeakMemory(torch.device("cpu")).gib is None


def test_a_plan_without_a_choice_measures_nothing(make: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    Card(monkeypatch)
    own, _ = fitted(make)
    assert not own.due
    assert not own.shrink()


def test_out_of_memory_in_the_first_step_takes_the_least_and_goes_on(make: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    Card(monkeypatch)
    own, blocks = fitted(make, "memory.quantise=int8", recomputed=0.0)
    blocks.recompute(0)
    assert own.shrink()
    assert all(block.recomputed for block in blocks.blocks)


def test_blocks_are_numbered_in_the_order_of_a_pass(make: MakeRun) -> None:
    job = read_job(make("memory.plan=swapped"))
    model = load_base(job)
    blocks = place_on_card(job, model, add_adapter(job, model))
    swap, called = blocks.swap, []
    assert swap is not None
    for number, (_, block) in enumerate(blocks.large):
        block.bring = lambda number=number: (called.append(number), swap.bring(number))  # type: ignore[misc, assignment]
    size = model.encode_image(torch.zeros(3, 64, 64)).mean.shape
    embeds = model.encode_prompts(["a fox"])
    conditioning = {
        name: value.detach() for name, value in model.conditioning(embeds, [SizeConditioning.whole(64, 64)]).items()
    }
    with torch.no_grad():
        model.predict(torch.randn(1, *size), torch.tensor([0.4]), conditioning)
    assert called == list(range(len(blocks.large)))


def test_group_offloading_takes_no_block_away_in_a_backward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Why blocks are swapped by our own code: diffusers' hook takes a block away at the end of its forward pass, and a block that is
    computed again is broken off before that. So all lie on the card at the end. Once this fails, the library may serve."""
    from diffusers.hooks import apply_group_offloading
    from diffusers.hooks.group_offloading import ModuleGroup
    from torch.utils.checkpoint import checkpoint

    moves: list[str] = []
    for name in ("onload_", "offload_"):
        monkeypatch.setattr(ModuleGroup, name, lambda *_, name=name: moves.append(name))
    model = nn.Module()
    model.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.SiLU(), nn.Linear(4, 4)) for _ in range(3))
    apply_group_offloading(model.requires_grad_(False), "cpu", "cpu", offload_type="block_level", num_blocks_per_group=1)
    x = torch.randn(2, 4, requires_grad=True)
    for block in model.blocks:
        x = checkpoint(block, x, use_reentrant=False)
    assert moves[-6:] == ["onload_", "offload_"] * 3
    moves.clear()
    x.sum().backward()
    assert moves == ["onload_"] * 3


@pytest.mark.parametrize("swapped", [False, True])
def test_blocks_give_back_step_by_step_what_a_recording_needs(swapped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 100 * 2**20)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 300 * 2**20)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 300 * 2**20)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (20 * 2**30, 24 * 2**30))
    blocks = Blocks(Stack([8] * 12), ["Sequential"], on_card=False, draws=False)
    for block in blocks.blocks:
        block.kept_bytes = 60 * 2**20
    blocks.recompute(len(blocks.blocks))
    if swapped:
        resident_of: list[frozenset[int]] = []
        blocks.swap = SimpleNamespace(sizes=[60 * 2**20] * len(blocks.blocks), resident=0, keep=None)  # type: ignore[assignment]

        def keep(numbers: frozenset[int]) -> None:
            resident_of.append(numbers)
            blocks.swap.resident = len(numbers)  # type: ignore[union-attr, misc]

        blocks.swap.keep = keep  # type: ignore[method-assign, union-attr, assignment]
    room = (300 + 60 * len(blocks.blocks)) / 0.95 / 1024
    plan = SimpleNamespace(placement="gpu", rung=rungs.SWAPPED if swapped else rungs.PARTIAL, recomputed=1.0, room_gib=room)
    own = Fit(plan, blocks, 0.0, PeakMemory(CPU))  # type: ignore[arg-type]
    assert not own.make_room(), "nothing was given yet"
    own.after_a_step(1.0)
    kept = [sum(own._given)]
    assert kept == [len(blocks.blocks)]
    while own.make_room():
        kept.append(sum(own._given))
    assert len(kept) > 1
    assert kept == sorted(set(kept), reverse=True)
