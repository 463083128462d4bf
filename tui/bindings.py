"""Every key of the app in one table, from which come the bindings of the screens, the key bar, the help and the palette."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from textual.binding import Binding


@dataclass(frozen=True, slots=True)
class Key:
    """One key and what it does. Only plain letters and keys that no web terminal, tmux or shell takes for itself."""

    id: str
    keys: str
    """Textual's names, separated by commas; the first is the one that is shown."""
    shown: str
    """How the key is written for people."""
    action: str
    label: str
    """Word or two for the key bar; empty to leave it out there."""
    help: str
    contexts: tuple[str, ...]
    changes: bool = False
    """Whether it starts, commands or deletes something; such keys do nothing in a view-only app."""
    anywhere: bool = False
    """Whether it works in fields, questions and the help too. It cannot be a letter, which is typed there."""
    first: bool = False
    """Whether the screen takes it before the widget that has the focus."""


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

_SHORT = {"escape": "esc", "pagedown": "pgdn", "pageup": "pgup"}
"""Textual's names that people write shorter."""
WIZARD = ("preset", "base", "dataset", "plan", "samples", "preflight")
_OVER_DATASET = ("dataset_image", "dataset_captions", "dataset_changes")
_OVER_VALIDATION = ("validation_make", "validation_files", "validation_export")
_IMAGE = ("image", "validation_image")
_EVERYWHERE = tuple(CONTEXTS)

KEYS: tuple[Key, ...] = (
    Key("open", "enter", "enter", "open", "open", "open the run: its training, or its validation if it is done", ("home",)),
    Key("new", "n", "n", "new_run", "new run", "plan a new run, or go on with a draft", ("home",), changes=True),
    Key("resume_selected", "r", "r", "resume", "resume", "go on from the run's last checkpoint", ("home",), changes=True),
    Key("mark", "space", "space", "mark", "mark", "mark the run, to compare it with others", ("home",)),
    Key("compare", "c", "c", "compare", "compare", "the marked runs side by side", ("home",)),
    Key("validate_selected", "v", "v", "validate", "validate", "open the guided check of the run", ("home",)),
    Key("delete", "d", "d", "delete", "delete", "delete the run; asks first and says what is freed", ("home",), changes=True),
    Key("duplicate", "u", "u", "duplicate", "use again", "plan a new run with this run's recipe", ("home",), changes=True),
    Key(
        "demo",
        "t",
        "t",
        "demo",
        "try the demo",
        "plan the demo: an invented person, a few minutes, no download",
        ("home",),
        changes=True,
    ),
    Key("next", "enter", "enter", "next", "next", "go on to the next step", ("preset", "base", "dataset", "plan", "samples")),
    Key(
        "download",
        "f6",
        "f6",
        "download",
        "download",
        "fetch the base from the hub, after a question; again to cancel",
        ("base",),
    ),
    Key("token", "f7", "f7", "token", "token", "sign in to the hub, for bases whose terms must be accepted", ("base",)),
    Key(
        "last_check",
        "enter",
        "enter",
        "next",
        "one real step",
        "make the last check: one real step, which measures memory and speed on this machine; then it asks",
        ("preflight",),
        changes=True,
    ),
    Key("start", "enter", "enter", "start", "start training", "start the run in the background", ("preflight",), changes=True),
    Key(
        "start_unmeasured",
        "s",
        "s",
        "start_unmeasured",
        "start without it",
        "start the run without the real step",
        ("preflight",),
        changes=True,
    ),
    Key("probe_again", "p", "p", "probe_again", "measure again", "make another real step", ("preflight",), changes=True),
    Key("cancel_probe", "p", "p", "cancel_probe", "cancel the step", "end the real step that is being made", ("preflight",)),
    Key("check_again", "r", "r", "check_again", "check again", "run the checks again", ("preflight",)),
    Key("mend", "m", "m", "mend", "mend", "go to where the chosen error or warning can be mended", ("preflight",)),
    Key("reset", "r", "r", "reset", "reset", "put the value of this field back to the preset's", ("plan",)),
    Key("reset_text", "f6", "f6", "reset", "reset", "put this field back to the preset's", ("samples",)),
    Key("add_prompt", "f7", "f7", "add", "add", "add a prompt below this one", ("samples",)),
    Key("drop_prompt", "f8", "f8", "drop", "remove", "remove this prompt", ("samples",)),
    Key("advanced", "a", "a", "advanced", "all settings", "every setting with its reason and range", ("plan",)),
    Key("back", "escape", "esc", "back", "back", "go back one step", WIZARD),
    Key("sample", "s", "s", "command('sample')", "sample", "make the sample images now", ("training",), changes=True),
    Key("checkpoint", "c", "c", "command('checkpoint')", "checkpoint", "save a checkpoint now", ("training",), changes=True),
    Key(
        "pause",
        "p",
        "p",
        "command('pause')",
        "pause",
        "save a checkpoint, free the GPU and end, to be resumed",
        ("training",),
        changes=True,
    ),
    Key("resume", "r", "r", "resume", "resume", "go on from the last checkpoint", ("training",), changes=True),
    Key("stop", "x", "x", "stop", "stop", "save and end the run, after a question", ("training",), changes=True),
    Key("validate", "v", "v", "validate", "validate", "open the guided check", ("training",)),
    Key("earlier", "left", "←→", "scrub(-1)", "samples", "earlier samples; the plot points at their step", ("training",)),
    Key("image", "o,enter", "o", "open_image", "image", "the sample as large as the terminal can show it", ("training",)),
    Key(
        "after_epoch",
        "e",
        "e",
        "after_epoch",
        "after epoch",
        "stop when this epoch is complete; again to take that back",
        ("training",),
        changes=True,
    ),
    Key(
        "live_samples",
        "i",
        "i",
        "change_samples",
        "prompts",
        "other sample prompts, another interval",
        ("training",),
        changes=True,
    ),
    Key(
        "filter", "slash", "/", "filter", "filter", "lines of the log with some words, or /a regular expression/", ("training",)
    ),
    Key("large_plot", "1", "1", "enlarge('plot')", "loss", "the loss alone; again for everything", ("training",)),
    Key(
        "large_samples", "2", "2", "enlarge('samples')", "samples", "prompts against steps; again for everything", ("training",)
    ),
    Key("large_machine", "3", "3", "enlarge('machine')", "machine", "the machine alone; again for everything", ("training",)),
    Key("large_log", "4", "4", "enlarge('log')", "log", "the log alone; again for everything", ("training",)),
    Key("later", "right", "→", "scrub(1)", "", "later samples; beyond the last it follows the newest", ("training",)),
    Key("prompt_before", "up", "↑", "prompt(-1)", "", "the prompt before; older lines where the log is alone", ("training",)),
    Key("next_prompt", "down", "↓", "prompt(1)", "", "the next prompt; newer lines where the log is alone", ("training",)),
    Key("level", "w", "w", "level", "", "the log: everything, warnings and errors, errors alone", ("training",)),
    Key("log_scale", "l", "l", "log_scale", "", "the loss on a logarithmic scale, and back", ("training",)),
    Key("along_back", "left", "←→", "along(-1)", "row", "the image before in its row, such as an earlier step", _IMAGE),
    Key("along", "right", "→", "along(1)", "", "the next image in its row, such as a later step", _IMAGE),
    Key(
        "across_back",
        "up",
        "↑↓",
        "across(-1)",
        "column",
        "the image before in its column, such as another prompt",
        _IMAGE,
    ),
    Key("across", "down", "↓", "across(1)", "", "the next image in its column", _IMAGE),
    Key(
        "beside",
        "c",
        "c",
        "beside",
        "compare with",
        "beside it: the base, the nearest training image, nothing",
        ("validation_image",),
    ),
    Key(
        "pixels",
        "f",
        "f",
        "pixels",
        "real pixels",
        "in real pixels, if the terminal has them (kitty, iTerm2, sixel)",
        _IMAGE,
    ),
    Key("page", "b", "b", "page", "browser", "a page for your browser, reached through ssh; again to end it", _IMAGE),
    Key("close_image", "escape,o", "esc", "close", "back", "back to where you came from", _IMAGE),
    Key("next_part", "n", "n", "part(1)", "next", "the next part of the check", ("validation",)),
    Key("part_before", "p", "p", "part(-1)", "", "the part before", ("validation",)),
    Key("look", "enter", "enter", "look", "look", "to the images of this part; on an image, show it large", ("validation",)),
    Key(
        "tick",
        "space",
        "space",
        "tick",
        "tick",
        "tick this part as looked at and good, or take the tick away; under “next step”: mark what you saw",
        ("validation",),
        changes=True,
    ),
    Key(
        "make_grid",
        "g",
        "g",
        "make_grid",
        "make",
        "choose prompts, strengths, seeds and files, see what they cost, and make the images",
        ("validation",),
        changes=True,
    ),
    Key("go_on_grid", "r", "r", "go_on", "go on", "make the images that are missing", ("validation",), changes=True),
    Key("stop_grid", "x", "x", "stop", "stop", "end the making of images; it goes on later", ("validation",), changes=True),
    Key("note", "e", "e", "note", "note", "write a note", ("validation", "validation_files"), changes=True),
    Key("files", "f", "f", "files", "files", "the LoRA files: rate them, choose one, export it", ("validation",)),
    Key("panel", "tab,shift+tab", "tab", "panel", "switch", "change between the images and the list", ("validation",)),
    *(
        Key(
            f"rate_{stars}",
            str(stars),
            "1-5" if stars == 1 else str(stars),
            f"rate({stars})",
            "rate" if stars == 1 else "",
            f"give the file {stars} of 5 stars" if stars else "take the stars away",
            ("validation", "validation_files"),
            changes=True,
        )
        for stars in (1, 2, 3, 4, 5, 0)
    ),
    Key("choose_file", "space", "space", "choose", "the one", "choose the file, or none", ("validation_files",), changes=True),
    Key("export", "enter", "enter", "export", "export", "write the file under a name", ("validation_files",), changes=True),
    Key(
        "strengths_of",
        "s",
        "s",
        "strengths",
        "its strengths",
        "make the images of this file's strengths",
        ("validation_files",),
        changes=True,
    ),
    Key(
        "write_file", "enter", "enter", "next", "write", "write the file and its settings", ("validation_export",), changes=True
    ),
    Key("make_now", "enter", "enter", "next", "make them", "make the images", ("validation_make",), changes=True),
    Key(
        "strengths_grid",
        "f5",
        "f5",
        "with_grid('strengths')",
        "strengths",
        "with or without prompts × strengths",
        ("validation_make",),
    ),
    Key(
        "epochs_grid",
        "f6",
        "f6",
        "with_grid('checkpoints')",
        "epochs",
        "with or without prompts × epochs",
        ("validation_make",),
    ),
    Key("add_check_prompt", "f7", "f7", "add", "add", "add a prompt below this one", ("validation_make",)),
    Key("drop_check_prompt", "f8", "f8", "drop", "remove", "remove this prompt", ("validation_make",)),
    Key("close_check_part", "escape", "esc", "back", "back", "back to the check", _OVER_VALIDATION),
    Key("training", "t", "t", "training", "training", "back to the course of the training", ("validation",)),
    Key("runs", "escape", "esc", "back", "runs", "back to the list of runs", ("training", "validation")),
    Key("compared", "escape", "esc", "back", "runs", "back to the list of runs", ("compare",)),
    Key(
        "copy",
        "y",
        "y",
        "copy",
        "copy",
        "copy a path, a command or an error to your own clipboard; it is shown too",
        (
            "home",
            "compare",
            "training",
            "validation",
            "preflight",
            "dataset_image",
            *_IMAGE,
            "validation_files",
            "validation_export",
        ),
    ),
    Key("open_image", "enter", "enter", "open_image", "open", "on an image: open it large, with its caption", ("dataset",)),
    Key("show_files", "enter", "enter", "show_files", "images", "on a finding: only its images", ("dataset",)),
    Key("mend_finding", "m", "m", "mend", "mend", "choose the remedy of this finding", ("dataset",)),
    Key("close_part", "escape", "esc", "back", "back", "back to the data set", _OVER_DATASET),
    Key("edit_caption", "e,enter", "e", "edit", "caption", "write in the caption; esc ends it", ("dataset_image",)),
    Key(
        "end_caption",
        "escape",
        "esc",
        "end_editing",
        "done",
        "end the writing; the caption is not saved yet",
        ("dataset_image",),
    ),
    Key(
        "save_captions",
        "s",
        "s",
        "save_captions",
        "save captions",
        "write the edited captions to their files; the old ones are kept",
        ("dataset", *_OVER_DATASET),
        changes=True,
    ),
    Key(
        "next_image",
        "right,pagedown",
        "→",
        "step(1)",
        "next",
        "the next image; while writing, pgdn",
        ("dataset_image",),
    ),
    Key(
        "image_before",
        "left,pageup",
        "←",
        "step(-1)",
        "before",
        "the one before; while writing, pgup",
        ("dataset_image",),
    ),
    Key("apply_edit", "enter", "enter", "next", "make this change", "make the change that is shown", ("dataset_captions",)),
    Key(
        "carry_out",
        "enter",
        "enter",
        "carry_out",
        "carry out",
        "make the copy with these changes",
        ("dataset_changes",),
        changes=True,
    ),
    Key("drop_change", "x", "x", "drop", "not this one", "take one change back", ("dataset_changes",)),
    Key(
        "leave_out",
        "x",
        "x",
        "leave_out",
        "leave out",
        "leave the image out, or take it in again",
        ("dataset", "dataset_image"),
    ),
    Key("go_on", "n", "n", "go_on", "next", "go on to the next step", ("dataset",)),
    Key("switch_pane", "tab,shift+tab", "tab", "switch_pane", "switch", "between form, findings and images", ("dataset",)),
    Key("captions", "c", "c", "captions", "captions", "change all captions at once, with a preview", ("dataset",)),
    Key("deep", "d", "d", "deep", "deep check", "look at every pixel: blur, light, doubles, borders, faces", ("dataset",)),
    Key("faces", "f", "f", "faces", "faces", "look for faces too; gets the detector once (230 KB)", ("dataset",)),
    Key("deep_stop", "d", "d", "stop_deep", "stop check", "end the deep check; what it found stays", ("dataset",)),
    Key("changes", "w", "w", "changes", "what changes", "list everything that will be done", ("dataset",)),
    Key("undo", "u", "u", "undo", "undo", "take the last change back", ("dataset", *_OVER_DATASET)),
    Key("redo", "r", "r", "redo", "redo", "do it again after all", ("dataset", *_OVER_DATASET)),
    Key("about_down", "down", "↓", "scroll_about(2)", "", "scroll what is said of the image", ("dataset_image",)),
    Key("about_up", "up", "↑", "scroll_about(-2)", "", "and back up", ("dataset_image",)),
    Key("turn", "o", "o", "remedy('rotate')", "", "turn it upright as its EXIF note says", ("dataset_image",)),
    Key("convert", "v", "v", "remedy('convert')", "", "convert it to plain sRGB", ("dataset_image",)),
    Key("flatten", "f", "f", "remedy('flatten')", "", "lay it on a plain background", ("dataset_image",)),
    Key("mirror", "i", "i", "remedy('mirror')", "", "mirror it left to right", ("dataset_image",)),
    Key("crop", "k", "k", "remedy('crop')", "", "crop it around the subject", ("dataset_image",)),
    Key("shrink", "z", "z", "remedy('shrink')", "", "shrink it to 3000 px", ("dataset_image",)),
    Key("pixels_of_photo", "p", "p", "pixels", "real pixels", "in real pixels, if the terminal has them", ("dataset_image",)),
    Key(
        "read_again",
        "f5",
        "f5",
        "read_again",
        "read again",
        "read the folder again: images have come or changed",
        ("dataset",),
    ),
    Key("copy_line", "y", "y", "copy", "copy the line", "copy the line that brings photos here", ("dataset",)),
    Key("help", "question_mark,f1", "?", "help", "help", "this help", _EVERYWHERE),
    Key("palette", "ctrl+p", "ctrl+p", "palette", "", "every command of this screen, found by typing", _EVERYWHERE),
    Key("jump", "ctrl+o,f4", "ctrl+o", "jump", "", "jump to any part of the screen by a letter", _EVERYWHERE),
    Key("preferences", "f2", "f2", "preferences", "", "theme, bell, window title, price of this machine", _EVERYWHERE),
    Key(
        "repaint",
        "ctrl+l",
        "ctrl+l",
        "app.repaint",
        "",
        "draw the whole screen again, when something else has written on it",
        _EVERYWHERE,
        anywhere=True,
    ),
    Key(
        "scroll_pane",
        "pagedown",
        "pgdn",
        "scroll_pane(1)",
        "more",
        "the rest of the text that does not fit",
        ("preset", "plan", "validation_export"),
        first=True,
    ),
    Key(
        "scroll_pane_back",
        "pageup",
        "pgup",
        "scroll_pane(-1)",
        "",
        "back up in that text",
        ("preset", "plan", "validation_export"),
        first=True,
    ),
    Key(
        "suspend",
        "ctrl+z",
        "ctrl+z",
        "app.suspend_process",
        "",
        "put loratui aside; fg in the shell brings it back",
        _EVERYWHERE,
    ),
    Key("debug", "f9", "f9", "debug", "", "versions, terminal and last errors, to paste into a bug report", _EVERYWHERE),
    Key("leave", "q", "q", "app.leave", "leave", "leave; runs go on, and loratui comes back to them", _EVERYWHERE),
)


def keys_of(context: str, table: Iterable[Key] = KEYS) -> tuple[Key, ...]:
    """The keys that work on a screen, in the order in which they are shown."""
    return tuple(key for key in table if context in key.contexts)


def action_name(key: Key) -> str:
    """The action without its target and its parameters, as `check_action` is asked for it."""
    return key.action.rpartition(".")[2].partition("(")[0]


def bindings_for(context: str) -> list[Binding]:
    """Textual's bindings for a screen."""
    return [
        Binding(
            key.keys,
            key.action,
            key.label,
            show=bool(key.label),
            key_display=key.shown,
            priority=key.first,
            tooltip=key.help,
            id=key.id,
        )
        for key in keys_of(context)
    ]


def bindings_anywhere() -> list[Binding]:
    """Textual's bindings for the app itself, which come before those of whatever has the focus."""
    return [Binding(key.keys, key.action, show=False, priority=True, id=key.id) for key in KEYS if key.anywhere]


def changing_actions(context: str, table: Iterable[Key] = KEYS) -> frozenset[str]:
    """Names of the actions of a screen that start, command or delete something."""
    return frozenset(action_name(key) for key in keys_of(context, table) if key.changes)


def written(name: str) -> str:
    """Textual's name of a key as people write it: `escape` is `esc`, `question_mark` is `?`."""
    from textual.keys import key_to_character

    if name in _SHORT:
        return _SHORT[name]
    character = key_to_character(name)
    return character if character and character.isprintable() and character != " " else name


def remapped(wanted: Mapping[str, str], table: tuple[Key, ...] = KEYS) -> tuple[tuple[Key, ...], dict[str, str]]:
    """The table with other keys for some ids, and id -> what is wrong for each that could not be taken.

    `wanted` maps an id to Textual's names of keys, separated by commas. A key that another action of the same screen
    has keeps its old one; ids that are unknown are the caller's to refuse.
    """
    new = tuple(_with_keys(key, wanted[key.id]) if key.id in wanted else key for key in table)
    typed = {key.id: name for key in new if key.anywhere for name in key.keys.split(",") if len(written(name)) == 1}
    problems = {id: f"{written(name)} is typed in fields, where {id} works too" for id, name in typed.items()}
    new = tuple(old if key.id in typed else key for key, old in zip(new, table, strict=True))
    while clash := _first_clash(new, wanted.keys() - problems.keys()):
        ours, other, name = clash
        problems[ours.id] = f"{written(name)} is the key of {other.id} ({other.help}) on the same screen"
        back = next(key for key in table if key.id == ours.id)
        new = tuple(back if key.id == ours.id else key for key in new)
    return new, problems


def _with_keys(key: Key, names: str) -> Key:
    return dataclasses.replace(key, keys=names, shown=written(names.split(",")[0]))


def _first_clash(table: tuple[Key, ...], ids: Iterable[str]) -> tuple[Key, Key, str] | None:
    """A key whose id is in `ids`, the key of the same screen that it takes, and the name of what both want."""
    for ours in (key for key in table if key.id in set(ids)):
        for other in table:
            both = set(ours.keys.split(",")) & set(other.keys.split(","))
            if other.id != ours.id and both and set(ours.contexts) & set(other.contexts):
                return ours, other, min(both)
    return None
