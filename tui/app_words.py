"""Words of the engine as the full-screen app says them: keys and fields in place of commands and options."""

from __future__ import annotations

import re

_INSTEAD = (
    (r"Name one with --base; loratui bases lists what is here\.", "Take one from the list below, or type a path or a name."),
    (
        r"fetch it with: loratui download \S+\. loratui bases lists what is here\.",
        "f6 fetches it. The list below has what is here.",
    ),
    (r"loratui bases lists what is here", "the list below has what is here"),
    (r"it is the trigger, add --trigger (\S+)\.", r"it is the trigger, go back and type \1."),
    (r"Give the made-up word in the captions with --trigger\.", "Go back and type a made-up trigger word."),
    (r", then: loratui login\b", ", then: f7"),
    (r": loratui login\b", ": f7"),
    (r" One in HF_TOKEN comes first\.", " If HF_TOKEN is set where loratui was started, that one is used instead."),
    (r"\b([Aa]dd|with) --repeats rule", r"\1 schedule.folder_repeats no, under all settings"),
    (r"the same command goes on", "f6 goes on with it"),
    (r"Run the download again: it asks the hub again\.", "f6 asks the hub again."),
    (
        r"or name (a|its) file (that you have )?with --set (\S+?)(=FILE)?(?=[.,]|$)",
        r"or name \1 file \2under all settings (\3)",
    ),
)


def in_keys(words: str) -> str:
    """`words` with the keys of the app for what the command line would have one type."""
    for command, key in _INSTEAD:
        words = re.sub(command, key, words)
    return words


def in_token_field(words: str) -> str:
    """The same where the field for the token is in front already."""
    return in_keys(words).replace(", then: f7", " and paste it here").replace(": f7", " here")
