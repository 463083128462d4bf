"""The machine's load and the training rate, as lines with small curves."""

from __future__ import annotations

from collections.abc import Iterator

from textual.content import Content

from loratui.engine.runs.history import RunHistory
from loratui.engine.runs.records import Machine
from loratui.engine.runs.series import Series
from loratui.tui import text
from loratui.tui.runs import figures
from loratui.tui.widgets import braille
from loratui.tui.widgets.line import joined, plain
from loratui.tui.widgets.rows import Rows

_HOT_C = 85


class GpuPanel(Rows):
    """The figures of the last sample and the curves of the run."""

    def __init__(self, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._history: RunHistory | None = None

    def show_history(self, history: RunHistory) -> None:
        self._history = history
        self.show(list(lines(history, self.content_size.width or 40)))

    def on_resize(self) -> None:
        if self._history is not None:
            self.show_history(self._history)


def lines(history: RunHistory, width: int) -> Iterator[Content]:
    """The lines of the panel, in so many columns."""
    state, machine = history.state, history.state.machine
    curve = max(0, min(40, width - 24))
    if machine is None:
        yield plain("no figures of the machine yet", "$muted")
    else:
        yield from _machine(machine, history, curve)
    if history.rates.bins:
        yield _row("rate", figures.rate(state, True), _course(history.rates, curve, state.optimizer_steps))
    if history.learning_rates.bins:
        yield _row("lr", figures.learning_rate(state), _course(history.learning_rates, curve, state.optimizer_steps))


def _machine(machine: Machine, history: RunHistory, curve: int) -> Iterator[Content]:
    busy = braille.spark(history.busy, curve, 0, 100)
    if machine.gpu:
        yield plain(machine.gpu.removeprefix("NVIDIA "), "bold")
        yield _row("busy", figures.share(machine.gpu_percent), busy)
        yield _row("VRAM", figures.of_gib(machine.gpu_memory_gib, machine.gpu_memory_total_gib), _bar(machine, curve))
        yield _heat(machine)
        if machine.throttle:
            yield joined(_label(""), plain(f"slowed: {', '.join(machine.throttle)}", "$warning"))
    elif machine.cpu_share is not None:
        yield _row("CPU", f"{machine.cpu_share:.0f} % of {text.count(machine.cpus, 'CPU')}", busy)
    yield _row("RAM", figures.of_gib(machine.ram_gib, machine.ram_total_gib), "")
    if machine.disk_free_gib is not None:
        low = machine.disk_is_low
        free = f"{machine.disk_free_gib:.{1 if machine.disk_free_gib < 10 else 0}f} GiB free"
        yield _row("disk", f"{free}{', low!' if low else ''}", "", "$error" if low else "")


def _heat(machine: Machine) -> Content:
    hot = machine.gpu_c is not None and machine.gpu_c >= _HOT_C
    heat = f"{machine.gpu_c:.0f} °C{' hot' if hot else ''}" if machine.gpu_c is not None else "–"
    power = f"{machine.gpu_w:.0f}" if machine.gpu_w is not None else "–"
    limit = f" of {machine.gpu_limit_w:.0f}" if machine.gpu_limit_w is not None else ""
    return joined(_label("heat"), plain(heat, "bold $warning" if hot else "bold"), plain(f"  {power}{limit} W", "bold"))


def _bar(machine: Machine, width: int) -> str:
    used, total = machine.gpu_memory_gib, machine.gpu_memory_total_gib
    if used is None or not total or total <= 0:
        return ""
    filled = min(width, max(0, round(width * used / total)))
    return "█" * filled + "░" * (width - filled)


def _course(series: Series, width: int, steps: int) -> str:
    values = [there.mean for there in braille.columns(series, width * 2, max(steps, series.last_step, 1))]
    known = [value for value in values if value is not None]
    return braille.spark(values, width, 0.0, max(known)) if known else ""


def _row(label: str, value: str, curve: str, style: str = "") -> Content:
    words = plain(value.ljust(16 if curve else 0), f"bold {style}".strip())
    return joined(_label(label), words, Content.styled(f" {curve}", "$primary") if curve else "")


def _label(words: str) -> Content:
    return plain(words.ljust(6), "$muted")
