"""Every key of the app in one table, from which come the bindings of the screens, the key bar, the help and the palette."""

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
"""Textual's names that people write otherwise."""


def written(name: str) -> str:
    """Textual's name of a key as people write it: `escape` is `esc`, `question_mark` is `?`."""
    from textual.keys import key_to_character

    if name in _WRITTEN:
        return _WRITTEN[name]
    character = key_to_character(name)
    return character if character and character.isprintable() and character != " " else name


@dataclass(frozen=True, slots=True)
class Key:
    """One key and what it does. Only plain letters and keys that no web terminal, tmux or shell takes for itself."""

    id: str
    keys: str
    """Textual's names, separated by commas; the first is the one that is shown."""
    label: str
    """Word or two for the key bar; empty to leave it out there."""
    help: str
    action: str = ""
    """Textual's action; empty where it is called as the key's id."""
    sign: str = ""
    """How the key is written for people, where that is not how the first of its names is written."""
    when: str = ""
    """When it works: a property of the screen, or of its model, that is true then; empty for always."""
    changes: bool = False
    """Whether it starts, commands or deletes something; such keys do nothing in a view-only app."""
    anywhere: bool = False
    """Whether it works in fields, questions and the help too. It cannot be a letter, which is typed there."""
    first: bool = False
    """Whether the screen takes it before the widget that has the focus."""
    contexts: tuple[str, ...] = ()
    """The screens on which it works."""

    @property
    def shown(self) -> str:
        """How the key is written for people."""
        return self.sign or written(self.keys.split(",")[0])


@dataclass(frozen=True, slots=True)
class Context:
    """A screen, as the help explains it."""

    title: str
    help: str


CONTEXTS: dict[str, Context] = {
    "home": Context("Runs", "Every run on this machine. Runs go on by themselves; this list only looks at them."),
    "compare": Context("Compare", "Runs side by side: the settings that differ, how they ended, and their newest samples."),
    "preset": Context(
        "Preset", "A preset is a recipe with a reason for every number. Choose the one nearest to what you want to train."
    ),
    "base": Context(
        "Base model",
        "The model that the LoRA is trained on, and later used with. It stays as it is; training only reads it.",
    ),
    "dataset": Context(
        "Data set",
        "Your images and the word that will stand for them. Everything wrong is listed with a remedy. Your images are "
        "never changed: remedies are carried out on a copy when you go on, and caption files change only when you save.",
    ),
    "dataset_image": Context(
        "An image",
        "One image with its caption and what can be done about it. The dark part of the image will not be trained on.",
    ),
    "dataset_captions": Context(
        "All captions",
        "One change to many captions, shown before it is made. Nothing is written to the files until you save.",
    ),
    "dataset_changes": Context(
        "What will be done",
        "Every change, before it is made. Those of the images are carried out on a copy, your own stay as they are; captions "
        "are written to their files when you save them.",
    ),
    "plan": Context(
        "Plan", "How often the images are shown. Change a number and the arithmetic follows; r puts a number back."
    ),
    "samples": Context(
        "Samples",
        "What is drawn while it trains and what the check asks for afterwards. {trigger}, {class} and {subject} "
        "stand for your words; below each prompt you see it filled in.",
    ),
    "preflight": Context(
        "Preflight",
        "What could go wrong, checked before the start. Errors must be mended; warnings may stay. The last check is one real "
        "step: it measures what no table can know, memory and speed of this recipe on this machine, and whether the base "
        "is what it should be. Then it asks whether to start.",
    ),
    "training": Context(
        "Training",
        "What the run tells. It goes on without this window: leave with q, come back with loratui attach. "
        "An image-step shows one image once; an optimizer step changes the weights once, after a whole batch.",
    ),
    "image": Context(
        "Image",
        "One image, as large as blocks of colour can show it. f draws real pixels where the terminal has them; b opens a "
        "page on this machine alone, which your browser reaches through ssh.",
    ),
    "validation": Context(
        "Validation",
        "Is it any good? Seven parts, each with the images that answer it. Tick what is good, note what is not, rate the "
        "files, and choose the one to keep.",
    ),
    "validation_image": Context(
        "Image of the check",
        "One image beside what it is to be compared with: the base without the LoRA at the same prompt and seed, or the "
        "training image that it is most like.",
    ),
    "validation_make": Context(
        "Make images",
        "What the check is made of. {trigger}, {class} and {subject} stand for your words; images that are there already "
        "are not made again.",
    ),
    "validation_files": Context(
        "LoRA files", "Every file that the run has written. Rate them, choose the one, export it under a name."
    ),
    "validation_export": Context(
        "Export", "Writes the file under a name, with the recipe and all settings beside it. Nothing is ever replaced."
    ),
}

WIZARD = ("preset", "base", "dataset", "plan", "samples", "preflight")
_OVER_DATASET = ("dataset_image", "dataset_captions", "dataset_changes")
_OVER_VALIDATION = ("validation_make", "validation_files", "validation_export")
_IMAGE = ("image", "validation_image")
_EVERYWHERE = tuple(CONTEXTS)


def _on(contexts: tuple[str, ...], *keys: Key) -> tuple[Key, ...]:
    """The keys of some screens, in the order in which they are shown."""
    return tuple(dataclasses.replace(key, action=key.action or key.id, contexts=contexts) for key in keys)


# fmt: off
KEYS: tuple[Key, ...] = (
    *_on(("home",),
        Key("open", "enter", "open", "open the run: its training, or its validation if it is done", when="run"),
        Key("new", "n", "new run", "plan a new run, or go on with a draft", action="new_run", changes=True),
        Key("resume_selected", "r", "resume", action="resume", when="resumable", changes=True,
            help="go on from the run's last checkpoint"),
        Key("mark", "space", "mark", "mark the run, to compare it with others", when="several_runs"),
        Key("compare", "c", "compare", "the marked runs side by side", when="several_marked"),
        Key("validate_selected", "v", "validate", "open the guided check of the run", action="validate", when="has_lora"),
        Key("delete", "d", "delete", "delete the run; asks first and says what is freed", when="run", changes=True),
        Key("duplicate", "u", "use again", "plan a new run with this run's recipe", when="run", changes=True),
        Key("demo", "t", "try the demo", "plan the demo: an invented person, a few minutes, no download", changes=True),
    ),
    *_on(("preset", "base", "dataset", "plan", "samples"),
        Key("next", "enter", "next", "go on to the next step", when="enter_goes_on"),
    ),
    *_on(("base",),
        Key("download", "f6", "download", when="can_download",
            help="fetch the base from the hub, after a question; again to cancel"),
        Key("token", "f7", "token", "sign in to the hub, for bases whose terms must be accepted"),
    ),
    *_on(("preflight",),
        Key("last_check", "enter", "one real step", action="next", when="unmeasured", changes=True,
            help="make the last check: one real step, which measures memory and speed on this machine; then it asks"),
        Key("start", "enter", "start training", "start the run in the background", when="can_start", changes=True),
        Key("start_unmeasured", "s", "start without it", when="unmeasured", changes=True,
            help="start the run without the real step"),
        Key("probe_again", "p", "measure again", "make another real step", when="measured", changes=True),
        Key("cancel_probe", "p", "cancel the step", "end the real step that is being made", when="probing"),
        Key("check_again", "r", "check again", "run the checks again", when="at_rest"),
        Key("mend", "m", "mend", "go to where the chosen error or warning can be mended", when="step_here"),
    ),
    *_on(("plan",),
        Key("reset", "r", "reset", "put the value of this field back to the preset's"),
    ),
    *_on(("samples",),
        Key("reset_text", "f6", "reset", "put this field back to the preset's", action="reset"),
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
            help="save a checkpoint, free the GPU and end, to be resumed"),
        Key("resume", "r", "resume", "go on from the last checkpoint", when="resumable", changes=True),
        Key("stop", "x", "stop", "save and end the run, after a question", when="can_command", changes=True),
        Key("validate", "v", "validate", "open the guided check", when="can_validate"),
        Key("earlier", "left", "samples", action="scrub(-1)", sign="←→", when="has_samples",
            help="earlier samples; the plot points at their step"),
        Key("image", "o,enter", "image", action="open_image", when="has_samples",
            help="the sample as large as the terminal can show it"),
        Key("after_epoch", "e", "after epoch", when="can_command", changes=True,
            help="stop when this epoch is complete; again to take that back"),
        Key("live_samples", "i", "prompts", action="change_samples", when="can_command", changes=True,
            help="other sample prompts, another interval"),
        Key("filter", "slash", "filter", "lines of the log with some words, or /a regular expression/"),
        Key("large_plot", "1", "loss", "the loss alone; again for everything", action="enlarge('plot')"),
        Key("large_samples", "2", "samples", "prompts against steps; again for everything", action="enlarge('samples')"),
        Key("large_machine", "3", "machine", "the machine alone; again for everything", action="enlarge('machine')"),
        Key("large_log", "4", "log", "the log alone; again for everything", action="enlarge('log')"),
        Key("later", "right", "", action="scrub(1)", when="has_samples",
            help="later samples; beyond the last it follows the newest"),
        Key("prompt_before", "up", "", "the prompt before; older lines where the log is alone", action="prompt(-1)"),
        Key("next_prompt", "down", "", "the next prompt; newer lines where the log is alone", action="prompt(1)"),
        Key("level", "w", "", "the log: everything, warnings and errors, errors alone"),
        Key("log_scale", "l", "", "the loss on a logarithmic scale, and back"),
    ),
    *_on(_IMAGE,
        Key("along_back", "left", "row", action="along(-1)", sign="←→", when="several_images",
            help="the image before in its row, such as an earlier step"),
        Key("along", "right", "", "the next image in its row, such as a later step", action="along(1)", when="several_images"),
        Key("across_back", "up", "column", action="across(-1)", sign="↑↓", when="several_images",
            help="the image before in its column, such as another prompt"),
        Key("across", "down", "", "the next image in its column", action="across(1)", when="several_images"),
    ),
    *_on(("validation_image",),
        Key("beside", "c", "compare with", "beside it: the base, the nearest training image, nothing", when="several_beside"),
    ),
    *_on(_IMAGE,
        Key("pixels", "f", "real pixels", "in real pixels, if the terminal has them (kitty, iTerm2, sixel)", when="image_here"),
        Key("page", "b", "browser", "a page for your browser, reached through ssh; again to end it", when="image_here"),
        Key("close_image", "escape,o", "back", "back to where you came from", action="close"),
    ),
    *_on(("validation",),
        Key("next_part", "n", "next", "the next part of the check", action="part(1)"),
        Key("part_before", "p", "", "the part before", action="part(-1)"),
        Key("look", "enter", "look", "to the images of this part; on an image, show it large"),
        Key("tick", "space", "tick", changes=True,
            help="tick this part as looked at and good, or take the tick away; under “next step”: mark what you saw"),
        Key("make_grid", "g", "make", when="model.can_make", changes=True,
            help="choose prompts, strengths, seeds and files, see what they cost, and make the images"),
        Key("go_on_grid", "r", "go on", "make the images that are missing", action="go_on", when="model.can_go_on", changes=True),
        Key("stop_grid", "x", "stop", action="stop", when="model.can_stop", changes=True,
            help="end the making of images; it goes on later"),
    ),
    *_on(("validation", "validation_files"),
        Key("note", "e", "note", "write a note", when="can_note", changes=True),
    ),
    *_on(("validation",),
        Key("files", "f", "files", "the LoRA files: rate them, choose one, export it", when="model.has_file"),
        Key("panel", "tab,shift+tab", "switch", "change between the images and the list"),
    ),
    *_on(("validation", "validation_files"),
        Key("rate_1", "1", "rate", "give the file 1 of 5 stars", action="rate(1)", sign="1-5", when="file_here", changes=True),
        Key("rate_2", "2", "", "give the file 2 of 5 stars", action="rate(2)", when="file_here", changes=True),
        Key("rate_3", "3", "", "give the file 3 of 5 stars", action="rate(3)", when="file_here", changes=True),
        Key("rate_4", "4", "", "give the file 4 of 5 stars", action="rate(4)", when="file_here", changes=True),
        Key("rate_5", "5", "", "give the file 5 of 5 stars", action="rate(5)", when="file_here", changes=True),
        Key("rate_0", "0", "", "take the stars away", action="rate(0)", when="file_here", changes=True),
    ),
    *_on(("validation_files",),
        Key("choose_file", "space", "the one", "choose the file, or none", action="choose", when="file_here", changes=True),
        Key("export", "enter", "export", "write the file under a name", when="file_here", changes=True),
        Key("strengths_of", "s", "its strengths", action="strengths", when="can_make_strengths", changes=True,
            help="make the images of this file's strengths"),
    ),
    *_on(("validation_export",),
        Key("write_file", "enter", "write", "write the file and its settings", action="next", when="can_write", changes=True),
    ),
    *_on(("validation_make",),
        Key("make_now", "enter", "make them", "make the images", action="next", when="model.can_make", changes=True),
        Key("strengths_grid", "f5", "strengths", "with or without prompts × strengths", action="with_grid('strengths')"),
        Key("epochs_grid", "f6", "epochs", "with or without prompts × epochs", action="with_grid('checkpoints')"),
        Key("add_check_prompt", "f7", "add", "add a prompt below this one", action="add", when="in_prompt"),
        Key("drop_check_prompt", "f8", "remove", "remove this prompt", action="drop", when="can_drop"),
    ),
    *_on(_OVER_VALIDATION,
        Key("close_check_part", "escape", "back", "back to the check", action="back"),
    ),
    *_on(("validation",),
        Key("training", "t", "training", "back to the course of the training"),
    ),
    *_on(("training", "validation"),
        Key("runs", "escape", "runs", "back to the list of runs", action="back"),
    ),
    *_on(("compare",),
        Key("compared", "escape", "runs", "back to the list of runs", action="back"),
    ),
    *_on(("home", "compare", "training", "validation", "preflight", "dataset_image",
          "image", "validation_image", "validation_files", "validation_export"),
        Key("copy", "y", "copy", "copy a path, a command or an error to your own clipboard; it is shown too", when="can_copy"),
    ),
    *_on(("dataset",),
        Key("open_image", "enter", "open", "on an image: open it large, with its caption", when="image_here"),
        Key("show_files", "enter", "images", "on a finding: only its images", when="finding_has_images"),
        Key("mend_finding", "m", "mend", "choose the remedy of this finding", action="mend", when="fix_here"),
    ),
    *_on(_OVER_DATASET,
        Key("close_part", "escape", "back", "back to the data set", action="back", when="not_writing"),
    ),
    *_on(("dataset_image",),
        Key("edit_caption", "e,enter", "caption", "write in the caption; esc ends it", action="edit", when="not_writing"),
        Key("end_caption", "escape", "done", action="end_editing", when="writing",
            help="end the writing; the caption is not saved yet"),
    ),
    *_on(("dataset", "dataset_image", "dataset_captions", "dataset_changes"),
        Key("save_captions", "s", "save captions", when="model.can_save", changes=True,
            help="write the edited captions to their files; the old ones are kept"),
    ),
    *_on(("dataset_image",),
        Key("next_image", "right,pagedown", "next", "the next image; while writing, pgdn", action="step(1)"),
        Key("image_before", "left,pageup", "before", "the one before; while writing, pgup", action="step(-1)"),
    ),
    *_on(("dataset_captions",),
        Key("apply_edit", "enter", "make this change", "make the change that is shown", action="next", when="can_apply"),
    ),
    *_on(("dataset_changes",),
        Key("carry_out", "enter", "carry out", "make the copy with these changes", when="can_carry_out", changes=True),
        Key("drop_change", "x", "not this one", "take one change back", action="drop", when="change_here"),
    ),
    *_on(("dataset", "dataset_image"),
        Key("leave_out", "x", "leave out", "leave the image out, or take it in again", when="image_here"),
    ),
    *_on(("dataset",),
        Key("go_on", "n", "next", "go on to the next step", when="past_form"),
        Key("switch_pane", "tab,shift+tab", "switch", "between form, findings and images"),
        Key("captions", "c", "captions", "change all captions at once, with a preview", when="model.ready"),
        Key("deep", "d", "deep check", "look at every pixel: blur, light, doubles, borders, faces", when="model.can_measure"),
        Key("faces", "f", "faces", "look for faces too; gets the detector once (230 KB)", when="model.can_look_for_faces"),
        Key("deep_stop", "d", "stop check", action="stop_deep", when="model.can_stop_measuring",
            help="end the deep check; what it found stays"),
        Key("changes", "w", "what changes", "list everything that will be done", when="model.has_changes"),
    ),
    *_on(("dataset", "dataset_image", "dataset_captions", "dataset_changes"),
        Key("undo", "u", "undo", "take the last change back", when="model.can_undo"),
        Key("redo", "r", "redo", "do it again after all", when="model.can_redo"),
    ),
    *_on(("dataset_image",),
        Key("about_down", "down", "", "scroll what is said of the image", action="scroll_about(2)"),
        Key("about_up", "up", "", "and back up", action="scroll_about(-2)"),
        Key("turn", "o", "", "turn it upright as its EXIF note says", action="remedy('rotate')"),
        Key("convert", "v", "", "convert it to plain sRGB", action="remedy('convert')"),
        Key("flatten", "f", "", "lay it on a plain background", action="remedy('flatten')"),
        Key("mirror", "i", "", "mirror it left to right", action="remedy('mirror')"),
        Key("crop", "k", "", "crop it around the subject", action="remedy('crop')"),
        Key("shrink", "z", "", "shrink it to 3000 px", action="remedy('shrink')"),
        Key("pixels_of_photo", "p", "real pixels", "in real pixels, if the terminal has them", action="pixels"),
    ),
    *_on(("dataset",),
        Key("read_again", "f5", "read again", "read the folder again: images have come or changed", when="folder_typed"),
        Key("copy_line", "y", "copy the line", "copy the line that brings photos here", action="copy", when="can_copy"),
    ),
    *_on(_EVERYWHERE,
        Key("help", "question_mark,f1", "help", "this help"),
        Key("palette", "ctrl+p", "", "every command of this screen, found by typing"),
        Key("jump", "ctrl+o,f4", "", "jump to any part of the screen by a letter"),
        Key("preferences", "f2", "", "theme, bell, window title, price of this machine"),
        Key("repaint", "ctrl+l", "", action="app.repaint", anywhere=True,
            help="draw the whole screen again, when something else has written on it"),
    ),
    *_on(("preset", "plan", "validation_export"),
        Key("scroll_pane", "pagedown", "more", action="scroll_pane(1)", when="pane_overflows", first=True,
            help="the rest of the text that does not fit"),
        Key("scroll_pane_back", "pageup", "", action="scroll_pane(-1)", when="pane_overflows", first=True,
            help="back up in that text"),
    ),
    *_on(_EVERYWHERE,
        Key("suspend", "ctrl+z", "", "put loratui aside; fg in the shell brings it back", action="app.suspend_process"),
        Key("debug", "f9", "", "versions, terminal and last errors, to paste into a bug report"),
        Key("leave", "q", "leave", "leave; runs go on, and loratui comes back to them", action="app.leave"),
    ),
)
# fmt: on
"""All of them; on each screen in the order in which they are shown."""
