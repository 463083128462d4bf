"""Edits of captions in bulk, as pure functions from one text to another; nothing is saved here."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from loratui.engine.dataset import caption_words
from loratui.engine.dataset.captions import contains_trigger, lines, normalised
from loratui.engine.dataset.implications import Implications, same_tag


def trigger_first(caption: str, trigger: str) -> str:
    """The caption with the trigger as its first word.

    A caption that leads with it already (also as `a photo of anafox …`) stays; where it is a tag further back, it moves;
    where it stands in a sentence, it is put in front as a tag, and the sentence stays whole. Other spellings of it become
    the trigger.
    """
    trigger = trigger.strip()
    if not trigger:
        return caption
    caption = trigger_spelled(caption, trigger)
    if caption_words.leads(caption, trigger):
        return caption
    others = [part for part in caption_words.parts(caption) if part != trigger]
    return ", ".join((trigger, *others))


def trigger_spelled(caption: str, trigger: str) -> str:
    """The caption with other cases of the trigger and slips of one letter put right."""
    for odd in caption_words.spellings(caption, trigger):
        caption = re.sub(rf"(?<!\w){re.escape(odd)}(?!\w)", lambda _: trigger, caption)
    return caption


def with_class(caption: str, trigger: str, class_word: str) -> str:
    """The caption with the class word right behind the trigger, unless it follows already; without the trigger it stays."""
    trigger, class_word = trigger.strip(), class_word.strip()
    if not class_word or not trigger or not contains_trigger(caption, trigger):
        return caption
    if caption_words.followed_by(caption, trigger, class_word):
        return caption
    phrase = re.compile(rf"(?<!\w){re.escape(trigger)}(?!\w)(\s*,)?")
    return phrase.sub(lambda m: f"{trigger}, {class_word}," if m[1] else f"{trigger} {class_word}", caption, count=1)


def replaced(caption: str, old: str, new: str) -> str:
    """The caption with the words `old` replaced, as whole words, in any case; removed if `new` is empty."""
    old = old.strip()
    if not old:
        return caption
    before, after = (r"(?<!\w)" if old[0].isalnum() else "", r"(?!\w)" if old[-1].isalnum() else "")
    result = re.sub(before + re.escape(old) + after, lambda _: new.strip(), caption, flags=re.IGNORECASE)
    return caption if result == caption else _tidy(result)


def without_tag(caption: str, tag: str) -> str:
    """The caption without this tag, where it stands between commas, in any case."""
    wanted = same_tag(tag)
    parts = caption_words.parts(caption)
    kept = [part for part in parts if same_tag(part) != wanted]
    return caption if len(kept) == len(parts) else ", ".join(kept)


def without_score_tags(caption: str) -> str:
    """The caption without the score, source and rating tags of Pony."""
    result = caption_words.SCORE.sub("", caption)
    return caption if result == caption else _tidy(result)


def with_prefix(caption: str, prefix: str) -> str:
    """The caption with `prefix` in front as a tag, unless it begins with it."""
    prefix = prefix.strip(" ,")
    if not prefix or caption == prefix or re.match(re.escape(prefix) + r"(?!\w)", caption):
        return caption
    return f"{prefix}, {caption}" if caption else prefix


def with_suffix(caption: str, suffix: str) -> str:
    """The caption with `suffix` at its end as a tag, unless it ends with it or has this tag."""
    suffix = suffix.strip(" ,")
    there = same_tag(suffix) in map(same_tag, caption_words.parts(caption))
    if not suffix or there or re.search(r"(?<!\w)" + re.escape(suffix) + r"$", caption):
        return caption
    bare = caption.rstrip(" ,")
    return f"{bare}, {suffix}" if bare else suffix


def without_implied(caption: str, implies: Implications, keep: Collection[str] = ()) -> str:
    """The caption without tags that another of its tags implies, such as `hair` beside `red hair`; those in `keep` stay."""
    doubled = {other for _, other in caption_words.implied(caption, implies)} - set(map(same_tag, keep))
    kept = [part for part in caption_words.parts(caption) if same_tag(part) not in doubled]
    return ", ".join(kept) if doubled else caption


def with_tag_at(caption: str, tag: str, place: int) -> str:
    """The caption with this tag of it in another place, from 1 on; without the tag it stays."""
    parts = caption_words.parts(caption)
    found = [part for part in parts if same_tag(part) == same_tag(tag)]
    if not found:
        return caption
    others = [part for part in parts if part not in found]
    at = max(0, place - 1)
    moved = [*others[:at], *found, *others[at:]]
    return caption if moved == parts else ", ".join(moved)


def tags_sorted(caption: str, rank: Callable[[str], Any], *subject: str) -> str:
    """The caption with its tags in the order of `rank`; those that hold a word of `subject` (trigger, class word) stay in front.

    A caption in sentences stays: its commas part no tags.
    """
    if caption_words.style_of_one(caption) == "words":
        return caption
    parts = caption_words.parts(caption)
    front = [part for part in parts if any(word and contains_trigger(part, word) for word in subject)]
    ordered = [*front, *sorted((part for part in parts if part not in front), key=rank)]
    return caption if ordered == parts else ", ".join(ordered)


def changes(captions: Mapping[str, str], edit: Callable[[str], str], *, whole: bool = False) -> dict[str, str]:
    """What `edit` would change, by name: the new captions of those that differ. This is what is shown before a save.

    Of a caption with several lines each is edited by itself, as a caption of its own, unless `whole` says otherwise.
    """
    edited = {name: edit(caption) if whole else by_line(caption, edit) for name, caption in captions.items()}
    return {name: new for name, new in edited.items() if new != captions[name]}


def by_line(caption: str, edit: Callable[[str], str]) -> str:
    """The caption with each of its lines edited; lines of which nothing is left go."""
    return normalised("\n".join(edit(line) for line in lines(caption)))


def _tidy(caption: str) -> str:
    """Without empty parts and double spaces, which removing leaves behind."""
    return ", ".join(" ".join(part.split()) for part in caption_words.parts(caption))
