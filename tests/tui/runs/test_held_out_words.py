"""The loss on images that are not trained on, as the dashboard and the plain lines say it."""

from __future__ import annotations

import pytest

from loratui.engine.runs.events import Event
from loratui.engine.runs.history import RunHistory
from loratui.engine.runs.state import RunState
from loratui.tui.runs import figures, log_lines, run_words


def measured(*losses: float, what: str = "held_out") -> RunHistory:
    history = RunHistory()
    for epoch, loss in enumerate(losses):
        fields = {"epoch": epoch, "step": 10 * epoch, "loss": loss, "base_loss": 0.2, "what": what}
        history.apply(Event("held_out", epoch + 1, 0.0, fields))
    return history


def test_the_title_of_the_loss_has_as_much_as_fits() -> None:
    history = measured(0.2, 0.18, 0.16, 0.17)
    long = "loss · held out █▄▁▃ 15.0 % below base, lowest: epoch 2"
    assert run_words.loss_title(history, 80) == long
    short = "loss · held out −15.0 %, lowest: epoch 2"
    assert run_words.loss_title(history, len(long) - 1) == short
    assert run_words.loss_title(history, len(short) - 1) == "loss · held out 15.0 % below base"
    assert run_words.loss_title(history, 10) == "loss"


@pytest.mark.parametrize("history", [RunHistory(), measured(0.2), measured(0.2, 0.1, what="from the future")])
def test_without_a_measurement_it_is_the_loss(history: RunHistory) -> None:
    assert run_words.loss_title(history, 80) == "loss"


def test_a_long_curve_is_thinned_and_ends_with_the_last() -> None:
    title = run_words.loss_title(measured(0.2, *(0.2 - at / 1000 for at in range(57)), 0.2), 80)
    curve = title.split()[4]
    assert len(curve) == 10
    assert curve[-1] == "█"


def test_lines_of_the_log_and_of_status() -> None:
    history = measured(0.2, 0.18, 0.19)
    assert figures.held_out(history.state) == "loss on held-out images 0.1900, 5.0 % below the base's; lowest after epoch 1"
    assert figures.held_out(RunState()) == ""
    fields = {"epoch": 1, "loss": 0.21, "base_loss": 0.2, "what": "class_images"}
    line = log_lines.line(Event("held_out", 1, 0.0, fields), RunState())
    assert line is not None
    assert line.text == "loss on class images 0.2100, 5.0 % above the base's"
    assert log_lines.line(Event("held_out", 1, 0.0, {**fields, "what": "?"}), RunState()) is None
