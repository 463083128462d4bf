"""What is said of this machine, its disk, and the base before a start."""

from __future__ import annotations

from collections.abc import Mapping

from loratui.engine.findings.kind import Kind, error, note

_ADAMW8BIT = "It keeps its numbers in 8 bits by means of bitsandbytes, which works on NVIDIA GPUs alone."
_ON_THE_CPU = "It trains on the CPU only if you say so (--device cpu, or memory.device under all settings). {remedy}"
_NO_GPU = "A machine with a GPU costs the same while its CPU trains, which takes many times as long."

MACHINE: Mapping[str, Kind] = {
    "cpu_by_name": note("Trains on the CPU, as memory.device says; {card} is left alone."),
    "gpu_unusable": error("{problem}", _NO_GPU, _ON_THE_CPU),
    "precision.refused": error("{problem}", remedy="{remedy}"),
    "precision": note("{why}"),
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
