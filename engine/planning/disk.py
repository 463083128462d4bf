"""What a run writes: all of it, what its next writes take, and what a resume still needs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from loratui.engine import families
from loratui.engine.dataset.caption_choice import makes_several
from loratui.engine.planning.bases import base_path
from loratui.engine.planning.lora_size import LoraSize
from loratui.engine.planning.plan import Plan
from loratui.presets.schema import Settings

PNG_BYTES_PER_PX = 1.6
"""Of a sample image, on average."""


@dataclass(frozen=True)
class Disk:
    """Bytes that a run writes, and downloads before it."""

    checkpoints: int
    """At the fullest moment: those kept and the one being written."""
    outputs: int
    samples: int
    cache: int
    download: int

    @property
    def run(self) -> int:
        """Bytes in the run directory."""
        return self.checkpoints + self.outputs + self.samples + self.cache


def checkpoint_bytes(settings: Settings, lora: LoraSize) -> int:
    """The LoRA and the optimizer's two moments in fp32, and the average if there is one."""
    return lora.parameters * (16 if settings.training.ema_decay else 12)


def beside_checkpoint_bytes(settings: Settings, lora: LoraSize) -> int:
    """What a run writes together with a checkpoint: a LoRA file and one round of samples."""
    return lora.bytes + len(settings.samples.prompts) * _sample_bytes(settings)


def disk_of(settings: Settings, plan: Plan, lora: LoraSize) -> Disk:
    """What a whole run writes."""
    files = math.ceil(plan.epochs / settings.output.save_every_epochs) + 1
    here = base_path(settings.base.model) is not None
    return Disk(
        checkpoints=(settings.output.keep_checkpoints + 1) * checkpoint_bytes(settings, lora),
        outputs=files * lora.bytes,
        samples=sample_count(settings, plan) * _sample_bytes(settings),
        cache=cache_bytes(settings, plan.images + plan.regularisation_images, plan.captions),
        download=0 if here else families.family(settings.base.family).figures.download_bytes,
    )


def cache_bytes(settings: Settings, images: int, captions: int) -> int:
    """What is cached for so many images: their latents, and the states of all texts that their captions make."""
    known = families.family(settings.base.family).figures
    texts = captions * (settings.dataset.caption_variants if makes_several(settings.dataset) else 1)
    return int(settings.dataset.resolution**2 * known.latent_bytes_per_px * images + known.text_bytes * texts)


def sample_count(settings: Settings, plan: Plan) -> int:
    """How many sample images a run makes: each so many image-steps, always at the end, and before it if wanted."""
    every = settings.samples.every_image_steps or plan.image_steps_per_epoch
    times = math.ceil(plan.image_steps / every) + int(settings.samples.before_training)
    return times * len(settings.samples.prompts)


def sample_area(settings: Settings) -> int:
    """Pixels of one sample."""
    side = settings.dataset.resolution
    return (settings.samples.width or side) * (settings.samples.height or side)


def _sample_bytes(settings: Settings) -> int:
    return int(sample_area(settings) * PNG_BYTES_PER_PX)
