"""The model card of a LoRA on the hub: what it is, how to use it, how it was trained, which licence applies. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from loratui.engine import families
from loratui.engine.handover.keep import licence_note
from loratui.engine.handover.private import Private, place
from loratui.engine.machine.hub_cache import parse_id
from loratui.engine.planning.recipe import Recipe
from loratui.presets import schema
from loratui.presets.schema import Settings

_LICENCES = {"CreativeML Open RAIL-M": "creativeml-openrail-m", "CreativeML Open RAIL++-M": "openrail++"}
"""Licences that the hub has a word for (huggingface.co/docs/hub/repositories-licenses)."""
_SHOWN = (
    "adapter.kind", "adapter.rank", "adapter.alpha", "adapter.targets", "dataset.resolution", "schedule.repeats", "schedule.epochs",
    "schedule.image_steps", "training.batch_size", "training.accumulation", "optimizer.name", "optimizer.learning_rate", "optimizer.scheduler",
    "training.train_text_encoder", "training.seed",
)  # fmt: skip
"""Settings that a card tells besides those that differ from the preset."""


@dataclass(frozen=True, slots=True)
class Shown:
    """An image of the card: its name in the repository, and its prompt."""

    name: str
    prompt: str


def model_card(
    name: str,
    repo: str,
    settings: Settings,
    recipe: Recipe | None,
    strength: float,
    images: Sequence[Shown],
    private: Private,
) -> str:
    """The content of README.md for `NAME.safetensors` in `repo`; `private` cleans what is told. Without a recipe the file was trained
    elsewhere, and nothing is known of its training."""
    base = place((recipe.settings if recipe else settings).base.model)
    told = settings.dataset if settings.output.trigger_in_metadata else None
    words = " ".join(word for word in (told.trigger, told.class_word) if word) if told else ""
    head = "\n".join(_front(base, settings, words, images, private))
    return (
        "\n\n".join(
            part
            for part in (
                f"---\n{head}\n---",
                f"# {name}",
                f"A LoRA for {families.family(settings.base.family).long_title}, {'trained with loratui' if recipe else 'tried'} on {_code(base)}.",
                "<Gallery />" if images else "",
                f"## Trigger\n\nUse {_code(words)} in the prompt." if words else "",
                f"## Use\n\nDownload `{name}.safetensors`; strength {strength:g} is a good start.{_snippet(name, repo, base, strength)}",
                f"## Training\n\n| setting | value |\n|---|---|\n{_rows(settings, recipe, private)}" if recipe else "",
                f"## Licence\n\n{licence_note(settings)}",
            )
            if part
        )
        + "\n"
    )


def _front(base: str, settings: Settings, words: str, images: Sequence[Shown], private: Private) -> Iterator[str]:
    """The card's table of metadata, as YAML: its values are written as JSON, which YAML contains."""
    yield 'tags: ["text-to-image", "lora", "diffusers", "template:sd-lora", "loratui"]'
    yield 'library_name: "diffusers"'
    yield 'pipeline_tag: "text-to-image"'
    known = parse_id(base) is not None
    if known:
        yield f"base_model: {_json(base)}"
        yield 'base_model_relation: "adapter"'
    for key, value in _licence(base, settings, known=known).items():
        yield f"{key}: {_json(value)}"
    if words:
        yield f"instance_prompt: {_json(private.text(words))}"
    if images:
        yield "widget:"
        for image in images:
            yield f"- text: {_json(private.text(image.prompt))}"
            yield "  output:"
            yield f"    url: {_json(image.name)}"


def _licence(base: str, settings: Settings, *, known: bool) -> dict[str, str]:
    """The licence in the hub's words, as far as the base's is known; a LoRA has no freer one."""
    if base.startswith("embedded:"):
        return {"license": "apache-2.0"}
    if not known:
        return {}
    told = next((source.licence for source in families.family(settings.base.family).bases if source.repo == base), "")
    if told in _LICENCES:
        return {"license": _LICENCES[told]}
    name = re.sub(r"[^a-z0-9]+", "-", told.lower()).strip("-") or "that-of-the-base"
    return {"license": "other", "license_name": name, "license_link": f"https://huggingface.co/{base}"}


def _snippet(name: str, repo: str, base: str, strength: float) -> str:
    """How diffusers loads it, where the base is on the hub."""
    if parse_id(base) is None:
        return ""
    return f""" With diffusers:

```python
import torch
from diffusers import AutoPipelineForText2Image

pipe = AutoPipelineForText2Image.from_pretrained({base!r}, torch_dtype=torch.bfloat16).to("cuda")
pipe.load_lora_weights({repo!r}, weight_name={f"{name}.safetensors"!r}, adapter_name="lora")
pipe.set_adapters("lora", {strength:g})
```"""


def _rows(settings: Settings, recipe: Recipe, private: Private) -> str:
    told = private.settings(settings)
    changed = [difference.key for difference in recipe.differences()] if recipe.preset else []
    keys = [key for key in schema.KEYS if (key in _SHOWN or key in changed) and told.get(key) and key not in schema.PATHS]
    preset = [f"| preset | {_code(recipe.preset)} |"] if recipe.preset else []
    return "\n".join([*preset, *(f"| {key} | {_code(told[key])} |" for key in keys)])


def _code(text: str) -> str:
    """A text between backticks, in which nothing is a mark."""
    return f"`{' '.join(text.replace('`', chr(39)).replace('|', '/').split())}`"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True)
