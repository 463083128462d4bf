"""When passes are recorded, what a recording is given, and what becomes of one that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import MakeRun, after_loading, every_step, losses, same, train, weights
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from loratui.engine.families.model import NoisyInput
from loratui.engine.findings import Finding
from loratui.engine.training import cuda_graph as module
from loratui.engine.training.cuda_graph import EAGER, CudaGraphStep
from loratui.engine.training.diffusion_loss import TrainingBatch
from loratui.engine.training.trainer import Trainer


@dataclass
class Told:
    """Stands in for a reporter."""

    warnings: list[str] = field(default_factory=list)

    def warn(self, key: str, **figures: str) -> None:
        self.warnings.append(Finding.of(key, **figures).message)


class SimulatedGraph:
    """A CUDA graph where there is no GPU: it replays what was computed within the block, on the same tensors."""

    current: SimulatedGraph | None = None
    pools: list[object] = []  # noqa: RUF012 - what each recording was given, over all of them

    def __init__(self) -> None:
        self.again: Callable[[], object] = lambda: None
        self.replays = 0

    def pool(self) -> str:
        return "pool"

    def replay(self) -> None:
        self.replays += 1
        self.again()


@contextmanager
def simulated_recording(graph: SimulatedGraph, pool: object = None) -> Iterator[None]:
    SimulatedGraph.pools.append(pool)
    SimulatedGraph.current = graph
    yield
    SimulatedGraph.current = None


def simulate(monkeypatch: pytest.MonkeyPatch) -> None:
    SimulatedGraph.pools = []
    monkeypatch.setattr(torch.cuda, "CUDAGraph", SimulatedGraph)
    monkeypatch.setattr(torch.cuda, "graph", simulated_recording)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: "usual")
    monkeypatch.setattr(torch.cuda, "set_stream", lambda _: None)


def recordable(compute: Callable[[TrainingBatch], Tensor]) -> Callable[[TrainingBatch], Tensor]:
    """As a GPU does it: within a recording nothing is computed, and a replay computes from what the inputs hold then."""

    def computed(batch: TrainingBatch) -> Tensor:
        graph = SimulatedGraph.current
        if graph is None:
            return compute(batch)
        place = torch.empty_like(batch.weights)

        def again() -> None:
            place.copy_(compute(replace(batch, seed=None)))  # kernels draw by the seed that the replay has set

        graph.again = again
        return place

    return computed


def batch(images: int, value: float, side: int = 2) -> TrainingBatch:
    shape = (images, 4, side, side)
    blank = torch.zeros(images)
    noisy = NoisyInput(torch.full(shape, value), blank, torch.zeros(shape), blank)
    return TrainingBatch(noisy, {"states": torch.full((images, 3), value)}, torch.ones(images), torch.tensor(float(images)))


def double(prepared: TrainingBatch) -> Tensor:
    return 2 * prepared.conditioning["states"][:, 0]


def test_a_batch_and_its_tensors_are_the_same() -> None:
    one = replace(batch(2, 3.0), tokens=({"ids": torch.tensor([[1, 2]])}, {"ids": torch.tensor([[3, 4], [5, 6]])}), seed=7)
    again = one.with_tensors(one.tensors())
    assert again.noisy.snr is None
    assert again.seed == 7
    assert {n: t.tolist() for n, t in again.tensors().items()} == {n: t.tolist() for n, t in one.tensors().items()}
    first, second = one.split()
    assert first.noisy.noisy_model_input.shape == second.noisy.noisy_model_input.shape == (1, 4, 2, 2)
    assert [one["ids"].tolist() for one in (*first.tokens, *second.tokens)] == [[[1, 2]], [[3, 4], [5, 6]]]


def test_a_shape_is_recorded_when_it_has_come_often_enough_and_each_replay_sees_its_own_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    simulate(monkeypatch)
    own = CudaGraphStep(recordable(double), Told(), wanted=True)  # type: ignore[arg-type]
    for number in range(EAGER + 4):
        assert own(batch(2, float(number))).tolist() == [2.0 * number] * 2
        assert own.any == (number >= EAGER)
    assert own(batch(1, 9.0)).tolist() == [18.0], "another shape is another recording"
    for number in range(EAGER + 1):
        assert own(batch(1, float(number), side=4)).tolist() == [2.0 * number]
    assert SimulatedGraph.pools == [None, "pool"], "all recordings share the memory of the first"


def test_what_was_forgotten_is_recorded_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(monkeypatch)
    own = CudaGraphStep(recordable(double), Told(), wanted=True)  # type: ignore[arg-type]
    for number in range(EAGER + 1):
        own(batch(2, float(number)))
    own.forget()
    assert not own.any
    assert own(batch(2, 1.0)).tolist() == [2.0] * 2
    assert own.any, "its kernels are known"
    own.forget(computes_otherwise=True)
    for number in range(EAGER + 1):
        assert own(batch(2, float(number))).tolist() == [2.0 * number] * 2
        assert own.any == (number >= EAGER)
    assert SimulatedGraph.pools == [None, None, None]


def test_where_memory_is_short_every_shape_comes_before_the_first_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(monkeypatch)
    own = CudaGraphStep(recordable(double), Told(), wanted=True, first=10)  # type: ignore[arg-type]
    for number in range(10):
        own(batch(1 + number % 3, 1.0))
        assert not own.any
    for number in range(10, 13):
        assert own(batch(1 + number % 3, 2.0)).tolist()[0] == 4.0
    assert SimulatedGraph.pools == [None, "pool", "pool"]


@pytest.mark.parametrize(
    ("error", "word"),
    [(RuntimeError("operation not permitted"), "not permitted"), (torch.OutOfMemoryError("CUDA"), "too little")],
)
def test_a_step_that_cannot_be_recorded_is_computed_and_told_once(
    error: Exception, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate(monkeypatch)
    told = Told()

    def fails(graph: object, pool: object = None) -> Any:
        raise error

    monkeypatch.setattr(torch.cuda, "graph", fails)
    own = CudaGraphStep(recordable(double), told, wanted=True)  # type: ignore[arg-type]
    for number in range(EAGER + 3):
        assert own(batch(2, float(number))).tolist() == [2.0 * number] * 2
    assert len(told.warnings) == 1
    assert word in told.warnings[0]


@pytest.mark.parametrize("given_back", [1, 2, 5])
def test_a_recording_that_finds_too_little_memory_is_tried_again_with_more(
    given_back: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate(monkeypatch)
    told, rooms, tries = Told(), iter([True, True, False]), 0

    @contextmanager
    def short(graph: SimulatedGraph, pool: object = None) -> Iterator[None]:
        nonlocal tries
        tries += 1
        if tries <= given_back:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        with simulated_recording(graph, pool):
            yield

    monkeypatch.setattr(torch.cuda, "graph", short)
    own = CudaGraphStep(recordable(double), told, wanted=True, make_room=lambda: next(rooms))  # type: ignore[arg-type]
    for number in range(EAGER + 6):
        assert own(batch(2, float(number))).tolist() == [2.0 * number] * 2
    assert own.any == (given_back <= 2)
    assert len(told.warnings) == (given_back > 2)


def test_a_recording_that_cannot_even_end_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch stays on the stream of a recording whose end fails, and its error hides the first one."""
    simulate(monkeypatch)
    streams: list[object] = []
    monkeypatch.setattr(torch.cuda, "set_stream", streams.append)

    @contextmanager
    def unending(graph: SimulatedGraph, pool: object = None) -> Iterator[None]:
        try:
            yield
        finally:
            raise RuntimeError("CUDA error: capturing stream has unjoined work")

    monkeypatch.setattr(torch.cuda, "graph", unending)
    told, passes = Told(), iter([None] * EAGER + [torch.OutOfMemoryError("CUDA"), None])

    def compute(prepared: TrainingBatch) -> Tensor:
        if (error := next(passes)) is not None:
            raise error
        return double(prepared)

    own = CudaGraphStep(compute, told, wanted=True)  # type: ignore[arg-type]
    for _ in range(EAGER + 1):
        assert own(batch(2, 1.0)).tolist() == [2.0] * 2
    assert streams == ["usual"]
    assert ["too little" in words for words in told.warnings] == [True]


def test_recordings_give_way_to_a_shape_that_comes_late_and_are_made_again_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(monkeypatch)
    told, launched = Told(), 0

    def computed(prepared: TrainingBatch) -> Tensor:
        nonlocal launched
        if prepared.weights.shape[0] == 1 and launched < EAGER and own.any:
            launched += 1
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return double(prepared)

    own = CudaGraphStep(recordable(computed), told, wanted=True)  # type: ignore[arg-type]
    for number in range(EAGER + 2):
        own(batch(2, float(number)))
    for number in range(EAGER):
        assert own.any
        assert own(batch(1, 9.0)).tolist() == [18.0]
        assert not own.any
        assert own(batch(2, float(number))).tolist() == [2.0 * number] * 2
    assert own(batch(1, 9.0)).tolist() == [18.0]
    assert (launched, SimulatedGraph.pools) == (EAGER, [None] * (1 + EAGER) + ["pool"])
    assert not told.warnings


def test_more_shapes_than_can_be_recorded_end_recording_where_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(monkeypatch)
    monkeypatch.setattr(module, "MOST", 1)
    told = Told()

    def computed(prepared: TrainingBatch) -> Tensor:
        if prepared.weights.shape[0] == 1 and own.any:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return double(prepared)

    own = CudaGraphStep(recordable(computed), told, wanted=True)  # type: ignore[arg-type]
    for number in range(2 * EAGER + 2):
        assert own(batch(2, float(number))).tolist()[0] == 2.0 * number
        assert own(batch(1, 9.0)).tolist() == [18.0]
    assert not own.any
    assert len(told.warnings) == 1
    assert "too little memory" in told.warnings[0]


def test_a_shape_for_which_there_is_no_memory_at_all_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(monkeypatch)

    def fails(prepared: TrainingBatch) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(torch.OutOfMemoryError):
        CudaGraphStep(fails, Told(), wanted=True)(batch(2, 1.0))  # type: ignore[arg-type]


def test_a_lost_gpu_is_no_fault_of_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(monkeypatch)

    def lost(graph: object, pool: object = None) -> Any:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "graph", lost)
    own = CudaGraphStep(recordable(double), Told(), wanted=True)  # type: ignore[arg-type]
    for number in range(EAGER):
        own(batch(2, float(number)))
    with pytest.raises(RuntimeError, match="illegal"):
        own(batch(2, float(EAGER)))


def test_nothing_is_recorded_where_it_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(monkeypatch)
    own = CudaGraphStep(recordable(double), Told(), wanted=False)  # type: ignore[arg-type]
    assert [own(batch(1, float(number))).item() for number in range(5)] == [0.0, 2.0, 4.0, 6.0, 8.0]
    assert not SimulatedGraph.pools
    assert module.MOST > 8


SHORT = ("adapter.targets=attention", "schedule.epochs=2", "samples.every_image_steps=8")


LIVELY = {
    "plain": (),
    "dropout": ("adapter.dropout=0.2", "adapter.rank_dropout=0.2", "adapter.module_dropout=0.2"),
    "text": ("training.train_text_encoder=true", "dataset.caption_dropout=0.3"),
    "text and dropout": ("training.train_text_encoder=true", "adapter.dropout=0.2", "training.accumulation=2"),
}
"""Settings with which a step draws, or trains text encoders."""


@pytest.mark.parametrize("sets", LIVELY.values(), ids=LIVELY)
def test_a_run_that_is_recorded_makes_the_same_steps_bit_for_bit(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, sets: tuple[str, ...]
) -> None:
    """With samples in between, for which recordings are given up; two buckets and a short last batch are shapes of their own."""
    plain, replayed = make_run(*SHORT, *sets), make_run(*SHORT, *sets)
    train(plain, every_step)
    simulate(monkeypatch)
    replays = []

    def record(trainer: Trainer) -> None:
        every_step(trainer)

        def look() -> None:
            trainer.steps.graph_step = CudaGraphStep(recordable(trainer.steps._add_gradients), trainer.report, wanted=True)
            forget = trainer.steps.graph_step.forget

            def forgotten() -> None:
                replays.extend(one.graph.replays for one in trainer.steps.graph_step._recordings.values())  # type: ignore[attr-defined]
                forget()

            trainer.steps.graph_step.forget = forgotten  # type: ignore[method-assign]  # what this test replaces

        after_loading(trainer, look)

    train(replayed, record)
    assert sum(replays) > 0
    assert losses(plain) == losses(replayed)
    assert same(weights(plain), weights(replayed))


@pytest.mark.parametrize("sets", LIVELY.values(), ids=LIVELY)
def test_what_is_prepared_ahead_is_what_would_have_been_prepared_then(make_run: MakeRun, sets: tuple[str, ...]) -> None:
    ahead, then = make_run(*SHORT, *sets), make_run(*SHORT, *sets)
    used: list[bool] = []
    schedules = []

    def count(trainer: Trainer) -> None:
        schedules.append(trainer.batch_schedule)
        every_step(trainer)

        def look() -> None:
            prepare = trainer.steps.diffusion_loss.prepare

            def prepared(*asked: Any) -> TrainingBatch:
                used.append(trainer.steps.diffusion_loss._ahead is not None)
                return prepare(*asked)

            trainer.steps.diffusion_loss.prepare = prepared  # type: ignore[method-assign]  # what this test replaces

        after_loading(trainer, look)

    def never(trainer: Trainer) -> None:
        every_step(trainer)
        after_loading(trainer, lambda: setattr(trainer.steps.diffusion_loss, "look_ahead", lambda *_: None))

    train(ahead, count)
    train(then, never)
    windows = list(schedules[0].windows())
    assert used[0] is False
    assert sum(used) == len(windows) - 1, "the first batch of each window but the first"
    assert losses(ahead) == losses(then)


@pytest.mark.parametrize("sets", LIVELY.values(), ids=LIVELY)
def test_a_batch_draws_the_same_whatever_was_drawn_before(make_run: MakeRun, sets: tuple[str, ...]) -> None:
    """So a pass that is computed again, as after running out of memory, is the same, and a resumed run draws what it would have drawn."""
    found: list[list[Tensor]] = []

    def look(trainer: Trainer) -> None:
        window = next(trainer.batch_schedule.windows())
        for value in trainer.loaded.adapter.parameters.values():
            torch.nn.init.normal_(value, std=0.1)  # what is dropped would change nothing else
        for number in (0, 0, 1):
            torch.rand(3)
            batch = trainer.steps.diffusion_loss.prepare(window.batches[0], number, window.images)
            trainer.steps.flat_parameters.zero_gradients()
            made = trainer.steps._computed(batch)
            found.append(
                [
                    made,
                    *(value.grad.clone() for value in trainer.steps.flat_parameters.parts.values() if value.grad is not None),
                ]
            )

    train(make_run(*SHORT, *sets, "schedule.epochs=1"), lambda trainer: after_loading(trainer, lambda: look(trainer)))
    first, again, other = found
    assert all(map(torch.equal, first, again))
    assert not any(map(torch.equal, first, other))


class NothingRead(TorchDispatchMode):
    """Fails where the program reads a value from the device, or sends one to it: a recording allows neither."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func)
        assert not name.startswith(("aten._local_scalar_dense", "aten.nonzero", "aten.lift_fresh", "aten.masked_select")), name
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("family", ["sd15", "sdxl", "flux"])
def test_a_step_with_trained_text_and_dropout_never_waits_for_the_device(
    family: str, make_run: MakeRun, base_folder: Path, sdxl_folder: Path, flux_folder: Path
) -> None:
    folder = {"sd15": base_folder, "sdxl": sdxl_folder, "flux": flux_folder}[family]
    read: list[set[str]] = []

    def look(trainer: Trainer) -> None:
        window = next(trainer.batch_schedule.windows())
        batch = trainer.steps.diffusion_loss.prepare(window.batches[0], 0, window.images)
        assert not set(batch.conditioning) & {"states", "pooled", "text_embeds"}, "they are computed within the step"
        trainer.loaded.adapter.train()
        with NothingRead():
            trainer.steps._computed(batch)
        read.append(
            {
                name.split(".")[0]
                for name, value in trainer.loaded.adapter.parameters.items()
                if value.grad is not None and value.grad.any()
            }
        )

    sets = (f"base.family={family}", f"base.model={folder}", *LIVELY["text and dropout"], "schedule.epochs=1")
    more = ("training.min_snr_gamma=0",) if family == "flux" else ()
    train(make_run(*SHORT, *sets, *more), lambda trainer: after_loading(trainer, lambda: look(trainer)))
    assert read == [{"denoiser", "text_encoder", *(["text_encoder_2"] if family == "sdxl" else [])}]
