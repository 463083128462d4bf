"""Row 52: a lost GPU is named, no further call of CUDA is made, the host's snapshot is written, and the run goes on when it is back."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from random_bases import base_folder, images, make_run
from small_runs import MakeRun, after_loading, after_step, events, same, supervise_on_a_card, train, weights

from loratui.engine.errors import ExitCode
from loratui.engine.training import checkpoints
from loratui.engine.training.__main__ import explain
from loratui.engine.training.trainer import Trainer

__all__ = ["base_folder", "images", "make_run"]

SMALL = ("schedule.image_steps=12", "training.batch_size=1", "memory.cuda_graphs=off", "memory.compile=off")
WORDS = {
    "CUDA error: an illegal memory access was encountered": "failed in the middle",
    "CUDA error: device-side assert triggered": "number out of its range",
    "CUDA error: unspecified launch failure": "failed in the middle",
    "CUDA error: uncorrectable ECC error encountered": "cannot correct",
    "NVML_ERROR_GPU_IS_LOST: GPU is lost (Xid 79, fallen off the bus)": "no longer answers",
    "CUDA error: the launch timed out and was terminated": "longer than the driver",
}


@pytest.mark.parametrize("words", WORDS)
def test_what_the_driver_says_of_a_lost_gpu_is_named(words: str) -> None:
    code, message, remedy = explain(RuntimeError(words))
    assert code == ExitCode.GPU_LOST
    assert WORDS[words] in message
    assert "loratui resume" in remedy


def test_the_snapshot_in_main_memory_is_written_before_the_trainer_goes(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is slow: the snapshot of step 2 is not on it yet when the GPU is lost at step 4. No call of CUDA follows."""
    run = make_run(*SMALL, "output.checkpoint_every_s=1")
    lost = threading.Event()
    save = checkpoints.save_checkpoint

    def slow(*given: Any) -> Any:
        assert lost.wait(30)
        return save(*given)

    def lose(*_: Any) -> None:
        for name in ("synchronize", "empty_cache", "mem_get_info", "current_stream", "memory_reserved"):
            monkeypatch.setattr(torch.cuda, name, lambda *_, name=name: pytest.fail(f"torch.cuda.{name} was called"))
        lost.set()
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def prepare(trainer: Trainer) -> None:
        after_step(trainer, 2, lambda: setattr(trainer.artifacts.checkpoints, "_saved_at", 0.0))
        after_loading(trainer, lambda: after_step_four(trainer))

    def after_step_four(trainer: Trainer) -> None:
        make = trainer.steps.make

        def made(window: Any, following: Any = None) -> None:
            if window.after.step == 4:
                monkeypatch.setattr(trainer.steps.diffusion_loss, "compute", lose)
            make(window, following)

        trainer.steps.make = made  # type: ignore[method-assign]  # what this test replaces

    monkeypatch.setattr(checkpoints, "save_checkpoint", slow)
    with pytest.raises(RuntimeError, match="illegal memory"):
        train(run, prepare)
    assert run.last_checkpoint_step() == 2
    assert [e.fields["step"] for e in events(run, "checkpoint_written")] == [2]


@pytest.mark.long
@pytest.mark.parametrize("words", list(WORDS)[:5:4])
def test_a_run_whose_gpu_comes_back_goes_on_by_itself_bit_for_bit(make_run: MakeRun, words: str) -> None:
    run, usual = make_run(*SMALL), make_run(*SMALL)
    assert supervise_on_a_card(usual, {}) == 0
    (run.path / "lost.json").write_text(json.dumps([words, 5]))
    assert supervise_on_a_card(run, {}) == 0
    assert [e.get("exit_code") for e in events(run, "trainer_ended")] == [33, 0]
    (failed,) = events(run, "run_failed_with")
    assert WORDS[words] in failed.get("message")
    assert "trainer_restarted" in [e.get("code") for e in events(run, "warning")]
    assert not Path(run.path / "called").exists(), "a call of CUDA after its loss"
    assert same(weights(run), weights(usual))
