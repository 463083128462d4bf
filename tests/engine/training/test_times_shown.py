"""How often each image was shown stands in the run's ledger: after a pause, after the end, and it adds up."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_runs import MakeRun, after_loading, after_step, events, train

from loratui.engine.dataset.ledger import Ledger, read_ledger
from loratui.engine.errors import DiskError, ExitCode
from loratui.engine.runs import control
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.training import trainer as trainer_module
from loratui.engine.training.trainer import Trainer


def seen(ledger: Ledger) -> int:
    return sum(entry.times_shown or 0 for entry in ledger.images)


def test_seen_is_the_truth_after_a_pause_and_what_was_planned_at_the_end(make_run: MakeRun) -> None:
    run = make_run()
    shown: list[int] = []

    def watch(trainer: Trainer) -> None:
        def spy() -> None:
            make = trainer.steps.make

            def made(window, following=None) -> None:  # type: ignore[no-untyped-def]
                make(window, following)
                shown.extend(index for batch in window.batches for index in batch)

            trainer.steps.make = made  # type: ignore[method-assign]  # what this test replaces

        after_loading(trainer, spy)
        after_step(trainer, 3, lambda: control.send(run, "pause"))

    assert train(run, watch) == ExitCode.PAUSED
    paused = read_ledger(run.dataset)
    assert [entry.times_shown for entry in paused.images] == [shown.count(at) for at in range(len(paused.images))]
    assert train(run) == ExitCode.DONE
    done = read_ledger(run.dataset)
    assert [entry.times_shown for entry in done.images] == [entry.planned_exposures for entry in done.images]
    assert seen(done) == events(run, "run_started")[0].fields["image_steps"]
    assert done.identity == paused.identity


def test_a_ledger_that_cannot_be_written_ends_no_run(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(run: RunDirectory, *rest: object) -> None:
        raise DiskError(f"{run.dataset}: no space.")

    monkeypatch.setattr(trainer_module, "record_times_shown", refuses)
    run = make_run()
    assert train(run) == ExitCode.DONE
    warned = [event.fields for event in events(run, "warning") if event.fields["code"] == "ledger_not_written"]
    assert str(Path(run.dataset)) in warned[0]["message"]
    assert all(entry.times_shown is None for entry in read_ledger(run.dataset).images)
