"""Prompts of sample images in sd-scripts' form: a prompt in each line, with --w, --h, --d, --s, --l and --g behind it."""

from __future__ import annotations

import re
from typing import Any

from loratui.engine.importing.amount import Amount
from loratui.engine.importing.reading import Reading, as_number
from loratui.engine.words import count
from loratui.presets.schema import KEYS

MOST_PROMPTS = 50
_OPTIONS = {"w": "samples.width", "h": "samples.height", "d": "samples.seed", "s": "samples.steps", "l": "samples.guidance",
            "g": "samples.guidance"}  # fmt: skip


def samples(reading: Reading, amount: Amount, *, prompts: str, every_steps: str, every_epochs: str) -> None:
    """Says what becomes of the prompts, and of how often they are made."""
    steps, epochs = reading.number(every_steps), reading.number(every_epochs)
    window = amount.batch * amount.accumulation * amount.processes
    if epochs > 0:
        if epochs == 1:
            reading.taken(every_epochs, {"samples.every_image_steps": 0}, "0 means once an epoch.")
        else:
            reading.changed(
                every_epochs,
                {"samples.every_image_steps": 0},
                "loratui makes samples once an epoch, or after a number of image-steps.",
            )
        reading.nothing(every_steps, f"{reading.name(every_epochs)} counts.")
    elif steps > 0:
        sets = {"samples.every_image_steps": round(steps * window)}
        reading.taken(every_steps, sets, f"An optimizer step has {count(window, 'image-step')}." if window > 1 else "")
        reading.nothing(every_epochs, "It is off.")
    else:
        for key in (every_steps, every_epochs):
            reading.nothing(key, "It is off; loratui makes samples once an epoch.")
    if reading.yes("sample_at_first"):
        reading.taken("sample_at_first", {"samples.before_training": True})
    else:
        reading.nothing("sample_at_first", "loratui makes samples before training too, to compare with.")
    reading.nothing("sample_sampler", "loratui uses one sampler for each kind of base; only the samples depend on it.")
    text = reading.text(prompts)
    if not text:
        return
    if "\n" not in text and re.search(r"\.(txt|toml|json)\s*$", text):
        found = reading.beside(text) if text.endswith(".txt") else None
        if found is None:
            reading.changed(
                prompts, {}, "The prompts are in this file, which is not here as text; copy them to samples.prompts."
            )
            return
        text = found
    _lines(reading, prompts, text)


def _lines(reading: Reading, key: str, text: str) -> None:
    sets: dict[str, Any] = {}
    found: list[str] = []
    lost = ""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    for line in lines[:MOST_PROMPTS]:
        prompt, *options = re.split(r"\s--", line)
        found.append(prompt.strip())
        for option in options:
            name, _, value = option.strip().partition(" ")
            ours, number = _OPTIONS.get(name, ""), as_number(value)
            if not ours or number is None:
                lost = "loratui's samples have a size, a seed, steps and a guidance, and nothing else."
                continue
            whole = number if KEYS[ours].type is float else int(number)
            if sets.setdefault(ours, whole) != whole:
                lost = "loratui makes all prompts with the same size, seed, steps and guidance: those of the first."
    if len(lines) > MOST_PROMPTS:
        lost = f"Only the first {MOST_PROMPTS} prompts are taken."
    if not found:
        reading.nothing(key, "There is no prompt in it.")
    elif lost:
        reading.changed(key, {"samples.prompts": tuple(found), **sets}, lost)
    else:
        reading.taken(key, {"samples.prompts": tuple(found), **sets})
