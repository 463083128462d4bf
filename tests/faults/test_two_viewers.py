"""Row 44: what two viewers ask for at once is carried out as if one had asked, and each gets its answer."""

from __future__ import annotations

from small_runs import MakeRun, after_step, events, train

from loratui.engine.errors import ExitCode
from loratui.engine.runs import control
from loratui.engine.runs.state_file import read_state
from loratui.engine.training.trainer import Trainer


def test_row_44_commands_of_two_viewers_at_once_are_carried_out_as_one_and_each_is_answered(make_run: MakeRun) -> None:
    run = make_run("adapter.targets=attention", "samples.steps=1")
    sent: list[str] = []

    def both(command: str, **args: object) -> None:
        sent.extend(control.send(run, command, **args) for _ in range(2))

    def change(trainer: Trainer) -> None:
        def ask() -> None:
            both("set_samples", prompts=["a photo of {subject}"])
            both("stop_after_epoch")
            both("sample")
            both("checkpoint")

        after_step(trainer, 2, ask)
        after_step(trainer, 4, lambda: both("pause"))

    assert train(run, change) == ExitCode.PAUSED
    answers = events(run, "command_acknowledged")
    assert sorted(event.fields["id"] for event in answers) == sorted(sent)
    assert all(event.fields["ok"] for event in answers)
    assert control.pending(run) == []
    step_2 = [event for event in events(run, "sample_written") if event.fields["step"] == 2]
    assert len(step_2) == 1
    assert [event.fields["step"] for event in events(run, "checkpoint_written")] in ([2, 4], [2, 2, 4])
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["step-000002", "step-000004"]
    state = read_state(run)
    assert (state.leaving, state.changes.stop_after_epoch) == ("pause", 1)
