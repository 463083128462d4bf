"""How long a step takes on a card: what was measured on one, scaled to another by its arithmetic and its memory."""

from __future__ import annotations

from dataclasses import dataclass

from loratui.engine.families.figures import FamilyFigures, Range
from loratui.engine.planning import figures
from loratui.engine.planning.figures import Card
from loratui.engine.planning.memory_need import image_share
from loratui.engine.planning.memory_plan import MemoryPlan
from loratui.engine.planning.rungs import host_gib
from loratui.engine.words import GIB
from loratui.presets.schema import Settings

MARGIN_MEASURED, MARGIN_SCALED = 0.1, 0.2
"""Share by which a time may be off on the card that was measured, and on one to which it was scaled."""
FAST_CPU = 0.35
"""What a fast CPU needs of the launching time of the slowest that was measured."""
SWAPPING = 1.15
"""What copies beside the computation cost it at the most: 0.47 and 0.53 s were measured for passes of 0.45 s together."""
FORWARD = 1 / 3
"""Share of the forward pass in a step that computes every block again; the other pass computes them again and their gradients."""
COMPILED_GIB = 0.42
"""Share of a step's memory, beside weights, that compiled blocks leave of it: FLUX took 1.4 GiB where eager ones take 3.35."""
RECORDED_FLOOR_S = 0.02
"""A step that is replayed takes no less: some ten thousand kernels."""


@dataclass(frozen=True)
class StepCost:
    """Seconds on one card."""

    image_step_s: Range
    """Training for one image; compiled where the run is long enough."""
    sample_pass_s: Range
    """One pass of the denoiser for one sample, without gradients."""
    compiles: bool


def step_cost(settings: Settings, known: FamilyFigures, card: Card, plan: MemoryPlan, optimizer_steps: int) -> StepCost | str:
    """What a step takes, or why that is unknown."""
    if plan.precision != "bf16":
        return "there are figures only for bf16"
    if settings.adapter.dora or settings.adapter.kind in ("loha", "lokr"):
        return f"no figures for {'DoRA' if settings.adapter.dora else settings.adapter.kind}"
    factor = known.fp8_time if plan.base == "fp8" else None if plan.base in ("int8", "nf4") else 1.0
    if factor is None:
        return f"no figures for a base in {plan.base}"
    time = plan.rung.time(known, plan.recomputed)
    batch = settings.training.batch_size
    margin = MARGIN_MEASURED if card.name == figures.MEASURED_ON.name else MARGIN_SCALED
    image_s = _on(card, time.arithmetic_s, time.traffic_s) * image_share(settings, known)
    gpu_s = max(image_s * batch, RECORDED_FLOOR_S)
    batch_s = gpu_s * (1 - margin), gpu_s * (1 + margin)
    if not plan.cuda_graphs:
        batch_s = max(batch_s[0], time.launch_s * FAST_CPU), max(batch_s[1], time.launch_s)
    steps = optimizer_steps * settings.training.accumulation
    compiles = plan.pays_to_compile(known, sum(batch_s) / 2, steps)
    left = 1 - known.compiled_share if compiles else 1.0
    # A third of a step is the pass forward. Samples are launched, never recorded.
    sample_s = _on(card, known.kept_time.arithmetic_s, known.kept_time.traffic_s) / 2.5
    launch_s = known.kept_time.launch_s / 3
    computing = [second * left * factor / batch for second in batch_s]
    if plan.rung.swaps:
        passes = batch if plan.split else 1
        most, least = _swapped_gib(known, plan), _swapped_gib(known, plan, COMPILED_GIB if compiles else 1.0)
        copied_gib = least * (1 - MARGIN_MEASURED), most * (1 + MARGIN_MEASURED)
        copying = (gib * GIB / 1e9 / card.link_gb_s * passes / batch for gib in copied_gib)
        beside = computing[0], computing[1] * SWAPPING
        computing = [_overlapped(second, copying_s) for second, copying_s in zip(beside, copying, strict=True)]
    return StepCost(
        (computing[0], computing[1]),
        (max(sample_s * (1 - margin), launch_s * FAST_CPU), max(sample_s * (1 + margin), launch_s)),
        compiles,
    )


def _overlapped(computing_s: float, copying_s: float) -> float:
    """Both passes of a step, in each of which blocks are copied while others are computed: the slower of the two counts."""
    return sum(max(share * computing_s, copying_s) for share in (FORWARD, 1 - FORWARD))


def _swapped_gib(known: FamilyFigures, plan: MemoryPlan, taken: float = 1.0) -> float:
    """Of the blocks' weights, what each pass copies: blocks that fit beside the rest of a step, or of a sample, stay on the card.
    `taken` is the share that a step takes of the memory that it is promised."""
    assert plan.need is not None
    pinned, room = host_gib(known, plan.rung, plan.base), plan.room_gib * (1 - figures.SPARE)
    step = plan.need.weights + taken * (plan.need.training - plan.need.weights)
    return min(pinned, max(0.0, pinned - room + max(step, plan.need.sampling)))


def _on(card: Card, arithmetic_s: float, traffic_s: float) -> float:
    measured = figures.MEASURED_ON
    return arithmetic_s * measured.peak_tflops / card.peak_tflops + traffic_s * measured.bandwidth_tb_s / card.bandwidth_tb_s
