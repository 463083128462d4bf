"""Every key of the app in one table; bindings, key bar, help and palette are made from it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

_WRITTEN = {
    "escape": "esc",
    "pagedown": "pgdn",
    "pageup": "pgup",
    "slash": "/",
    "left": "←",
    "right": "→",
    "up": "↑",
    "down": "↓",
}
"""Textual's names that people write differently."""


def written(name: str) -> str:
    """Textual's name of a key as people write it: `escape` is `esc`, `question_mark` is `?`."""
    from textual.keys import key_to_character

    if name in _WRITTEN:
        return _WRITTEN[name]
    character = key_to_character(name)
    return character if character and character.isprintable() and character != " " else name


@dataclass(frozen=True, slots=True)
class Key:
    """One key and its action. Only plain letters and keys that no web terminal, tmux or shell intercepts."""

    id: str
    keys: str
    """Textual's names, separated by commas; the first is shown."""
    label: str
    """A word or two for the key bar; empty to leave it out."""
    help: str
    action: str = ""
    """Textual's action; by default the key's id."""
    sign: str = ""
    """How people write the key, where it differs from the first name."""
    when: str = ""
    """The property of the screen or its model that is true when the key works; empty for always."""
    changes: bool = False
    """Whether it starts, commands or deletes something; a view-only app ignores such keys."""
    anywhere: bool = False
    """Whether it also works in fields, questions and the help, where it cannot be a letter."""
    first: bool = False
    """Whether the screen gets it before the focused widget."""
    contexts: tuple[str, ...] = ()
    """The screens on which it works."""

    @property
    def shown(self) -> str:
        """How people write the key."""
        return self.sign or written(self.keys.split(",")[0])


@dataclass(frozen=True, slots=True)
class Context:
    """A screen, as the help explains it."""

    title: str
    help: str


CONTEXTS: dict[str, Context] = {
    "home": Context("Runs", "Every run on this machine. Runs continue without this window; the list only shows them."),
    "compare": Context(
        "Compare", "Runs side by side: the settings that differ, how they ended, and their newest sample images."
    ),
    "queue": Context(
        "Queue",
        "The runs that wait for the GPU. One after another starts, without this window too. Removing a run from the queue "
        "deletes nothing, and a run that trains goes on.",
    ),
    "sweep": Context(
        "Sweep",
        "Runs over one dataset that differ in a few settings, by the same measures of the same images at equal strength. "
        "loratui sweep starts one.",
    ),
    "preset": Context("Preset", "A preset is a recipe with a reason for every number. Choose the preset nearest to your goal."),
    "base": Context(
        "Base model",
        "The model that the LoRA is trained on and later used with. Training only reads it and never changes it.",
    ),
    "dataset": Context(
        "Dataset",
        "Your images and their trigger word. The dataset check lists every fault with a fix. Your images are "
        "never changed: fixes are made on a copy when you go on, and caption files change only when you save.",
    ),
    "dataset_image": Context(
        "Image",
        "One image with its caption and its quick fixes. Training leaves out the dark part of the image.",
    ),
    "dataset_captions": Context(
        "All captions",
        "One change to many captions, shown before it is made. Tags with + and − say whose: space on a tag asks for captions with it, "
        "then for those without. Nothing is written to the files until you save.",
    ),
    "dataset_proposals": Context(
        "Captions by machine",
        "What captioners propose for the images that were shown as tiles. A proposal becomes the caption only when you accept it, and "
        "goes into the caption file only when you save. The key of another captioner puts its proposal beside the first.",
    ),
    "dataset_changes": Context(
        "Changes",
        "Every change, before it is made. Images change only on a copy; your own files stay as they are. Captions "
        "are written to their files when you save.",
    ),
    "plan": Context("Plan", "How often the images are shown. Change a number and the arithmetic follows; r resets a number."),
    "samples": Context(
        "Samples",
        "Sample images during training, and the prompts of the validation after it. {trigger}, {class} and {subject} "
        "are replaced by your words; below each prompt you see the result.",
    ),
    "preflight": Context(
        "Preflight",
        "What could go wrong, checked before the start. Errors must be fixed; warnings may stay. The last check is one real "
        "step: it measures the memory and speed of this recipe on this machine, and tests that the base "
        "is what it should be. Then loratui asks whether to start.",
    ),
    "training": Context(
        "Training",
        "The run's progress. It continues without this window: leave with q, come back with loratui attach. "
        "An image-step shows one image once; an optimizer step changes the weights once, after a whole batch. The plot also "
        "has the likeness of the samples and their nearest photo, and the line below it says when they get no better.",
    ),
    "image": Context(
        "Image",
        "One image, as large as blocks of colour can show it. f draws real pixels if the terminal can; b opens a "
        "page on this machine only, which your browser reaches through ssh.",
    ),
    "validation": Context(
        "Validation",
        "Is it any good? Seven parts, each with the images that answer it. Tick what is good, note what is not, rate the "
        "files, and choose the best.",
    ),
    "validation_image": Context(
        "Validation image",
        "One image beside its counterpart: the base without the LoRA at the same prompt and seed, or the "
        "training image nearest to it.",
    ),
    "validation_make": Context(
        "Make images",
        "The images of the validation. {trigger}, {class} and {subject} are replaced by your words; existing images "
        "are not made again.",
    ),
    "validation_measures": Context(
        "Measures",
        "What was measured of the images of this part, against the base's own images and against your photos. These are "
        "signs, not a verdict. What cannot be measured is unknown, with the reason.",
    ),
    "validation_verdict": Context(
        "Verdict",
        "What the measures say of the whole run, with the reasons, the best file and what to change. Apply opens the plan of "
        "the next run with the change made; nothing starts before you say so.",
    ),
    "validation_files": Context(
        "LoRA files", "Every file that the run has written. Rate them, choose one, keep it under a name."
    ),
    "validation_sides": Context(
        "Side by side",
        "Two LoRA files at the same prompt and seed. Vote for the better image. Blind, the names are hidden and each pair has "
        "its own order; the count comes at the end, with how often chance alone gives it.",
    ),
    "validation_export": Context(
        "Keep",
        "Writes the file under a name. Beside it: the recipe, all settings, and an image and a note for programs such as ComfyUI "
        "and Forge. No existing file is replaced.",
    ),
    "validation_upload": Context(
        "Upload",
        "Puts the file on the Hugging Face hub with a model card: trigger, strength, settings, licence, up to four images that it "
        "made; no photo and no path. A new repository is private unless you say otherwise. Nothing is sent before you have seen it.",
    ),
}

WIZARD = ("preset", "base", "dataset", "plan", "samples", "preflight")
_OVER_DATASET = ("dataset_image", "dataset_captions", "dataset_proposals", "dataset_changes")
_OVER_VALIDATION = (
    "validation_measures",
    "validation_verdict",
    "validation_make",
    "validation_files",
    "validation_export",
    "validation_upload",
)
_IMAGE = ("image", "validation_image")
_EVERYWHERE = tuple(CONTEXTS)


def _on(contexts: tuple[str, ...], *keys: Key) -> tuple[Key, ...]:
    """The keys of some screens, in the order shown."""
    return tuple(dataclasses.replace(key, action=key.action or key.id, contexts=contexts) for key in keys)


# fmt: off
KEYS: tuple[Key, ...] = (
    *_on(("home",),
        Key("open", "enter", "open", "open the run: its training, or its validation if it is done", when="run"),
        Key("new", "n", "new run", "plan a new run, or continue a draft", action="new_run", changes=True),
        Key("resume_selected", "r", "resume", action="resume", when="resumable", changes=True,
            help="resume the run from its last checkpoint"),
        Key("mark", "space", "mark", "mark the run for a comparison", when="several_runs"),
        Key("compare", "c", "compare", "show the marked runs side by side", when="several_marked"),
        Key("validate_selected", "v", "validate", "open the validation of the run", action="validate", when="has_lora"),
        Key("delete", "d", "delete", "delete the run; asks first and shows the space it frees", when="run", changes=True),
        Key("duplicate", "u", "reuse", "plan a new run with this run's recipe", when="run", changes=True),
        Key("queue", "w", "queue", "the runs that wait for the GPU: change their order, hold them", when="has_queue"),
        Key("sweeps", "s", "sweeps", "compare the runs of a sweep", when="has_sweeps"),
        Key("demo", "t", "try the demo", "plan the demo: an invented person, a few minutes, no download", changes=True),
    ),
    *_on(("preset", "base", "dataset", "plan", "samples"),
        Key("next", "enter", "next", "go on to the next step", when="enter_goes_on"),
    ),
    *_on(("preset",),
        Key("import_settings", "i", "import", "take over the settings of kohya_ss, OneTrainer, ai-toolkit and others, in place of a preset"),
    ),
    *_on(("base",),
        Key("download", "f6", "download", when="can_download",
            help="download the base from the hub; asks first; press again to cancel"),
        Key("token", "f7", "token", "sign in to the hub, for bases with terms to accept"),
    ),
    *_on(("preflight",),
        Key("last_check", "enter", "one real step", action="next", when="unmeasured", changes=True,
            help="run the last check: one real step, which measures memory and speed on this machine; then asks"),
        Key("start", "enter", "start training", "start the run in the background", when="can_start", changes=True),
        Key("start_unmeasured", "s", "start without it", when="unmeasured", changes=True,
            help="start the run without the real step"),
        Key("enqueue", "w", "queue", "start the run after those that train or wait", when="can_enqueue", changes=True),
        Key("sweep", "o", "sweep", "train several runs that differ in a few settings, one after another", when="can_sweep", changes=True),
        Key("probe_again", "p", "measure again", "run another real step", when="measured", changes=True),
        Key("cancel_probe", "p", "cancel the step", "cancel the real step", when="probing"),
        Key("check_again", "r", "check again", "run the checks again", when="at_rest"),
        Key("mend", "m", "fix", "go to the step where the selected error or warning can be fixed", when="step_here"),
    ),
    *_on(("plan",),
        Key("reset", "r", "reset", "reset this field to the preset's value"),
    ),
    *_on(("samples",),
        Key("reset_text", "f6", "reset", "reset this field to the preset's value", action="reset"),
        Key("add_prompt", "f7", "add", "add a prompt below this one", action="add", when="in_prompt"),
        Key("drop_prompt", "f8", "remove", "remove this prompt", action="drop", when="can_drop"),
    ),
    *_on(("plan",),
        Key("advanced", "a", "all settings", "every setting with its reason and range"),
    ),
    *_on(WIZARD,
        Key("back", "escape", "back", "go back one step"),
    ),
    *_on(("training",),
        Key("sample", "s", "sample", action="command('sample')", when="can_command", changes=True,
            help="make the sample images now"),
        Key("checkpoint", "c", "checkpoint", action="command('checkpoint')", when="can_command", changes=True,
            help="save a checkpoint now"),
        Key("pause", "p", "pause", action="command('pause')", when="can_command", changes=True,
            help="save a checkpoint, free the GPU and end; resume it later"),
        Key("resume", "r", "resume", "resume from the last checkpoint", when="resumable", changes=True),
        Key("stop", "x", "stop", "save and end the run; asks first", when="can_command", changes=True),
        Key("validate", "v", "validate", "open the validation", when="can_validate"),
        Key("cancel_actions", "k", "cancel", when="finishing", changes=True,
            help="cancel what follows the end of the run and is not done yet, such as the stop of the pod"),
        Key("more", "n", "more", when="can_continue", changes=True,
            help="train more from this run: epochs more, or a new run with its weights; opens the plan"),
        Key("earlier", "left", "samples", action="scrub(-1)", sign="←→", when="has_samples",
            help="earlier samples; the plot points at their step"),
        Key("image", "o,enter", "image", action="open_image", when="has_samples",
            help="show the sample as large as the terminal can"),
        Key("after_epoch", "e", "after epoch", when="can_command", changes=True,
            help="stop when this epoch is complete; press again to undo"),
        Key("live_samples", "i", "prompts", action="change_samples", when="can_command", changes=True,
            help="change the sample prompts and their interval"),
        Key("when_finished", "f", "finished", when="not_gone", changes=True,
            help="choose what is done when the run has ended: copy, command, message, stop of the pod; afterwards it runs what was not done"),
        Key("bounds", "b", "waits", when="not_gone", changes=True,
            help="choose how long a stalled trainer, and a disk that takes nothing, is waited for before the run is ended"),
        Key("filter", "slash", "filter", "log lines with some words, or /a regular expression/"),
        Key("large_plot", "1", "loss", "only the loss; press again for everything", action="enlarge('plot')"),
        Key("large_samples", "2", "samples", "only the samples, prompts against steps; press again for everything", action="enlarge('samples')"),
        Key("large_machine", "3", "machine", "only the machine; press again for everything", action="enlarge('machine')"),
        Key("large_log", "4", "log", "only the log; press again for everything", action="enlarge('log')"),
        Key("later", "right", "", action="scrub(1)", when="has_samples",
            help="later samples; after the last it follows the newest"),
        Key("prompt_before", "up", "", "previous prompt; older lines when only the log is shown", action="prompt(-1)"),
        Key("next_prompt", "down", "", "next prompt; newer lines when only the log is shown", action="prompt(1)"),
        Key("level", "w", "", "log level: everything, warnings and errors, only errors"),
        Key("log_scale", "l", "", "logarithmic scale for the loss, and back"),
    ),
    *_on(_IMAGE,
        Key("along_back", "left", "row", action="along(-1)", sign="←→", when="several_images",
            help="previous image in the row, such as an earlier step"),
        Key("along", "right", "", "next image in the row, such as a later step", action="along(1)", when="several_images"),
        Key("across_back", "up", "column", action="across(-1)", sign="↑↓", when="several_images",
            help="previous image in the column, such as another prompt"),
        Key("across", "down", "", "next image in the column", action="across(1)", when="several_images"),
    ),
    *_on(("validation_image",),
        Key("beside", "c", "compare with", "show beside it: the base, the nearest training image, nothing", when="several_beside"),
    ),
    *_on(_IMAGE,
        Key("pixels", "f", "real pixels", "show real pixels, if the terminal can (kitty, iTerm2, sixel)", when="image_here"),
        Key("page", "b", "browser", "open a page for your browser, reached through ssh; press again to end it", when="image_here"),
        Key("close_image", "escape,o", "back", "back to the previous screen", action="close"),
    ),
    *_on(("validation",),
        Key("verdict", "v", "verdict", "the verdict with all reasons, and every advice", when="is_judged"),
    ),
    *_on(("validation", "validation_verdict"),
        Key("apply", "a", "apply", when="can_apply", changes=True,
            help="open the next plan with this advice carried out, or choose the file that it names"),
    ),
    *_on(("validation",),
        Key("next_part", "n", "next", "next part of the validation", action="part(1)"),
        Key("part_before", "p", "", "previous part", action="part(-1)"),
        Key("look", "enter", "look", "go to the images of this part; on an image, show it large"),
        Key("tick", "space", "tick", changes=True,
            help="tick this part as good, or untick it; under “next step”: mark what you saw"),
        Key("measures", "m", "measures", "every measure of this part, what it means and its limits", when="has_measures"),
        Key("make_grid", "g", "make", when="model.can_make", changes=True,
            help="choose prompts, strengths, seeds and files, see what they cost, and make the images"),
        Key("newest", "g", "newest file", action="validate_newest", when="model.can_take_newest", changes=True,
            help="validate the newest file of the run that still trains, as a run of its own; says what memory is free"),
        Key("go_on_grid", "r", "resume", "make the missing images", action="go_on", when="model.can_go_on", changes=True),
        Key("stop_grid", "x", "stop", action="stop", when="model.can_stop", changes=True,
            help="stop making images; r resumes later"),
    ),
    *_on(("validation", "validation_files", "validation_image"),
        Key("note", "e", "note", "write a note", when="can_note", changes=True),
    ),
    *_on(("validation",),
        Key("files", "f", "files", "the LoRA files: rate them, choose one, keep it", when="model.has_file"),
        Key("report", "w", "report", when="can_report", changes=True,
            help="write a report: one page for a browser, Markdown and contact sheets, without your photos"),
        Key("panel", "tab,shift+tab", "switch", "switch between the images and the list"),
    ),
    *_on(("validation", "validation_files"),
        Key("rate_1", "1", "rate", "give the file 1 of 5 stars", action="rate(1)", sign="1-5", when="file_here", changes=True),
        Key("rate_2", "2", "", "give the file 2 of 5 stars", action="rate(2)", when="file_here", changes=True),
        Key("rate_3", "3", "", "give the file 3 of 5 stars", action="rate(3)", when="file_here", changes=True),
        Key("rate_4", "4", "", "give the file 4 of 5 stars", action="rate(4)", when="file_here", changes=True),
        Key("rate_5", "5", "", "give the file 5 of 5 stars", action="rate(5)", when="file_here", changes=True),
        Key("rate_0", "0", "", "remove the stars", action="rate(0)", when="file_here", changes=True),
    ),
    *_on(("validation_files",),
        Key("choose_file", "space", "choose", "choose the file, or unchoose it", action="choose", when="file_here", changes=True),
        Key("export", "enter", "keep", "write the file under a name, with its settings", when="file_here", changes=True),
        Key("strengths_of", "s", "strengths", action="strengths", when="can_make_strengths", changes=True,
            help="make images with this file at each strength"),
        Key("upload_file", "u", "upload", "put the file on the Hugging Face hub, with a model card", when="file_here", changes=True),
    ),
    *_on(("validation_upload",),
        Key("show_upload", "enter", "show", "show what would be uploaded; nothing is sent", action="show", when="can_show", changes=True),
        Key("upload", "u", "upload", "upload what is shown", when="can_upload", changes=True),
    ),
    *_on(("validation_files",),
        Key("side_by_side", "b", "side by side", when="can_compare",
            help="compare the file with the chosen one (◆), else with the finished one: the same prompts and seeds, blind"),
    ),
    *_on(("validation_sides",),
        Key("vote_left", "left", "better", "the left image is better; again: no vote", action="vote('left')", sign="←→", when="pair_here", changes=True),
        Key("vote_right", "right", "", "the right image is better", action="vote('right')", when="pair_here", changes=True),
        Key("vote_equal", "space", "equal", "both are as good", action="vote('equal')", when="pair_here", changes=True),
        Key("next_pair", "n,down", "next", "the next pair", action="pair(1)", when="several_pairs"),
        Key("pair_before", "p,up", "", "the pair before", action="pair(-1)", when="several_pairs"),
        Key("names", "x", "names", "hide which file is which, or show it", when="pair_here"),
        Key("pixels_of_both", "f", "real pixels", "show both in real pixels, if the terminal can", action="pixels", when="image_here"),
        Key("close_sides", "escape", "back", "back to the previous screen", action="back"),
    ),
    *_on(("validation_export",),
        Key("write_file", "enter", "write", "write the file and its settings", action="next", when="can_write", changes=True),
    ),
    *_on(("validation_make",),
        Key("make_now", "enter", "make them", "make the images", action="next", when="model.can_make", changes=True),
        Key("strengths_grid", "f5", "strengths", "include or leave out prompts × strengths", action="with_grid('strengths')"),
        Key("epochs_grid", "f6", "epochs", "include or leave out prompts × epochs", action="with_grid('checkpoints')"),
        Key("complete_grid", "f3", "", "include or leave out what the verdict needs besides: three seeds, the base, the trigger alone",
            action="complete"),
        Key("add_check_prompt", "f7", "add", "add a prompt below this one", action="add", when="in_prompt"),
        Key("drop_check_prompt", "f8", "remove", "remove this prompt", action="drop", when="can_drop"),
    ),
    *_on(("validation_measures",),
        Key("get_faces", "f", "get face models", when="lacks_faces", changes=True,
            help="download the face models that likeness needs, once: YuNet (MIT) and SFace (Apache-2.0), 39 MB"),
        Key("get_models", "i", "get image models", when="lacks_models", changes=True,
            help="download the models for prompts, things and styles, once: CLIP by LAION (MIT, 605 MB) and DINOv2 small (Apache-2.0, 88 MB)"),
    ),
    *_on(_OVER_VALIDATION,
        Key("close_check_part", "escape", "back", "back to the validation", action="back"),
    ),
    *_on(("validation",),
        Key("training", "t", "training", "back to the training"),
    ),
    *_on(("training", "validation"),
        Key("runs", "escape", "runs", "back to the list of runs", action="back"),
    ),
    *_on(("compare",),
        Key("images_of_both", "b", "images", action="side_by_side",
            help="the LoRA files of the first two runs at the same prompts and seeds, blind: the chosen ones (◆), else the finished"),
        Key("compared", "escape", "runs", "back to the list of runs", action="back"),
    ),
    *_on(("queue",),
        Key("open_queued", "enter", "open", "open the run", action="open", when="entry_here"),
        Key("earlier_place", "u", "up", "start it before the run above", action="move(-1)", when="entry_here", changes=True),
        Key("later_place", "d", "down", "start it after the run below", action="move(1)", when="entry_here", changes=True),
        Key("unqueue", "x", "remove", "take the run and its validation out of the queue", action="remove", when="entry_here", changes=True),
        Key("hold_queue", "h", "hold", "start nothing more; what trains goes on", action="hold", when="goes_on", changes=True),
        Key("release_queue", "g", "go on", "start the runs again", action="go_on", when="on_hold", changes=True),
    ),
    *_on(("sweep",),
        Key("open_swept", "enter", "open", "open the validation of the run", action="open", when="run_here"),
        Key("strength", "s", "strength", "compare at the next strength", when="several_strengths"),
        Key("older_sweep", "left", "sweeps", "an older sweep", action="other(1)", sign="←→", when="several_sweeps"),
        Key("newer_sweep", "right", "", "a newer sweep", action="other(-1)", when="several_sweeps"),
    ),
    *_on(("queue", "sweep"),
        Key("to_runs", "escape", "runs", "back to the list of runs", action="back"),
    ),
    *_on(("dataset_proposals",),
        Key("accept_proposal", "enter", "accept", "take the proposal as the caption; the next image follows", action="accept", when="candidate_here"),
        Key("edit_proposal", "e", "edit", "change the proposal and take it as the caption", action="edit", when="candidate_here"),
        Key("dismiss_proposal", "x", "dismiss", "put the proposal aside, or take it up again", action="put_aside", when="candidate_here"),
        Key("accept_all", "a", "accept all", when="can_take_all",
            help="take the proposals of all images of this filter, except those of no use"),
        Key("ask_captioner", "g", "ask", "ask a captioner for the images that have no proposal of it", action="ask", when="can_ask", changes=True),
        Key("ask_again", "h", "again", "ask for this image again, with a hint", when="can_ask", changes=True),
        Key("stop_captioner", "t", "stop", "stop the captioner; what it proposed stays", when="captioner_works"),
        Key("which_proposals", "f", "filter", "images to look at, those with a flag, or all", action="which", when="not_writing"),
        Key("next_candidate", "down", "proposal", "the next proposal for this image, such as another captioner's",
            action="candidate(1)", sign="↑↓", when="several_candidates"),
        Key("candidate_before", "up", "", "the proposal before", action="candidate(-1)", when="several_candidates"),
        Key("end_proposal", "escape", "done", "end the edit and take it as the caption", action="end_editing", when="writing"),
    ),
    *_on(("home", "compare", "queue", "sweep", "training", "validation", "preflight", "dataset_image", "dataset_proposals",
          "image", "validation_image", "validation_files", "validation_sides", "validation_export", "validation_upload"),
        Key("copy", "y", "copy", "copy a path, a command or an error to your own clipboard, and show it", when="can_copy"),
    ),
    *_on(("dataset",),
        Key("open_image", "enter", "open", "on an image: open it large, with its caption", when="image_here"),
        Key("show_files", "enter", "images", "on a finding: show only its images", when="finding_has_images"),
        Key("mend_finding", "m", "fix", "choose the quick fix of this finding", action="mend", when="fix_here"),
    ),
    *_on(_OVER_DATASET,
        Key("close_part", "escape", "back", "back to the dataset", action="back", when="not_writing"),
    ),
    *_on(("dataset_image",),
        Key("edit_caption", "e,enter", "caption", "edit the caption; esc ends it", action="edit", when="not_writing"),
        Key("end_caption", "escape", "done", action="end_editing", when="writing",
            help="end the edit; the caption is not saved yet"),
    ),
    *_on(("dataset", "dataset_image", "dataset_captions", "dataset_proposals", "dataset_changes"),
        Key("save_captions", "s", "save captions", when="model.can_save", changes=True,
            help="write the edited captions to their files; the old files are kept"),
    ),
    *_on(("dataset_image", "dataset_proposals"),
        Key("next_image", "right,pagedown", "next", "next image; in the caption, pgdn", action="step(1)"),
        Key("image_before", "left,pageup", "previous", "previous image; in the caption, pgup", action="step(-1)"),
    ),
    *_on(("dataset_captions",),
        Key("apply_edit", "enter", "make this change", "make the change shown", action="next", when="can_apply"),
        Key("turn_tag", "space", "with/without", when="tag_here",
            help="on a tag: only captions with it; again: only those without it; again: all"),
        Key("all_captions", "a", "all captions", "no tag is asked for any more", when="filtered"),
        Key("show_tagged", "g", "images", "show the images whose captions are meant", when="at_lists"),
        Key("find_tag", "slash", "find", "find tags by a part of their name", when="at_lists"),
        Key("order_tags", "o", "order", "order the tags by frequency, rarity or name", when="at_lists"),
    ),
    *_on(("dataset_changes",),
        Key("carry_out", "enter", "make the copy", "make a copy with these changes", when="can_carry_out", changes=True),
        Key("drop_change", "x", "drop", "drop the selected change", action="drop", when="change_here"),
    ),
    *_on(("dataset", "dataset_image"),
        Key("leave_out", "x", "leave out", "leave the image out, or put it back", when="image_here"),
    ),
    *_on(("dataset",),
        Key("go_on", "n", "next", "go on to the next step", when="past_form"),
        Key("mark_image", "space", "mark", when="image_here", action="mark",
            help="mark the image: c and p are about the marked images alone; esc takes all marks back"),
        Key("switch_pane", "tab,shift+tab", "switch", "switch between form, findings and images"),
        Key("captions", "c", "captions", "change all captions at once, with a preview", when="model.ready"),
        Key("proposals", "p", "by machine", "captions that a captioner writes: ask it, look at what it proposes", when="model.ready"),
        Key("deep", "d", "deep check", "check every pixel: blur, light, doubles, borders, faces", when="model.can_measure"),
        Key("faces", "f", "faces", "check faces too; downloads the detector once (230 KB)", when="model.can_look_for_faces"),
        Key("deep_stop", "d", "stop check", action="stop_deep", when="model.can_stop_measuring",
            help="stop the deep check; its results stay"),
        Key("masks", "a", "masks", "make masks of persons or faces, which weight the loss", when="model.can_make_masks"),
        Key("masks_stop", "a", "stop masks", action="stop_masks", when="model.makes_masks", help="stop making masks; those made stay"),
        Key("changes", "w", "changes", "list every change before it is made", when="model.has_changes"),
    ),
    *_on(("dataset", "dataset_image", "dataset_captions", "dataset_proposals", "dataset_changes"),
        Key("undo", "u", "undo", "undo the last change", when="model.can_undo"),
        Key("redo", "r", "redo", "redo the undone change", when="model.can_redo"),
    ),
    *_on(("dataset_proposals",),
        Key("pixels_of_proposal", "p", "real pixels", "show real pixels, if the terminal can", action="pixels"),
    ),
    *_on(("dataset_image",),
        Key("about_down", "down", "", "scroll the facts about the image", action="scroll_about(2)"),
        Key("about_up", "up", "", "scroll them back up", action="scroll_about(-2)"),
        Key("turn", "o", "", "turn it upright, by its EXIF orientation", action="remedy('rotate')"),
        Key("convert", "v", "", "convert it to plain sRGB", action="remedy('convert')"),
        Key("flatten", "f", "", "lay it on a plain background", action="remedy('flatten')"),
        Key("mirror", "i", "", "mirror it left to right", action="remedy('mirror')"),
        Key("crop", "k", "", "crop it around the subject", action="remedy('crop')"),
        Key("shrink", "z", "", "shrink it to 3000 px", action="remedy('shrink')"),
        Key("show_mask", "m", "mask", action="mask", when="has_mask", help="show the mask over the image; red is what it leaves out"),
        Key("pixels_of_photo", "p", "real pixels", "show real pixels, if the terminal can", action="pixels"),
    ),
    *_on(("dataset",),
        Key("read_again", "f5", "reload", "read the folder again for new or changed images", when="folder_typed"),
        Key("copy_line", "y", "copy the line", "copy the command that brings photos here", action="copy", when="can_copy"),
    ),
    *_on(_EVERYWHERE,
        Key("help", "question_mark,f1", "help", "this help"),
        Key("palette", "ctrl+p", "", "search the commands of this screen"),
        Key("jump", "ctrl+o,f4", "", "jump to any part of the screen by a letter"),
        Key("preferences", "f2", "", "theme, bell, window title, price of this machine"),
        Key("repaint", "ctrl+l", "", action="app.repaint", anywhere=True,
            help="redraw the screen, after another program has written on it"),
    ),
    *_on(("preset", "plan", "validation_export", "validation_upload", "validation_verdict"),
        Key("scroll_pane", "pagedown", "more", action="scroll_pane(1)", when="pane_overflows", first=True,
            help="scroll down in the text"),
        Key("scroll_pane_back", "pageup", "", action="scroll_pane(-1)", when="pane_overflows", first=True,
            help="scroll up in the text"),
    ),
    *_on(("plan",),
        Key("hold_out", "h", "hold out", when="folder_read",
            help="keep some photos out of the training, so that the loss on them shows when it overtrains; press again for none"),
        Key("when_finished", "f", "when finished", "choose what is done when the run has ended: copy, command, message, stop of the pod"),
    ),
    *_on(_EVERYWHERE,
        Key("suspend", "ctrl+z", "", "suspend loratui; fg in the shell brings it back", action="app.suspend_process"),
        Key("debug", "f9", "", "versions, terminal and last errors, to paste into a bug report"),
        Key("leave", "q", "leave", "leave; runs continue, and loratui finds them again", action="app.leave"),
    ),
)
# fmt: on
"""All keys; on each screen in the order shown."""
