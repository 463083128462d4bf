"""Changes while a run trains: other samples and an end after the epoch, in real small runs and across restarts."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from small_runs import MakeRun, after_loading, after_step, events, train

from loratui.engine.errors import ExitCode
from loratui.engine.runs import changes, control
from loratui.engine.runs.changes import Changes
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.training.trainer import Trainer


def _answers(run: Any) -> list[tuple[str, bool, str]]:
    return [(e.get("command"), e.get("ok"), e.get("message")) for e in events(run, "command_acknowledged")]


def test_other_samples_hold_from_the_next_ones_on_and_after_a_restart(make_run: MakeRun) -> None:
    run = make_run("samples.every_image_steps=0", "schedule.epochs=3")

    def ask(trainer: Trainer) -> None:
        new = {"prompts": ["{trigger} as a knight", "a plain {class}"], "every_image_steps": 0}
        after_step(trainer, 1, lambda: control.send(run, "set_samples", **new))
        after_step(trainer, trainer.progress.steps_per_epoch + 1, lambda: control.send(run, "stop"))

    train(run, ask)
    (answer,) = [a for a in _answers(run) if a[0] == "set_samples"]
    assert answer[1]
    assert answer[2] == "2 samples each epoch. From the next samples on."
    written = {(e.get("step"), e.get("index")): e.get("prompt") for e in events(run, "sample_written")}
    first_step = max(step for step, _ in written)
    assert written[first_step, 0].endswith("as a knight")
    assert written[first_step, 1].startswith("a plain")
    train(run)
    prompts = {e.get("prompt") for e in events(run, "sample_written") if e.get("step") > first_step}
    assert prompts == {written[first_step, 0], written[first_step, 1]}
    assert [e.get("prompts") for e in events(run, "changes_in_force")] == [["{trigger} as a knight", "a plain {class}"]] * 2


def test_the_answer_names_what_is_in_force_now(make_run: MakeRun) -> None:
    run = make_run("schedule.epochs=1")
    train(run, lambda t: after_step(t, 1, lambda: control.send(run, "set_samples", every_image_steps=4)))
    ((_, _, message),) = _answers(run)
    assert message == "2 samples each 4 image-steps. From the next samples on."
    assert len({e.get("image_step") for e in events(run, "sample_written")}) >= 3


@pytest.mark.parametrize(("args", "word"), [({"prompts": []}, "at least one"), ({"every_image_steps": -5}, "interval")])
def test_samples_that_cannot_be_made_are_refused_and_training_goes_on(
    make_run: MakeRun, args: dict[str, Any], word: str
) -> None:
    run = make_run()
    assert train(run, lambda t: after_step(t, 1, lambda: control.send(run, "set_samples", **args))) == ExitCode.DONE
    ((_, ok, message),) = _answers(run)
    assert not ok
    assert word in message
    assert not run.changes.exists()


def test_too_little_memory_for_new_prompts_refuses_them_alone(make_run: MakeRun) -> None:
    run = make_run()

    def ask(trainer: Trainer) -> None:
        def no_memory(prompts: object) -> None:
            raise MemoryError

        trainer._encode_prompts = no_memory  # type: ignore[method-assign,assignment]
        after_step(trainer, 1, lambda: control.send(run, "set_samples", prompts=["something new"]))

    assert train(run, ask) == ExitCode.DONE
    ((_, ok, message),) = _answers(run)
    assert not ok
    assert "too little memory" in message


def test_it_stops_with_the_end_of_the_epoch_and_the_next_start_goes_on_to_the_end(make_run: MakeRun) -> None:
    run = make_run("schedule.epochs=3")
    ended = train(run, lambda t: after_step(t, 1, lambda: control.send(run, "stop_after_epoch")))
    assert ended == ExitCode.TERMINATED
    assert [e.get("epoch") for e in events(run, "epoch_finished")] == [1]
    assert _answers(run)[0] == ("stop_after_epoch", True, "The run stops after epoch 1.")
    assert run.last_checkpoint_step() == events(run, "epoch_finished")[0].get("step")
    assert changes.read(run) == Changes()
    assert train(run) == ExitCode.DONE
    assert [e.get("epoch") for e in events(run, "epoch_finished")] == [1, 2, 3]


def test_a_wish_to_stop_survives_a_kill_of_the_trainer(make_run: MakeRun) -> None:
    run = make_run("schedule.epochs=3")
    changes.write(run, Changes(stop_after_epoch=2))
    assert train(run) == ExitCode.TERMINATED
    assert [e.get("epoch") for e in events(run, "epoch_finished")] == [1, 2]
    assert events(run, "changes_in_force")[0].get("stop_after_epoch") == 2


@pytest.mark.parametrize("interruption", ["pause", "signal"])
def test_a_wish_to_stop_survives_a_pause_and_a_signal(make_run: MakeRun, interruption: str) -> None:
    run = make_run("schedule.epochs=3")

    def interrupt(trainer: Trainer) -> None:
        after_step(trainer, 1, lambda: control.send(run, "stop_after_epoch"))
        if interruption == "pause":
            after_step(trainer, 2, lambda: control.send(run, "pause"))
        else:
            after_step(trainer, 2, lambda: trainer.control._on_term(signal.SIGTERM, None))

    assert train(run, interrupt) == (ExitCode.PAUSED if interruption == "pause" else ExitCode.TERMINATED)
    assert changes.read(run) == Changes(stop_after_epoch=1)
    assert train(run) == ExitCode.TERMINATED
    assert [e.get("epoch") for e in events(run, "epoch_finished")] == [1]
    assert [e.get("stop_after_epoch") for e in events(run, "changes_in_force")] == [1, 1, None]


def test_stop_carries_out_the_wish_to_stop_after_the_epoch_too(make_run: MakeRun) -> None:
    run = make_run("schedule.epochs=2")

    def ask(trainer: Trainer) -> None:
        after_step(trainer, 1, lambda: control.send(run, "stop_after_epoch"))
        after_step(trainer, 2, lambda: control.send(run, "stop"))

    assert train(run, ask) == ExitCode.TERMINATED
    assert changes.read(run) == Changes()
    assert train(run) == ExitCode.DONE


def test_a_kill_after_the_last_checkpoint_of_the_epoch_still_ends_there(make_run: MakeRun) -> None:
    run = make_run("schedule.epochs=3")
    train(run, lambda t: after_step(t, t.progress.steps_per_epoch, lambda: control.send(run, "pause")))
    changes.write(run, Changes(stop_after_epoch=1))
    assert train(run) == ExitCode.TERMINATED
    assert [e.get("epoch") for e in events(run, "epoch_finished")] == [1]
    assert changes.read(run) == Changes()


def test_this_epoch_is_the_one_whose_samples_are_being_made(make_run: MakeRun) -> None:
    """Formerly the wish that came during them cost another epoch."""
    run = make_run("schedule.epochs=3", "samples.every_image_steps=0")
    ended = train(run, lambda t: after_step(t, t.progress.steps_per_epoch, lambda: control.send(run, "stop_after_epoch")))
    assert ended == ExitCode.TERMINATED
    assert _answers(run)[0] == ("stop_after_epoch", True, "The run stops after epoch 1.")
    assert [e.get("epoch") for e in events(run, "epoch_finished")] == [1]
    assert events(run, "sample_written")
    assert changes.read(run) == Changes()
    again = train(run, lambda t: after_loading(t, lambda: control.send(run, "stop_after_epoch")))
    assert again == ExitCode.TERMINATED
    assert [e.get("epoch") for e in events(run, "epoch_finished")] == [1, 2]


def _paused_in_the_samples_of_the_epoch(make_run: MakeRun) -> RunDirectory:
    """A run that was to stop after epoch 1 and was paused while it made that epoch's samples: all its steps are made."""
    run = make_run("schedule.epochs=2", "samples.every_image_steps=0")

    def ask(trainer: Trainer) -> None:
        after_step(trainer, 1, lambda: control.send(run, "stop_after_epoch"))
        after_step(trainer, trainer.progress.steps_per_epoch, lambda: control.send(run, "pause"))

    assert train(run, ask) == ExitCode.PAUSED
    assert changes.read(run) == Changes(stop_after_epoch=1)
    return run


def test_a_pause_in_the_samples_of_the_last_epoch_leaves_the_wish_to_stop(make_run: MakeRun) -> None:
    run = _paused_in_the_samples_of_the_epoch(make_run)
    assert train(run) == ExitCode.TERMINATED
    assert [e.get("epoch") for e in events(run, "epoch_finished")] == [1]
    assert events(run, "sample_written")
    assert changes.read(run) == Changes()


def test_a_wish_that_would_end_the_run_at_once_can_be_taken_back_after_a_resume(make_run: MakeRun) -> None:
    run = _paused_in_the_samples_of_the_epoch(make_run)
    back = train(run, lambda t: after_loading(t, lambda: control.send(run, "stop_after_epoch", cancel=True)))
    assert back == ExitCode.DONE
    assert _answers(run)[-1] == ("stop_after_epoch", True, "The run goes on to its end.")
    assert [e.get("epoch") for e in events(run, "epoch_finished")] == [1, 2]


def test_a_wish_to_stop_can_be_taken_back(make_run: MakeRun) -> None:
    run = make_run("schedule.epochs=2")

    def ask(trainer: Trainer) -> None:
        after_loading(trainer, lambda: control.send(run, "stop_after_epoch"))
        after_step(trainer, 1, lambda: control.send(run, "stop_after_epoch", cancel=True))

    assert train(run, ask) == ExitCode.DONE
    assert [a[2] for a in _answers(run)] == ["The run stops after epoch 1.", "The run goes on to its end."]
