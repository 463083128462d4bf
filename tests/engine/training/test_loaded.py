"""A run whose denoiser is loaded while captions and images are encoded."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from small_runs import MakeRun, losses, same, train, weights

from loratui.engine.families.diffusers_model import DiffusersModel
from loratui.engine.machine.accelerator import Card
from loratui.engine.planning.memory_need import Facts
from loratui.engine.planning.memory_plan import MemoryPlan, decide
from loratui.presets import load_preset
from loratui.presets.schema import replace


@pytest.mark.parametrize("sets", [(), ("training.train_text_encoder=true",)], ids=["", "text encoder"])
def test_it_trains_the_same_bits(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, sets: tuple[str, ...]) -> None:
    arrivals: list[str] = []
    arrives = DiffusersModel.denoiser_arrives

    def counted(model: DiffusersModel) -> Any:
        arrivals.append(type(model).__name__)
        return arrives(model)

    monkeypatch.setattr(DiffusersModel, "denoiser_arrives", counted)
    found = []
    for at_once in (False, True):
        monkeypatch.setattr(MemoryPlan, "loads_at_once", lambda *_, at_once=at_once: at_once)
        run = make_run("schedule.image_steps=4", "output.name=qxz", *sets)
        train(run)
        found.append((losses(run), weights(run)))
    assert arrivals == ["Sd15"]
    assert found[0][0] == found[1][0]
    assert same(found[0][1], found[1][1])


@pytest.mark.parametrize(
    ("gib", "changes", "at_once"),
    [
        (139.8, {}, True),
        (80.0, {}, True),
        (139.8, {"memory.plan": "checkpointing"}, False),
        (139.8, {"memory.plan": "quantised"}, False),
        (48.0, {}, False),
        (16.0, {}, False),
    ],
)
def test_only_where_both_take_no_more_than_a_step(gib: float, changes: dict[str, Any], at_once: bool) -> None:
    settings = replace(load_preset("flux-identity-18img").settings, {"base.model": "flux.safetensors", **changes})
    facts = dataclasses.replace(Facts.of(settings, Card("GPU", gib, (9, 0)), gib - 1), host_gib=100.0)
    plan = decide(facts)
    assert isinstance(plan, MemoryPlan)
    assert plan.loads_at_once(facts.figures) is at_once
