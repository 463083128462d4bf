"""A believable run without a trainer: a real run directory, lock and event log, with losses and images that are made up."""

from __future__ import annotations

import math
import random
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from made_checkpoints import make_checkpoint

from loratui.engine.durable import make_directory, write_json
from loratui.engine.planning.recipe import effective_toml
from loratui.engine.runs import control, lock
from loratui.engine.runs.directory import RunDirectory, create_run
from loratui.engine.runs.event_log import EventLog
from loratui.engine.runs.state_file import StateWriter
from loratui.tui.wizard.demo import demo_draft

STEPS, EPOCHS = 900, 10
FINAL = "output/anafox.safetensors"
TEMPLATES = (
    "a drawn portrait of {subject}, red clothing, blue background",
    "a drawn portrait of {subject}, green clothing, gray background",
)
PROMPTS = tuple(template.replace("{subject}", "anafox woman") for template in TEMPLATES)


def make_run(home: Path, name: str = "anafox") -> RunDirectory:
    """The run directory of the demo, planned but not begun."""
    draft = demo_draft().with_values({"validation.prompts": TEMPLATES, "validation.seeds": 1})
    assert draft.recipe is not None
    plan = draft.plan()
    assert plan is not None
    effective = effective_toml(draft.recipe, plan)
    return create_run(home, name, recipe_toml=draft.recipe.to_toml(), effective_toml=effective, ledger={}, today="20261121")


class FakeTrainer:
    """Holds the lock and writes what supervisor and trainer would. A context manager; leaving it lets go of the lock."""

    def __init__(self, run: RunDirectory, job: str = "train", *, step_s: float = 0.25) -> None:
        self.run = run
        self.step_s = step_s
        make_directory(run.events_of(job).parent)
        self.log = EventLog.open(run.events_of(job))
        self.state = StateWriter(run, self.log) if job == "train" else None
        self.lock = lock.acquire(run.lock, job=job)
        self.step = 0
        self._random = random.Random(7)

    def __enter__(self) -> FakeTrainer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.log.close()
        self.lock.release()

    def start(self, resumed_step: int = 0, **changes: Any) -> None:
        """The trainer starts and tells its numbers."""
        self.step = resumed_step
        self.log.append("trainer_started", attempt=1, pid=4711)
        numbers = {
            "name": self.run.name,
            "preset": "demo",
            "family": "sd15",
            "base": "embedded:sd15",
            "trigger": "anafox",
            "images": 18,
            "epochs": EPOCHS,
            "image_steps": 2 * STEPS,
            "optimizer_steps": STEPS,
            "steps_per_epoch": STEPS // EPOCHS,
            "batch_size": 2,
            "accumulation": 1,
            "resumed_step": resumed_step,
            "device": "cpu",
            "dtype": "float32",
            "loratui": "0.1.0",
            "torch": "2.13.0",
        }
        self.log.append("run_started", **{**numbers, **changes})

    def phase(self, phase: str, text: str = "") -> None:
        """The trainer turns to something else."""
        self.log.append("phase_changed", phase=phase, text=text)

    def steps(self, count: int, *, loss: float | None = None, finite: bool = True) -> None:
        """So many optimizer steps, with a loss that falls and scatters as that of a diffusion model does."""
        for _ in range(count):
            self.step += 1
            course = 0.06 + 0.10 * math.exp(-self.step / 150)
            made_up = course * math.exp(self._random.gauss(0, 0.55))
            value = loss if loss is not None else made_up
            epoch = (self.step - 1) * EPOCHS // STEPS + 1
            self.log.append(
                "step",
                step=self.step,
                image_step=2 * self.step,
                epoch=epoch,
                loss=value if finite else math.nan,
                lr=1e-3 * (1 + math.cos(math.pi * self.step / STEPS)) / 2,
                grad_norm=0.4 + 0.2 * self._random.random(),
                step_s=self.step_s,
            )
            if self.step % (STEPS // EPOCHS) == 0:
                self.log.append("epoch_finished", epoch=epoch, step=self.step, image_step=2 * self.step, loss=course)
                self.output(f"output/anafox-{self.step:06d}.safetensors", epoch)

    def measured(self, **values: float | None) -> None:
        """What was measured of the samples of this step, by the measures' ids."""
        natural = {"base": 0.33, "low": 0.78, "high": 0.92}
        rows = [
            {"id": id, "value": value, "unknown": "" if value is not None else "No face model on this machine.", **natural}
            | ({"copied": 0.0} if id.startswith("copy") else {})
            for id, value in values.items()
        ]
        epoch = self.step * EPOCHS // STEPS
        self.log.append("samples_measured", step=self.step, epoch=epoch, images=2, seconds=0.1, measures=rows)

    def checkpoint(self) -> None:
        """A checkpoint that nothing can be trained from."""
        make_checkpoint(self.run.checkpoint(self.step))
        where = f"checkpoints/step-{self.step:06d}"
        self.log.append("checkpoint_written", step=self.step, image_step=2 * self.step, path=where, bytes=99, reason="asked")

    def sample(self, prompt: str = PROMPTS[0], index: int = 0, sha256: str = "") -> None:
        """A sample image; `sha256` is told of it, whatever it is."""
        path = self.run.samples / f"step-{self.step:06d}" / f"{index:02d}.png"
        write_portrait(path, self.step / STEPS, index)
        relative = path.relative_to(self.run.path).as_posix()
        self.log.append(
            "sample_written",
            step=self.step,
            image_step=2 * self.step,
            index=index,
            path=relative,
            prompt=prompt,
            seed=1000,
            sha256=sha256,
        )

    def output(self, path: str = "output/anafox.safetensors", epoch: int = EPOCHS, *, final: bool = False) -> None:
        """A LoRA file without a tensor."""
        file = self.run.path / path
        file.write_bytes(b"\2\0\0\0\0\0\0\0{}")
        self.log.append("output_written", step=self.step, epoch=epoch, path=path, bytes=3_400_000, final=final)

    def image(
        self,
        prompt: str,
        strength: float,
        seed: int = 1000,
        *,
        grid: str = "strengths",
        file: str = FINAL,
        nearest: str = "",
        similarity: float | None = None,
    ) -> None:
        """An image of the check."""
        cell = check_cell(prompt, strength, seed, grid=grid, file=file)
        write_portrait(self.run.path / cell["path"], strength, PROMPTS.index(prompt) if prompt in PROMPTS else len(PROMPTS))
        like = {"nearest": nearest, "similarity": similarity} if nearest else {}
        self.log.append("image_written", **cell, **like)

    def acknowledge(self, ok: bool = True, message: str = "") -> None:
        """Answers every waiting command."""
        inbox = control.Inbox(self.run, self.log)
        for command in inbox.poll():
            inbox.acknowledge(command, ok, message)

    def finish(self, status: str = "done", exit_code: int = 0, reason: str = "All steps are done.", advice: str = "") -> None:
        """The last word."""
        self.log.append("trainer_ended", attempt=1, exit_code=exit_code, signal=None, reason=reason)
        self.log.append("run_finished", status=status, exit_code=exit_code, reason=reason, advice=advice, step=self.step)


def write_portrait(path: Path, progress: float, variant: int = 0) -> None:
    """A drawn face that becomes clearer as `progress` rises from 0 to 1."""
    from PIL import Image, ImageDraw, ImageFilter

    grounds = ((70, 110, 190), (150, 150, 150), (200, 170, 110), (90, 150, 100))
    image = Image.new("RGB", (128, 128), grounds[variant % len(grounds)])
    draw = ImageDraw.Draw(image)
    draw.ellipse((22, 6, 106, 112), fill=(210, 100, 40))
    draw.rectangle((18, 104, 110, 128), fill=(190, 40, 50) if variant % 2 == 0 else (50, 140, 70))
    draw.ellipse((34, 20, 94, 108), fill=(240, 205, 175))
    for x in (50, 78):
        draw.ellipse((x - 7, 52, x + 7, 64), fill=(255, 255, 255))
        draw.ellipse((x - 4, 53, x + 4, 63), fill=(40, 120, 60))
    draw.arc((50, 74, 78, 94), 20, 160, fill=(170, 50, 60), width=3)
    noise = Image.effect_noise((128, 128), 60).convert("RGB")
    clear = min(1.0, 0.35 + progress * 0.65)
    image = Image.blend(noise, image.filter(ImageFilter.GaussianBlur((1 - clear) * 6)), clear)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def finished_run(home: Path, name: str = "anafox") -> RunDirectory:
    """A run that is done, with samples of every second epoch."""
    run = make_run(home, name)
    with FakeTrainer(run) as trainer:
        trainer.start()
        for _ in range(EPOCHS):
            trainer.steps(STEPS // EPOCHS)
            trainer.sample()
        trainer.output(final=True)
        trainer.finish(advice=f"loratui validate {run.name} makes the strength grid.")
    return run


STRENGTHS = (0.0, 0.5, 1.0, 1.5)


def check_cell(prompt: str, strength: float, seed: int = 1000, *, grid: str = "strengths", file: str = FINAL) -> dict[str, Any]:
    """An image of the check as `grid.json` lists it and its event tells it."""
    kind = PROMPTS.index(prompt) if prompt in PROMPTS else 9
    name = f"{kind:02d}-{Path(file).stem if strength else 'base'}-{strength:.2f}-{seed}.png"
    lora = file if strength else ""
    return {"path": f"validation/{name}", "grid": grid, "prompt": prompt, "seed": seed, "file": lora, "strength": strength}


def list_grid(run: RunDirectory, cells: list[dict[str, Any]]) -> None:
    """What the job writes before its first image."""
    make_directory(run.validation)
    grids = list(dict.fromkeys(cell["grid"] for cell in cells))
    write_json(run.validation / "grid.json", {"format": 2, "grids": grids, "images": cells})


def strength_cells() -> list[dict[str, Any]]:
    """Prompts × strengths."""
    return [check_cell(prompt, strength) for prompt in PROMPTS for strength in STRENGTHS]


def epoch_cells(run: RunDirectory) -> list[dict[str, Any]]:
    """Prompts × the files of the epochs."""
    files = sorted(path.name for path in run.output.glob("anafox-*.safetensors"))
    return [check_cell(prompt, 1.0, grid="checkpoints", file=f"output/{file}") for prompt in PROMPTS for file in files]


def write_grid(run: RunDirectory, count: int = 8, *, epochs: bool = False) -> None:
    """The first `count` images of the strengths, with `epochs` all of both grids; and the end of the job if that is all."""
    cells = [*strength_cells(), *(epoch_cells(run) if epochs else [])]
    list_grid(run, cells)
    with FakeTrainer(run, "validate") as trainer:
        trainer.log.append("trainer_started", attempt=1, pid=4712)
        trainer.phase("sampling", "Making the validation images")
        for cell in cells if epochs else cells[:count]:
            chosen = {name: cell[name] for name in ("prompt", "strength", "seed", "grid", "file")}
            trainer.image(**chosen, nearest="anafox_03.png", similarity=0.97 if cell["strength"] > 1 else 0.79)
        if epochs or count >= len(cells):
            trainer.finish()


def write_ledger(run: RunDirectory) -> None:
    """Training images to which the validation images are said to be similar."""
    photo = run.path.parent / "photos" / "anafox_03.png"
    write_portrait(photo, 1.0, 1)
    write_json(run.dataset, {"format": 1, "images": [{"relative": photo.name, "path": str(photo)}]})


def wait_until(condition: Any, timeout_s: float = 10.0) -> bool:
    """Waits until `condition()` is true; False if it never was."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False
