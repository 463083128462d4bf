"""What is said of this machine, its disk, and the base before a start."""

from __future__ import annotations

from collections.abc import Mapping

from loratui.engine.findings.kind import Kind, error, note

_ADAMW8BIT = "It keeps its numbers in 8 bits by means of bitsandbytes, which works on NVIDIA GPUs alone."
_ON_THE_CPU = "It trains on the CPU only if you say so (--device cpu, or memory.device under all settings). {remedy}"
_NO_GPU = "A machine with a GPU costs the same while its CPU trains, which takes many times as long."

_SCALED = (
    "Trains in fp16 with a scaled loss and the LoRA in fp32; a step whose gradients leave the range of fp16 is made again."
)

MACHINE: Mapping[str, Kind] = {
    "cpu_by_name": note("Trains on the CPU, as memory.device says; {card} is left alone."),
    "gpu_unusable": error("{problem}", _NO_GPU, _ON_THE_CPU),
    "precision.slow_on_cpu": error(
        "training.precision fp16: a CPU is slower in it than in fp32.", remedy="Set {settings}, which is fp32 here."
    ),
    "precision.no_bf16": error(
        "training.precision bf16: {card} has none; torch would emulate it, many times slower.",
        remedy="Set {settings}, which is {usual} here.",
    ),
    "precision.needs_bf16": error(
        "{title} needs a card with bf16, which {card} is not: its activations go beyond the range of fp16 (65 504), and in fp32 its "
        "weights alone take {weights_gib:.0f} GiB.",
        remedy="Use a card with bf16 (RTX 30xx, A10, A100, L4 or newer), or train {others:or} here.",
    ),
    "precision.slow_fp16": error(
        "training.precision fp16: {card} computes it many times slower than fp32.",
        remedy="Set {settings}, which is fp32 here.",
    ),
    "precision.scaled": note(_SCALED),
    "precision.fp16": note("{card} has no bf16. " + _SCALED),
    "precision.fp32": note("{card} has neither bf16 nor a fit fp16: it trains in fp32, which takes twice the memory."),
    "precision.small": note("{card} has no bf16: the small base trains in fp32."),
    "optimizer_machine": error(
        "optimizer.name adamw8bit: this machine has no NVIDIA GPU.", _ADAMW8BIT, "Set {settings}, which is adamw here."
    ),
    "optimizer_machine.on_cpu": error("optimizer.name adamw8bit: training is on the CPU."),
    "optimizer_machine.not_installed": error(
        "optimizer.name adamw8bit: bitsandbytes is not installed.", remedy="Install bitsandbytes, or set {settings}."
    ),
}

GPU_LOST: Mapping[str, Kind] = {"gpu_lost": error("{problem}", _NO_GPU, _ON_THE_CPU)}

DISK: Mapping[str, Kind] = {
    "output_not_writable": error(
        "{folder}: nothing can be written here.",
        "The run's checkpoints, samples and LoRA files go there.",
        "Choose another folder with --home, or change its permissions.",
    ),
    "disk_full": error(
        "{home}: {free} are free, and this run writes about {needed}.",
        "A full disk ends a run; checkpoints, LoRA files, samples and caches are all written there.",
        "Free some space, choose another folder with --home, or keep fewer files (output.save_every_epochs).",
    ),
}
