"""Writes the tables of docs/performance.md from the measurements in benchmarks/results: `python docs/make_performance.py`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from goals import GOALS
from kept_results import Report, by_age, kept, measured, newest, range_of, slower_by_the_clock

PAGE = Path(__file__).parent / "performance.md"
BEGIN, END = "<!-- {} made by docs/make_performance.py -->\n", "<!-- until here -->"

TITLES = {"flux": "FLUX.1-dev", "sdxl": "SDXL", "sd15": "SD1.5"}
RUNGS = {
    "default": "no setting",
    "kept": "activations kept",
    "compiled": "activations kept, blocks compiled",
    "partial": "some activations kept",
    "checkpointing": "all activations computed again",
    "quantised-fp8": "base in fp8",
    "quantised-int8": "base in int8",
    "swapped-fp8": "base in fp8, blocks swapped",
    "swapped-int8": "base in int8, blocks swapped",
    "swapped-bf16": "base in bf16, blocks swapped",
    "nf4": "base in NF4",
    "hand-checkpointing": "diffusers + PEFT, checkpointing",
    "hand-kept": "diffusers + PEFT",
    "hand-checkpointing-compiled": "diffusers + PEFT, checkpointing, blocks compiled",
    "hand-kept-compiled": "diffusers + PEFT, blocks compiled",
    "hand-kept-compiled-bf16": "the same with the LoRA in bf16",
    "hand-kept-graph": "diffusers + PEFT, one CUDA graph",
}


def goals(reports: list[Report]) -> Iterator[str]:
    """What was aimed at, beside what was measured."""
    yield "| | goal | wanted | measured | | on |"
    yield "|---|---|---|---|---|---|"
    for goal in GOALS:
        found = goal.found(reports)
        cells = (f"{found[0]:.4g}", goal.verdict(found[0]), found[1]) if found else ("not measured", "", "")
        yield f"| {TITLES.get(goal.family, goal.family)} | {goal.words} | {goal.wanted} | {' | '.join(cells)} |"


def steps(reports: list[Report]) -> Iterator[str]:
    """Each family's reports, the newest first, with the rungs that were not measured since."""
    for family, title in TITLES.items():
        for report, rungs, _ in by_age(reports, family):
            if rungs:
                setting = f"{report['px']} px, batch {report['batch']}, rank {report['rank']}"
                yield from (f"### {title}, {setting}, {report['date'][:10]}", "", *_about(report), "", *_table(rungs), "")


def _table(rungs: Mapping[str, Report]) -> Iterator[str]:
    yield "| rung | ms a step | estimated | images/s | GiB in use / held | of the ceiling | compiling, s | first step after, s | plan |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for rung, found in rungs.items():
        name = f"`{rung}`: {_words(rung)}"
        if "failed" in found:
            yield f"| {name} | failed | | | | | | | |"
            continue
        share = "" if found["share"] is None else f"{found['share']:.0%}"
        compiling = f"{found['compile_s']:.0f}" if found["compile_s"] else ""
        memory = f"{_gib(found['allocated_gib'])} / {_gib(found['reserved_gib'])}"
        figures = (
            range_of(found.get("estimated_ms")),
            f"{found['images_s']:.2f}",
            memory,
            share,
            compiling,
            f"{found['first_step_s']:.0f}",
            _plan(found),
        )
        yield f"| {name} | {_ms(found)} | {' | '.join(figures)} |"


def whole(reports: list[Report]) -> Iterator[str]:
    """Runs without a setting, killed in the middle."""
    yield "| | ms a step | first step after, s | killed at step | resumed from | a checkpoint, s | LoRA file, MB |"
    yield "|---|---|---|---|---|---|---|"
    rows = []
    for family, title in TITLES.items():
        found = next(
            (measured(report)["default"] for report, _, _ in by_age(reports, family) if "default" in measured(report)), None
        )
        if found is not None:
            killed, again = found["killed_at_step"], found["starts"][-1]
            ranges = f"{min(found['checkpoint_s']):.1f}–{max(found['checkpoint_s']):.1f}"
            cells = (_ms(found), f"{found['first_step_s']:.0f}", killed, again, ranges, f"{found['lora_bytes'] / 1e6:.1f}")
            rows.append(f"| {title} | {' | '.join(map(str, cells))} |")
    yield from rows or ["| not measured yet | | | | | | |"]


def rehearsals(reports: list[Report]) -> Iterator[str]:
    """What people do, on caps of memory."""
    yield "| base | cap, GiB | plan | ms a step | GiB held | samples | killed at, resumed from step | layers that diffusers opens | recorded |"
    yield "|---|---|---|---|---|---|---|---|---|"
    newest_of = newest(reports, "rehearsal")
    for name, report in newest_of.items():
        parts: Mapping[str, Any] = report["parts"]
        for part, run in parts.items():
            if part.startswith("resume@") and run["ok"]:
                cap = part.removeprefix("resume@")
                opened = parts.get(f"export@{cap}", {}).get("matched", "–")
                kill = f"{parts[f'train@{cap}']['killed_at_step']}, {run['starts'][-1]}"
                cells = (cap, _plan(run), _ms(run), _gib(run["reserved_gib"]), run["samples"], kill, opened, _recorded(report))
                yield f"| `{name}` | {' | '.join(map(str, cells))} |"
    if not newest_of:
        yield "| not recorded yet | | | | | | | | |"


def demo(reports: list[Report]) -> Iterator[str]:
    """The newest demos."""
    yield "| family | machine | whole, s | training, s | samples, s | steps/s | processes | likeness | measured |"
    yield "|---|---|---|---|---|---|---|---|---|"
    rows = []
    for family, report in newest(reports, "demo").items():
        found, machine = report["rungs"][family], report["machine"]
        where = f"{machine['cpus']} × {machine['cpu']}" if report["device"] == "cpu" else machine["gpu"]
        phases = (f"{found['phases_s'].get(phase, 0.0):.0f}" for phase in ("training", "sampling"))
        cells = (where, f"{found['whole_s']:.0f}", *phases, f"{found['steps_s']:.1f}", found["processes"], found["likeness"])
        rows.append(f"| {TITLES[family]} | {' | '.join(map(str, cells))} | {report['date']} |")
    yield from rows or ["| not measured yet | | | | | | | | |"]


def formats(reports: list[Report]) -> Iterator[str]:
    """What the formats of base and computation cost, on the embedded bases."""
    yield "| embedded base | format | first loss | first 60 losses, median (most) | loss of an epoch, most | LoRA | likeness | machine | measured |"
    yield "|---|---|---|---|---|---|---|---|---|"
    rows = []
    for family, report in newest(reports, "precision").items():
        gpu = report["machine"]["gpu"]
        where = f"{report['machine']['cpu']}" if gpu == "none" else gpu
        for name, found in report["rungs"].items():
            cells = [f"{TITLES[family]}, {found['steps']} steps", f"{name}, {found['plan']}", "", "", "", ""]
            if name != report["against"]:
                median, most = found["losses_differ"]
                cells[2:] = (f"{found['first_loss_differs']:.1e}", f"{median:.1e} ({most:.1e})")
                cells += (f"{found['epoch_loss_differs']:.1e}", f"{found['lora_differs']:.3f}")
            likeness = "–" if found["likeness"] is None else f"{found['likeness']:.2f}"
            rows.append(f"| {' | '.join([*cells, likeness, where, report['date']])} |")
    yield from rows or ["| not measured yet | | | | | | | | |"]


def libraries(reports: list[Report]) -> Iterator[str]:
    """Ways to hold a frozen base, of libraries and of loratui."""
    for report in newest(reports, "libraries").values():
        yield from (*_about(report), "")
    yield "| way | ms a step | gradients differ | GiB, most / between steps | |"
    yield "|---|---|---|---|---|"
    rows = []
    for report in newest(reports, "libraries").values():
        for way, found in report["rungs"].items():
            if "failed" in found:
                rows.append(f"| `{way}` | failed | | | {found['failed'].splitlines()[0][:160]} |")
                continue
            notes = "not compiled; " * bool(found["eager"]) + "the LoRA does not keep its steps" * (not found["learns"])
            differ = "" if found["gradients_differ"] is None else f"{found['gradients_differ']:.4f}"
            memory = f"{_gib(found['allocated_gib'])} / {_gib(found['resting_gib'])}"
            rows.append(f"| `{way}` | {_ms(found)} | {differ} | {memory} | {notes} |")
    yield from rows or ["| not measured yet | | | | |"]


def validation(reports: list[Report]) -> Iterator[str]:
    """Images a second, beside the loop that people write with diffusers."""
    yield "| family | way | images/s | against the loop | GiB in use | GPU | measured |"
    yield "|---|---|---|---|---|---|---|"
    rows = []
    for family, report in newest(reports, "validation_speed").items():
        found = measured(report)
        loop = found.get("diffusers", {}).get("images_s")
        for way, figures in found.items():
            times = f"{figures['images_s'] / loop:.2f} ×" if loop else "–"
            cells = (
                f"{figures['images_s']:.3f}",
                times,
                _gib(figures["allocated_gib"]),
                report["machine"]["gpu"],
                report["date"],
            )
            rows.append(f"| {TITLES[family]} | `{way}` | {' | '.join(cells)} |")
    yield from rows or ["| not measured yet | | | | | | |"]


def earlier(reports: list[Report]) -> Iterator[str]:
    """What was measured again since, one line for each rung."""
    yield "| measured | family | rung | ms a step | GiB held | compiling, s | first step after, s |"
    yield "|---|---|---|---|---|---|---|"
    rows = []
    for family, title in TITLES.items():
        for report, _, old in by_age(reports, family):
            for rung, found in old.items():
                cells = (_ms(found), _gib(found["reserved_gib"]), f"{found['compile_s']:.0f}", f"{found['first_step_s']:.0f}")
                rows.append(f"| {report['date'][:10]} | {title} | `{rung}` | {' | '.join(cells)} |")
    yield from rows or ["| none | | | | | | |"]


SECTIONS = {
    "goals": goals,
    "steps": steps,
    "whole": whole,
    "rehearsals": rehearsals,
    "demo": demo,
    "formats": formats,
    "libraries": libraries,
    "validation": validation,
    "earlier": earlier,
}


def replaced(text: str, reports: list[Report]) -> str:
    """The page with its tables as they should be."""
    for name, lines in SECTIONS.items():
        before, rest = text.split(BEGIN.format(name))
        table = "\n".join(lines(reports)).strip()
        text = f"{before}{BEGIN.format(name)}\n{table}\n\n{END}{rest.split(END, 1)[1]}"
    return text


def _about(report: Report) -> Iterator[str]:
    """Date, machine, versions and command of a report."""
    machine, versions, source = report["machine"], report["versions"], report["source"]
    parts = [f"driver {machine['driver']}" if machine.get("driver") else "driver not recorded"]
    parts += [f"{machine['cpus']} × {machine['cpu']}"] if machine.get("cpu") else []
    listed = ", ".join(f"{name} {number}" for name, number in versions.items()) or "versions not recorded"
    commit = source["commit"] or source["digest"] or "not recorded"
    command = "" if report["commands"] else "; command not recorded"
    gpus = max((found.get("processes", 1) for found in report.get("rungs", {}).values()), default=1)
    yield f"Measured on {report['date']} on {'one' if gpus == 1 else gpus} {machine['gpu']}{'s' if gpus > 1 else ''} ({'; '.join(parts)}); {listed}; loratui's sources {commit}{command}."
    if ceiling := report.get("ceiling"):
        fp8 = f", in fp8 {ceiling['fp8_tflops']:.0f}" if "fp8_tflops" in ceiling else ""
        copies = f"copies from pinned memory {ceiling['to_gpu_gb_s']:.0f} GB/s, back {ceiling['from_gpu_gb_s']:.0f}"
        yield f"Ceiling, a product of 8192³ in bf16: {ceiling['bf16_tflops']:.0f} TFLOP/s{fp8}; {copies}."
    if report.get("environment"):
        yield f"With {report['environment']}."
    if report["commands"]:
        yield from ("", "```", *dict.fromkeys(report["commands"]), "```")


def _words(rung: str) -> str:
    plan, *changes = rung.split("+")
    words = f"at most {plan.removeprefix('cap')} GiB" if plan.startswith("cap") else RUNGS[plan]
    return ", ".join([words, *changes])


def _plan(found: Report) -> str:
    """The plan, and what the first step decided."""
    return "; ".join(filter(None, [found.get("plan", ""), found.get("fit", "")]))


def _ms(found: Report) -> str:
    digits = 1 if found["step_ms"][0] < 100 else 0
    median, least, most = (f"{value:.{digits}f}" for value in found["step_ms"])
    clock = f", {wall:.{digits}f} by the clock" if (wall := slower_by_the_clock(found)) else ""
    return f"**{median}** ({least}–{most}{clock})"


def _recorded(report: Report) -> str:
    """When, and how it differed from the method."""
    return "; ".join(filter(None, [report["date"], report.get("environment", "")]))


def _gib(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


if __name__ == "__main__":
    PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), kept()), encoding="utf-8")
