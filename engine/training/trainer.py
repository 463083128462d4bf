"""One training run: set up, then an optimizer step for each window, with what is due before and after it."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import time
from collections.abc import Iterable, Iterator, Sequence

import torch

from loratui.engine import disk_errors
from loratui.engine.errors import DiskError, ExitCode, LoratuiError, UsageError
from loratui.engine.findings import Finding
from loratui.engine.planning.disk import beside_checkpoint_bytes, checkpoint_bytes
from loratui.engine.planning.lora_size import size_of
from loratui.engine.runs.control import Command
from loratui.engine.runs.damage import damaged
from loratui.engine.runs.differences import BASE_KEY, Difference, dataset_difference, is_accepted
from loratui.engine.runs.identity import edits
from loratui.engine.runs.probe import BaseRead, keep_base_read
from loratui.engine.runs.state_file import read_state
from loratui.engine.runs.times_shown import record_times_shown
from loratui.engine.training import base_files, held_out
from loratui.engine.training.artifacts import Artifacts
from loratui.engine.training.base_check import look_at_the_base
from loratui.engine.training.checkpoint import Checkpoint, newest_good
from loratui.engine.training.control_queue import ControlQueue, Interrupted
from loratui.engine.training.data import AccumulationWindow, TrainProgress, schedule_of
from loratui.engine.training.fixed_loss import FixedLoss
from loratui.engine.training.identity import check_identity, identity_of, surroundings_differ
from loratui.engine.training.live.watch import SampleWatch
from loratui.engine.training.live_overrides import Answer, LiveOverrides
from loratui.engine.training.loaded import load, start_from_file
from loratui.engine.training.optimizer_steps import OptimizerSteps
from loratui.engine.training.progress import Progress
from loratui.engine.training.reporting import Reporter
from loratui.engine.training.setup import Job

_LOOK_S = 0.1


class Trainer:
    """The training of one run. `run()` does everything and returns how it ended."""

    def __init__(self, job: Job, report: Reporter, control: ControlQueue) -> None:
        self.job, self.report, self.control = job, report, control
        settings = self.settings = job.settings
        self.entries = job.ledger.images
        self.batch_schedule = schedule_of(settings, self.entries)
        self.progress = Progress(job, report, self.batch_schedule)
        lora = size_of(settings)
        report.next_bytes = checkpoint_bytes(settings, lora) + beside_checkpoint_bytes(settings, lora)
        if job.ahead is not None:
            job.ahead.decide(job.run, job.facts, job.memory_plan, self.progress.total.step)
        self.overrides = LiveOverrides(job, report)
        self._plateau_epoch = 0
        """After which the run ends, as its recipe says, unless a person takes it back; 0 while it goes on."""
        self._done_early = False

    @property
    def at(self) -> TrainProgress:
        """The position that the LoRA has reached."""
        return self.progress.at

    # ---- from start to end

    def run(self) -> ExitCode:
        """Trains to the end, or until a person ends the run. Errors are raised."""
        with self.control.at_once():
            self._set_up()
        self._watch_samples()
        self.artifacts.checkpoints.begin()
        try:
            try:
                self._train()
            except Interrupted:
                pass  # it cuts off only what is discarded: a sample, or a window without its step
            except DiskError:
                if self.control.ending is None:
                    raise  # else a person ends a run that waits for its disk
            if self.control.ending is not None and self.at != self.progress.total and not self._done_early:
                return self._end_early(self.control.ending)
            self._finish()
            return ExitCode.DONE
        except BaseException:
            self.artifacts.checkpoints.background.end()  # also where the GPU is lost: the newest snapshot is in main memory
            raise
        finally:
            if self.artifacts.watch is not None:
                self.artifacts.watch.end()

    def _set_up(self) -> None:
        stored = newest_good(self.job.run, lambda what: self.report.warn("bad_checkpoint", problem=what))
        used = stored.identity.get("optimizer_used", "") if stored else ""
        identity = self.identity = identity_of(self.job, used)
        if stored is not None:
            check_identity(stored.identity, identity)
            self._compare_inputs(stored)
            self.progress.resume(stored)
        self.progress.announce()
        self.overrides.announce()
        self._tell_of_odd_files()
        self._load(stored)
        if stored is not None:
            self.steps.load_state(stored)
            if differing := surroundings_differ(stored.identity, identity):
                variant = ".base_format" if "base format" in differing else ""
                self.report.warn(f"other_surroundings{variant}", differing=differing)
        else:
            if gone := read_state(self.job.run).checkpoint_step:
                self.report.warn("checkpoints_gone", step=gone)
            if self.job.world.size != self.settings.training.processes:
                self.report.warn("other_processes", planned=self.settings.training.processes, here=self.job.world.size)
            self._check_the_base()
        self.artifacts = Artifacts(
            job=self.job,
            report=self.report,
            control=self.control,
            overrides=self.overrides,
            model=self.loaded.model,
            adapter=self.loaded.adapter,
            optimizer=self.steps.optimizer,
            stepped_over=list(self.steps.stepped_over),
            ema=self.steps.ema,
            scaling=self.steps.scaling,
            texts=self.loaded.texts,
            identity=identity,
            base_sums=self.base_sums,
        )
        fixed = FixedLoss(self.loaded, self.steps.diffusion_loss.autocast, self._measured)
        self.losses = held_out.HeldOutLoss(self.job, self.report, fixed, self.steps.ema, self.progress.total)

    def _measured(self, done: int, total: int) -> None:
        """So many losses are measured. Ends it if an end was requested; several processes end between two steps, where they agree on it."""
        self.report.progress(done, total, "losses")
        if self.job.world.size == 1:
            self.control.stop_if_asked()

    def _watch_samples(self) -> None:
        if not self.job.world.is_writer or not self.settings.samples.measure:
            return
        before, stops = read_state(self.job.run), self.settings.training.stop_at_plateau
        self.artifacts.watch = SampleWatch(self.job.run, self.report, before, stops=stops)
        if stops and before.likely_best is not None:
            self._plateau_epoch = self.overrides.stop_after_epoch or 0

    def _tell_of_odd_files(self) -> None:
        run = self.job.run
        for key, files in (("files_edited", run.edited()), ("files_damaged", damaged(run))):
            if files and self.job.world.is_writer:
                self.report.warn(key, files=files)

    def _compare_inputs(self, stored: Checkpoint) -> None:
        """Refuses a base and a dataset that are not those that the run was trained on, unless the person accepts them."""
        if not self.job.world.is_writer:
            return
        run, found = self.job.run, list[Difference]()
        if then := stored.identity.get(BASE_KEY):
            self.report.phase("loading", "Comparing the base with the checkpoint's")
            found += self.base_sums.changed_since(then)
        self.report.phase("loading", "Comparing the images with the run's")
        found += dataset_difference(run, self.settings)
        for one in found:
            shown = one.shown()
            # A trainer that is only started again goes on: nobody is there to be asked.
            restarted = one.part == "dataset" and read_state(run).attempt > 1
            accepted = not one.asks or is_accepted(run, one) or (one.part == "base" and self.settings.base.changed == "accept")
            if not (restarted or accepted):
                refused = Finding.of(f"{one.part}_changed", files=shown, run=run.name)
                raise UsageError(refused.message, refused.remedy)
            self.report.warn(f"{one.part}_changed.accepted", files=shown)
        if edited := edits(stored.identity, self.identity):
            self.report.warn("settings_edited", edited=edited)

    @functools.cached_property
    def base_sums(self) -> base_files.BaseSums:
        """The sums of the base's files. A resume asks before it loads them; a new run after it, since both would read them at once."""
        return base_files.BaseSums(self.job)

    def _load(self, stored: Checkpoint | None) -> None:
        self.loaded = load(self.job, self.report, self.control, self.overrides.prompts)
        if stored is None:
            start_from_file(self.job, self.report, self.loaded.adapter)
        self.steps = OptimizerSteps(
            self.loaded,
            self.progress,
            self.batch_schedule,
            self.report,
            self.control,
            optimizer=dataclasses.replace(self.settings.optimizer, name=self.identity["optimizer_used"]),
            stored=stored,
        )

    def _train(self) -> None:
        self._catch_up()
        self.report.phase("training", "")
        for window, following in _with_next(self.batch_schedule.windows(self.at)):
            if self._must_end(window):
                return
            self.steps.compile_if_due(window)
            self.steps.make(window, following)
            self.steps.fit_blocks(window)
            if self.job.world.is_writer:
                self.artifacts.checkpoints.prepare()
            if window.ends_epoch:
                self._end_epoch(window)
            elif self.job.world.is_writer and self.artifacts.checkpoints.is_due:
                self._checkpoint("time")
            if self._sample_is_due(window):
                self._sample()

    def _catch_up(self) -> None:
        """Makes what was due at this step and is missing: samples before the first step, or what a kill prevented
        after the checkpoint."""
        last = next((window for window in self.batch_schedule.windows() if window.after == self.at), None)
        if last is not None and self._lora_is_due(last) and not self.artifacts.has_lora(self.at):
            self._write_lora()
        if last is None or last.ends_epoch:
            self._measure_losses(0 if last is None else last.before.epoch)
        due = self.settings.samples.before_training if last is None else self._sample_is_due(last)
        if due and not self.artifacts.has_samples(self.at):
            self._sample()
        elif due:
            self.artifacts.measure_samples(self.at)

    def _check_the_base(self) -> None:
        """Reads a base that the preflight's real step has not read, and ends a run whose base is not what it was taken for."""
        run = self.job.run
        if not self.job.world.is_writer or self.settings.base.check == "off" or run.base_readings.exists():
            return
        read = self.read_the_base()
        if read.mistaken:
            raise UsageError(read.message, read.remedy)
        keep_base_read(run, read)

    def read_the_base(self) -> BaseRead:
        """Reports how the base predicts the images without the LoRA, and what it was probably mistaken for."""
        self.report.phase("loading", "Checking the base on your images")
        loaded = self.loaded
        with loaded.adapter.strength(0.0):
            found = look_at_the_base(
                loaded.model,
                self.entries,
                self.settings,
                loaded.latents,
                loaded.texts,
                self.steps.diffusion_loss.autocast(),
            )
        if self.job.device.type == "cuda":  # the training does not need that memory
            torch.cuda.empty_cache()
            self.progress.peak.measure()
        self.report.event("base_read", **dataclasses.asdict(found))
        return found

    # ---- on the way

    def _must_end(self, window: AccumulationWindow) -> bool:
        """Carries out the commands; True if the run must end before this window. The writer decides for all processes, so they
        end at the same step. Raises what went wrong with a checkpoint."""
        while disk_errors.is_waiting():  # the writer of checkpoints: no more work is put at risk
            time.sleep(_LOOK_S)
        self.artifacts.checkpoints.background.look()
        disk_errors.raise_given_up()  # a sample or an event may have waited in vain
        if self.job.world.is_writer and not self._serve_commands():
            self._stop_at_plateau()
            last = self.overrides.stop_after_epoch  # which a command may just have taken back
            if last is not None and window.before.epoch > last:
                self._done_early = last == self._plateau_epoch
                self.control.end_here()
        ends = self.job.team.told(self.control.ending is not None)
        if ends and self.control.ending is None:
            self.control.end_here()
        return ends

    def _stop_at_plateau(self) -> None:
        """Has the run end after this epoch, once it is known that its samples get no better, if the recipe says so."""
        watch = self.artifacts.watch
        if watch is None or watch.found is None or not watch.found.stops or self._plateau_epoch:
            return
        if self.overrides.stop_after_epoch is None:
            self._plateau_epoch = self.progress.epoch_shown
            self.overrides.stop_after(self._plateau_epoch, self.progress.total.epoch - 1, {})

    def _serve_commands(self) -> bool:
        """Carries out the commands; True if the run must end."""
        while True:
            command = self.control.next()
            if command is None or self.control.ending is not None:
                return self.control.ending is not None
            self.steps.settle()
            self.control.done(command, *self._serve(command))

    def _serve(self, command: Command) -> Answer:
        match command.command:
            case "checkpoint":
                self._checkpoint("asked", wait=True)
                return True, f"Checkpoint of step {self.at.step} saved."
            case "stop_after_epoch":
                return self.overrides.stop_after(self.progress.epoch_shown, self.progress.total.epoch - 1, command.args)
            case "set_samples":
                return self.overrides.set_samples(command.args, self._encode_prompts)
            case _:
                made = self._sample()
                return made, "Samples made." if made else "The samples failed; see the warnings."

    def _encode_prompts(self, prompts: Sequence[str]) -> None:
        self.steps.graph_step.forget()  # the text encoders need its memory
        with self.control.cut_off(lambda: self.job.world.size == 1):
            self.loaded.encode_prompts(prompts)

    def _end_epoch(self, window: AccumulationWindow) -> None:
        self.steps.settle()
        self.progress.end_epoch(window.before.epoch)
        self._checkpoint("epoch", with_lora=self._lora_is_due(window))
        self._measure_losses(window.before.epoch)

    def _measure_losses(self, epoch: int) -> None:
        """Measures the loss on what is not trained on after an epoch, or with 0 before the first."""
        for type in held_out.TYPES:
            if not self.job.team.told(self.losses.is_due(type, epoch, self.at.step)):
                continue
            self.steps.settle()
            self.steps.graph_step.forget()  # a pass outside of it needs memory
            self.losses.measure(type, epoch, self.at.step)
            self.steps.after_samples()
            self.report.phase("training", "")

    def _lora_is_due(self, window: AccumulationWindow) -> bool:
        every = self.settings.output.save_every_epochs
        return window.ends_epoch and (window.before.epoch % every == 0 or window.after == self.progress.total)

    def _sample_is_due(self, window: AccumulationWindow) -> bool:
        every = self.overrides.every_image_steps
        if window.after == self.progress.total:
            return True
        return window.ends_epoch if every == 0 else window.after.image_step // every > window.before.image_step // every

    def _sample(self) -> bool:
        self.steps.settle()
        if not self.job.world.is_writer:
            return True
        self.steps.graph_step.forget()  # the images need its memory
        try:
            made = self.artifacts.samples(self.at)
        except Interrupted:
            if self.job.world.size == 1:
                raise
            made = False  # the next step is not made, in any process
        self.steps.after_samples()
        self.report.phase("training", "")
        return made

    def _checkpoint(self, reason: str, *, with_lora: bool = False, wait: bool = False) -> None:
        self.steps.settle()
        if self.job.world.is_writer:
            self.artifacts.checkpoints.save(
                self.at,
                reason,
                epoch_loss=self.progress.epoch_loss,
                with_lora=with_lora,
                wait=wait,
                afterwards=functools.partial(self._record_times_shown, self.at.image_step),
            )

    def _write_lora(self, *, final: bool = False) -> None:
        if self.job.world.is_writer:
            self.artifacts.lora(self.at, final=final)

    def _record_times_shown(self, image_step: int) -> None:
        """Records how often each image was shown; a failure to write does not end the run."""
        try:
            with disk_errors.may_be_left_out():
                record_times_shown(self.job.run, self.settings, image_step)
        except LoratuiError as error:
            self.report.warn("ledger_not_written", problem=error.message, remedy=error.remedy)

    # ---- the end

    def _finish(self) -> None:
        self.steps.settle()
        self.artifacts.checkpoints.background.wait()
        if self.job.world.is_writer:
            self._record_times_shown(self.at.image_step)  # a kill may have come between the last checkpoint and this
            self.progress.remember_speed(compiled=self.steps.compiling.compiled)
        self.report.phase("finishing", "Writing the LoRA file")
        if not self.artifacts.has_lora(
            self.at, final=True
        ):  # written again, it would differ for a moment from the hash in the log
            self._write_lora(final=True)
        if self.artifacts.watch is not None:
            self.artifacts.watch.finish(lambda: not self.control.ends())
        self.overrides.forget_the_end()
        self.control.acknowledge_ending("The run is done.")

    def save_whole_steps(self) -> None:
        """Saves the steps that were made, after an error that prevented the next one."""
        if self.progress.is_whole and self.at.step > self.job.run.last_checkpoint_step():
            self._checkpoint("out_of_memory", wait=True)

    def _end_early(self, ending: ExitCode) -> ExitCode:
        self.report.phase("saving", "Saving a checkpoint")
        try:
            self._checkpoint("stopping", wait=True)
            if self.at.step and not self.artifacts.has_lora(self.at):
                self._write_lora()
        except DiskError as error:
            return self._end_unsaved(ending, error)
        if self.control.stopped_as_wished:
            self.overrides.forget_the_end()
        self.control.acknowledge_ending(f"Saved at step {self.at.step}.")
        return ending

    def _end_unsaved(self, ending: ExitCode, error: DiskError) -> ExitCode:
        """Ends a run as asked, whose disk takes nothing."""
        saved = self.job.run.last_checkpoint_step()
        self.report.warn("ended_unsaved", problem=error.message, step=self.at.step, saved=saved)
        self.control.acknowledge_ending(
            f"{error.message} Step {self.at.step} was not saved; the last checkpoint is of step {saved}."
        )
        return ending


def _with_next(windows: Iterable[AccumulationWindow]) -> Iterator[tuple[AccumulationWindow, AccumulationWindow | None]]:
    """Each window with the one after it."""
    here, ahead = itertools.tee(windows)
    return itertools.zip_longest(here, itertools.islice(ahead, 1, None))
