"""The settings of the trainer on Civitai's site, as its page shows them; it is sd-scripts under other names.

Source: the settings in the guide of Skullkid (civitai.com/articles/3921), whose step count comes out by their formula.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from loratui.engine.importing import sd_scripts
from loratui.engine.importing.amount import Amount
from loratui.engine.importing.families import by_word, trains
from loratui.engine.importing.reading import Reading

NAMES = {
    "unetLR": "unet_lr", "textEncoderLR": "text_encoder_lr", "learningRate": "learning_rate", "clipSkip": "clip_skip",
    "keepTokens": "keep_tokens", "networkDim": "network_dim", "networkAlpha": "network_alpha", "numRepeats": "num_repeats",
    "resolution": "resolution", "lrScheduler": "lr_scheduler", "lrSchedulerNumCycles": "lr_scheduler_num_cycles",
    "minSnrGamma": "min_snr_gamma", "enableBucket": "enable_bucket", "optimizerArgs": "optimizer_args",
    "optimizerType": "optimizer_type", "maxTrainEpochs": "max_train_epochs", "shuffleCaption": "shuffle_caption",
    "trainBatchSize": "train_batch_size", "flipAugmentation": "flip_aug", "noiseOffset": "noise_offset", "lrWarmupSteps": "lr_warmup_steps",
    "seed": "seed",
}  # fmt: skip
_OTHERS = {"sd3": "Stable Diffusion 3", "sd3_medium": "Stable Diffusion 3", "wan": "Wan", "hunyuan": "Hunyuan Video", "chroma": "Chroma",
           "hy_720_fp8": "Hunyuan Video", "qwen": "Qwen-Image"}  # fmt: skip
FORMULA = "the site counts images × repeats × epochs / {batch} as targetSteps; the trainer below it rounds up each bucket of each epoch"


def read(table: Mapping[str, Any], family: str = "") -> tuple[Reading, Amount]:
    """Says what becomes of every value; returns how it counts its steps."""
    reading = Reading.renamed("the on-site trainer", table, lambda name: NAMES.get(name, name))
    for key in ("baseModel", "baseModelType", "base_model", "model"):
        word = reading.text(key).lower()
        if word in _OTHERS:
            trains(reading, key, _OTHERS[word])
            return reading, Amount()
        if known := by_word("on-site", word):
            family = family or known
            reading.taken(key, {"base.family": known})
    kind = reading.text("loraType", "lora")
    if kind in ("lora", "locon", "loha", "lokr"):
        reading.taken("loraType", {"adapter.kind": kind, **({} if kind == "lora" else {"adapter.targets": "all+conv"})})
    else:
        reading.changed("loraType", {"adapter.kind": "lora"}, f"loratui has no {kind[:40]}; the recipe makes a LoRA.")
    reading.nothing("engine", "loratui is the trainer.")
    if reading.given("targetSteps"):
        reading.nothing("targetSteps", "It follows from images, repeats, epochs and batch; see the steps below.")
    if reading.number("network_alpha", 1) == 0:
        reading.lost.append("Alpha 0 means alpha = rank, there and here.")
    amount = sd_scripts.read(reading, family, has_network=False)
    return reading, amount if amount.steps else dataclasses.replace(amount, formula=FORMULA)
