"""What a captioner is told: a caption for training leaves out what will be learnt, and names what varies."""

from __future__ import annotations

from collections.abc import Mapping

from loratui.engine.captioning.captioners import Captioner
from loratui.engine.captioning.wish import Length, Subject, Wish
from loratui.engine.dataset.checks.tags import FEWEST, MOST
from loratui.engine.words import count

_WORDS: Mapping[Length, int] = {"short": 15, "usual": 45, "long": 110}
TAGS: Mapping[Length, int] = {"short": 8, "usual": MOST, "long": MOST}
"""The most tags of a caption."""
_WORDS_PER_TOKEN = 0.65
"""Words of an English sentence for each token of CLIP or T5, with a reserve."""

_SUBJECTS: Mapping[Subject, tuple[str, ...]] = {
    "person": (
        "Leave out what does not change about the person: face, eyes, nose, lips, skin, age, ethnicity and body.",
        "Name the hair only by how it is worn, such as 'hair tied up'.",
        "Name what varies: clothes, pose, expression, what the person does and holds, the place, the light, the framing.",
    ),
    "character": (
        "Leave out what belongs to the character's design: face, eyes, colour of hair, skin or fur, marks and the usual outfit.",
        "Name what varies: pose, expression, action, unusual clothes, the place, the light, the framing.",
    ),
    "style": (
        "Name only what is shown: who or what, what they do, where they are, and how they are arranged.",
        "Never name the style, the medium, the technique, an artist, or the quality of the image.",
    ),
    "thing": (
        "Leave out what does not change about it: its own shape, colour, material and parts.",
        "Name what varies: where it is, how it is turned, what lies around it, who uses it, the light, the framing.",
    ),
}


def words_for(wish: Wish, length: Length) -> int:
    """The most words of a caption, from its length and the base's window."""
    return max(8, min(_WORDS[length], int(_WORDS_PER_TOKEN * wish.tokens)))


def instruction(captioner: Captioner, wish: Wish, length: Length | None = None, *, refused: str = "") -> str:
    """What `Model.captions` is given. For a captioner that reads no instruction this is the length, one of `LENGTHS`.

    `length` is by default the wish's; `refused` says what was wrong with the last answer, where the same image is asked again.
    """
    length = length or wish.length
    if not captioner.instructed:
        return length
    sentences = [_form(captioner, wish, length), *_SUBJECTS[wish.subject], _subject(captioner, wish)]
    sentences.append("Write only what you can see. No quality words, no scores, no Markdown, no introduction.")
    if wish.hint:
        sentences.append(f"Also note: {wish.hint}")
    if refused:
        sentences.append(f"Your last answer could not be used: {refused} Answer with the caption alone, in English.")
    return " ".join(sentence for sentence in sentences if sentence)


def _form(captioner: Captioner, wish: Wish, length: Length) -> str:
    if wish.form(captioner) == "tags":
        board = "e621" if wish.board == "e621" else "Danbooru"
        return (
            f"Write {FEWEST} to {count(TAGS[length], 'tag')} of this image, as {board} has them: in lower case, with spaces in place of "
            "underscores, parted by commas, the most important first, and none that another one implies."
        )
    return (
        "Write a caption of this image, with which an image model will be trained: plain English, one paragraph of at most "
        f"{words_for(wish, length)} words."
    )


def _subject(captioner: Captioner, wish: Wish) -> str:
    if wish.subject == "style" or not wish.named:
        return ""
    if wish.form(captioner) == "tags":
        return f'Do not name who or what it is; "{wish.named}" is put in front of your tags.'
    return f'Call the subject "{wish.named}" and begin with these words.'
