"""A believable run at any speed, for people who work on the app: it trains nothing, obeys commands, and ends as it is told to.

    python tests/support/fake_trainer.py [--speed 20] [--ending done|crash|stall|nan|memory] [--gpu] [--home FOLDER]

It prints the command that watches it.
"""

from __future__ import annotations

import argparse
import math
import random
import tempfile
import time
from pathlib import Path

from fake_run import EPOCHS, PROMPTS, STEPS, FakeTrainer, make_run

from loratui.engine.runs import control

ENDINGS = ("done", "crash", "stall", "nan", "memory")
STEP_S, SAMPLE_S = 0.5, 4.0


class Actor:
    """Plays a whole run on a `FakeTrainer`, its times divided by `speed`."""

    def __init__(self, trainer: FakeTrainer, *, speed: float = 1.0, gpu: bool = False, last_step: int = STEPS) -> None:
        self.trainer, self.speed, self.gpu, self.last_step = trainer, speed, gpu, last_step
        self._inbox = control.Inbox(trainer.run, trainer.log)
        self._random = random.Random(11)
        self._told_machine = -math.inf
        self._stop_after = 0
        self.ending = ""
        """`stop` or `pause` once that was asked for."""

    def play(self, ending: str = "done") -> None:
        """From loading to the end; `crash` and `stall` end without a word, the latter with the lock held."""
        trainer = self.trainer
        trainer.start()
        trainer.phase("loading", "Loading embedded:sd15")
        self._wait(1.0)
        trainer.phase("caching", "Encoding images")
        for done in range(1, 19):
            trainer.log.append("progress", phase="caching", done=done, total=18, text="images")
            self._wait(0.1)
        self._samples()
        trainer.phase("training")
        at = self.last_step if ending == "done" else self.last_step * 2 // 3
        while trainer.step < at and not self.ending:
            self._step()
        if self.ending:
            saved = "A checkpoint was saved."
            self._checkpoint("stopping")
            words = {"pause": ("paused", 10, "Paused as asked."), "stop": ("stopped", 143, "Stopped as asked.")}[self.ending]
            trainer.finish(*words, f"{saved} loratui resume {trainer.run.name} goes on.")
        else:
            self._end(ending)

    def _end(self, ending: str) -> None:
        trainer = self.trainer
        match ending:
            case "done":
                trainer.output(final=True)
                trainer.finish(advice=f"loratui validate {trainer.run.name} makes the strength grid.")
            case "nan":
                trainer.steps(1, finite=False)
                words = f"The loss of step {trainer.step} is not a finite number; the step was not made."
                trainer.log.append("run_failed_with", exit_code=30, message=words, remedy="Lower the learning rate.")
                trainer.finish("failed", 30, words, "Lower the learning rate, then start again.")
            case "memory":
                trainer.finish("failed", 34, "There is too little memory for these settings.", "Try a batch size of 1.")
            case "stall":
                time.sleep(3600)

    def _step(self) -> None:
        trainer = self.trainer
        self._machine()
        self._wait(STEP_S * math.exp(self._random.gauss(0, 0.15)))
        trainer.steps(1)
        if trainer.step % (STEPS // EPOCHS) == 0:
            self._checkpoint("epoch")
            self._samples()
            if self._stop_after and trainer.step // (STEPS // EPOCHS) >= self._stop_after:
                self.ending = "stop"
        self._obey()

    def _samples(self) -> None:
        self.trainer.phase("sampling", f"Making {len(PROMPTS)} samples")
        for index, prompt in enumerate(PROMPTS):
            self._wait(SAMPLE_S / len(PROMPTS))
            self.trainer.sample(prompt, index)
        self.trainer.phase("training")

    def _checkpoint(self, reason: str) -> None:
        step = self.trainer.step
        path = f"checkpoints/step-{step:06d}"
        self.trainer.log.append(
            "checkpoint_written", step=step, image_step=2 * step, path=path, bytes=9_000_000, seconds=0.2, reason=reason
        )

    def _obey(self) -> None:
        trainer = self.trainer
        for command in self._inbox.poll():
            match command.command:
                case "pause" | "stop":
                    self.ending = command.command
                    self._inbox.acknowledge(command, True, f"Saved at step {trainer.step}.")
                case "sample":
                    self._samples()
                    self._inbox.acknowledge(command, True, "Samples made.")
                case "checkpoint":
                    self._checkpoint("asked")
                    self._inbox.acknowledge(command, True, f"Checkpoint of step {trainer.step} saved.")
                case "stop_after_epoch":
                    epoch = trainer.step * EPOCHS // STEPS + 1
                    self._stop_after = 0 if command.args.get("cancel") else epoch
                    trainer.log.append("changes_in_force", stop_after_epoch=self._stop_after or None)
                    self._inbox.acknowledge(command, True, f"The run stops after epoch {epoch}.")
                case _:
                    trainer.log.append("changes_in_force", stop_after_epoch=self._stop_after or None, **command.args)
                    self._inbox.acknowledge(command, True, "From the next samples on.")

    def _machine(self) -> None:
        now = time.monotonic()
        if now - self._told_machine < 5.0:
            return
        self._told_machine = now
        figures = {"cpu_percent": 190.0, "cpus": 2, "ram_gib": 3.1, "ram_total_gib": 8.0, "disk_free_gib": 41.0}
        if self.gpu:
            figures |= {"gpu_percent": self._random.randint(88, 99), "gpu_memory_gib": 18.2, "gpu_memory_total_gib": 23.9}
            figures |= {"gpu_c": self._random.randint(66, 74), "gpu_w": 285.0 + self._random.random() * 9, "gpu_limit_w": 350.0}
        self.trainer.log.append("telemetry", **figures, **({"gpu": "NVIDIA GeForce RTX 3090"} if self.gpu else {}))

    def _wait(self, seconds: float) -> None:
        time.sleep(seconds / self.speed)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speed", type=float, default=1.0, help="1 makes two steps a second")
    parser.add_argument("--ending", choices=ENDINGS, default="done")
    parser.add_argument("--gpu", action="store_true", help="tell of a GPU that is not there")
    parser.add_argument("--home", type=Path, help="where the run is made (default: a new temporary folder)")
    args = parser.parse_args()
    home = args.home or Path(tempfile.mkdtemp(prefix="loratui-fake-"))
    home.mkdir(parents=True, exist_ok=True)
    run = make_run(home)
    print(f"loratui --home {home} attach {run.name}", flush=True)
    with FakeTrainer(run, step_s=STEP_S / args.speed) as trainer:
        Actor(trainer, speed=args.speed, gpu=args.gpu).play(args.ending)


if __name__ == "__main__":
    main()
