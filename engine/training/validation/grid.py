"""The strength grid: every prompt and seed at several LoRA strengths, made from the finished LoRA file itself."""

from __future__ import annotations

from functools import partial
from typing import Any

from loratui.engine.errors import ExitCode, UsageError
from loratui.engine.runs.durable import write_json
from loratui.engine.training.cache import TextCache
from loratui.engine.training.lora_file import read_lora_file
from loratui.engine.training.reporting import Reporter
from loratui.engine.training.requests import Requests
from loratui.engine.training.sampler import prompts_to_encode, sample_plan, write_sample
from loratui.engine.training.setup import Job, add_adapter, load_base

FORMAT = 1


def make_grid(job: Job, report: Reporter, requests: Requests) -> ExitCode:
    """Makes the grid of `validation` in the recipe; pictures that are there already are made anew.

    Raises `UsageError` if the run has no LoRA file.
    """
    with requests.at_once():
        _make_grid(job, report, requests)
    requests.acknowledge_ending("All pictures are made.")
    return ExitCode.DONE


def _make_grid(job: Job, report: Reporter, requests: Requests) -> None:
    settings, run = job.settings, job.run
    lora = newest_file(job)
    if lora is None:
        raise UsageError(f"{run.name} has no LoRA file yet.", "Wait for its first epoch.")
    prompts = [job.prompt(template) for template in settings.validation.prompts]
    report.phase("loading", f"Loading {settings.base.model}")
    family = load_base(job)
    texts = TextCache(run.cache, family)
    texts.fill(prompts_to_encode(prompts), (settings.base.clip_skip,), lambda *_: requests.stop_if_asked())
    family.free_text_encoders()
    adapter = add_adapter(job, family)
    read_lora_file(run.output / lora, settings.base.family, adapter)
    cells = [
        (p, strength, settings.samples.seed + n)
        for p in range(len(prompts))
        for n in range(settings.validation.seeds)
        for strength in settings.validation.strengths
    ]
    report.phase("sampling", f"Making {len(cells)} pictures")
    pictures = []
    for made, (p, strength, seed) in enumerate(cells):
        path = run.validation / f"{p:02d}-{strength:.2f}-{seed}.png"

        def on_step(done: int, of: int, made: int = made) -> None:
            report.progress(made * of + done, len(cells) * of, "pictures")
            requests.stop_if_asked()

        write_sample(path, family, adapter, partial(sample_plan, settings, texts, prompts[p], seed), strength, on_step)
        relative = path.relative_to(run.path).as_posix()
        cell: dict[str, Any] = {"path": relative, "prompt": prompts[p], "strength": strength, "seed": seed}
        pictures.append(cell)
        report.event("picture_written", durable=True, **cell)
    write_json(
        run.validation / "grid.json",
        {
            "format": FORMAT,
            "lora": f"output/{lora}",
            "prompts": prompts,
            "strengths": list(settings.validation.strengths),
            "pictures": pictures,
        },
    )


def newest_file(job: Job) -> str | None:
    """Name of the finished LoRA file, or else of the newest one of an epoch."""
    output = job.run.output
    final = f"{job.output_name}.safetensors"
    if (output / final).is_file():
        return final
    return max((path.name for path in output.glob(f"{job.output_name}-*.safetensors")), default=None)
