"""Every key of the app in one table, from which come the bindings of the screens, the key bar, the help and the palette."""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True)
class Context:
    """A screen, as the help explains it."""

    title: str
    help: str


CONTEXTS: dict[str, Context] = {
    "home": Context("Runs", "Every run on this machine. Runs go on by themselves; this list only looks at them."),
    "preset": Context(
        "Preset", "A preset is a recipe with a reason for every number. Choose the one nearest to what you want to train."
    ),
    "dataset": Context("Data set", "Your pictures and the word that will stand for them. Nothing is changed in your folder."),
    "plan": Context(
        "Plan", "How often the pictures are shown. Change a number and the arithmetic follows; r puts a number back."
    ),
    "preflight": Context(
        "Preflight", "What could go wrong, checked before the start. Errors must be mended; warnings may stay."
    ),
    "training": Context(
        "Training",
        "What the run tells. It goes on without this window: leave with q, come back with loratui attach. "
        "An image-step shows one picture once; an optimizer step changes the weights once, after a whole batch.",
    ),
    "validation": Context(
        "Validation",
        "Is it any good? The grid shows every prompt at several strengths of the LoRA; the checklist says what to look for.",
    ),
}

_WIZARD = ("preset", "dataset", "plan", "preflight")
_EVERYWHERE = tuple(CONTEXTS)

KEYS: tuple[Key, ...] = (
    Key("open", "enter", "enter", "open", "open", "open the run: its training, or its validation if it is done", ("home",)),
    Key("new", "n", "n", "new_run", "new run", "plan a new run", ("home",)),
    Key("demo", "t", "t", "demo", "try the demo", "plan the demo: an invented person, a few minutes, no download", ("home",)),
    Key(
        "validate_selected", "v", "v", "validate", "validate", "open the strength grid and the checklist of the run", ("home",)
    ),
    Key("delete", "d", "d", "delete", "delete", "delete the run, after a question", ("home",)),
    Key("next", "enter", "enter", "next", "next", "go on to the next step", ("preset", "dataset", "plan")),
    Key("start", "enter", "enter", "next", "start training", "start the run in the background", ("preflight",)),
    Key("check_again", "r", "r", "check_again", "check again", "run the checks again", ("preflight",)),
    Key("reset", "r", "r", "reset", "reset", "put the number of this field back to the preset's", ("plan",)),
    Key("back", "escape", "esc", "back", "back", "go back one step", _WIZARD),
    Key("sample", "s", "s", "command('sample')", "sample", "make the sample pictures now", ("training",)),
    Key("checkpoint", "c", "c", "command('checkpoint')", "checkpoint", "save a checkpoint now", ("training",)),
    Key(
        "pause", "p", "p", "command('pause')", "pause", "save a checkpoint, free the GPU and end, to be resumed", ("training",)
    ),
    Key("resume", "r", "r", "resume", "resume", "go on from the last checkpoint", ("training",)),
    Key("stop", "x", "x", "stop", "stop", "save and end the run, after a question", ("training",)),
    Key("validate", "v", "v", "validate", "validate", "open the strength grid and the checklist", ("training",)),
    Key("make_grid", "g", "g", "make_grid", "make grid", "make the pictures of the strength grid", ("validation",)),
    Key(
        "tick",
        "space,enter",
        "space",
        "tick",
        "tick",
        "tick the point of the checklist, or take the tick away",
        ("validation",),
    ),
    Key("panel", "tab,shift+tab", "tab", "panel", "switch", "change between grid and checklist", ("validation",)),
    Key("training", "t", "t", "training", "training", "back to the course of the training", ("validation",)),
    Key("runs", "escape", "esc", "back", "runs", "back to the list of runs", ("training", "validation")),
    Key("help", "question_mark,f1", "?", "app.help", "help", "this help", _EVERYWHERE),
    Key("theme", "f2", "f2", "app.next_theme", "", "next theme: dark, light, high contrast", _EVERYWHERE),
    Key("leave", "q", "q", "app.leave", "leave", "leave; runs go on, and loratui comes back to them", _EVERYWHERE),
)


def keys_of(context: str) -> tuple[Key, ...]:
    """The keys that work on a screen, in the order in which they are shown."""
    return tuple(key for key in KEYS if context in key.contexts)


def action_name(key: Key) -> str:
    """The action without its target and its parameters, as `check_action` is asked for it."""
    return key.action.rpartition(".")[2].partition("(")[0]


def bindings_for(context: str) -> list[Binding]:
    """Textual's bindings for a screen."""
    return [
        Binding(key.keys, key.action, key.label, show=bool(key.label), key_display=key.shown, tooltip=key.help, id=key.id)
        for key in keys_of(context)
    ]
