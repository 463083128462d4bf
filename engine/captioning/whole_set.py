"""What only all captions of a folder show: hair that never varies, words in most captions, and phrases that a model says of any image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from loratui.engine.captioning.cleaned import Flag
from loratui.engine.captioning.wish import Wish
from loratui.engine.dataset import caption_words

_FEWEST = 4
"""Captions, below which nothing repeats."""
_MOST = 0.6
"""Share of the captions from which a word is in most of them."""
_SEVERAL = 0.25
"""Share of the captions from which a phrase is in several, word for word; at least three."""
_PHRASE = (5, 4, 3)
"""Words of a phrase."""
_USUAL = caption_words.whole_words(
    *(
        "looking at the camera",
        "looking at camera",
        "looking at viewer",
        "in the background",
        "medium shot",
        "close-up",
        "full body",
    )
)


def flags(texts: Mapping[str, str], wish: Wish) -> dict[str, tuple[Flag, ...]]:
    """The flags of each caption, by the name under which it is given; those without any are left out."""
    written = {name: text for name, text in texts.items() if text}
    if len(written) < _FEWEST:
        return {}
    own = {word.lower() for word in (*caption_words.words(wish.trigger), *caption_words.words(wish.class_word))}
    in_each = {name: _content(text, own) for name, text in written.items()}
    counts = Counter(word for words in in_each.values() for word in words)
    common = {word for word, times in counts.items() if times >= _MOST * len(written)}
    phrases = _phrases(written, own)
    found: dict[str, tuple[Flag, ...]] = {}
    for name in written:
        said = tuple(phrase for phrase, names in phrases.items() if name in names)
        words = tuple(sorted(common & in_each[name] - set(" ".join(said).split())))
        both = (*((Flag("common", words),) if words else ()), *((Flag("invented", said),) if said else ()))
        if both:
            found[name] = both
    return found


def _content(text: str, own: set[str]) -> set[str]:
    return {
        word for each in caption_words.words(text) if (word := each.lower()) not in caption_words.GLUE | own and len(word) > 2
    }


def _phrases(texts: Mapping[str, str], own: set[str]) -> dict[str, set[str]]:
    """Phrase -> the captions that have it; a part of a longer phrase in the same captions is not named again."""
    where: dict[str, set[str]] = {}
    for name, text in texts.items():
        for phrase in set(_runs(text, own)):
            where.setdefault(phrase, set()).add(name)
    least = max(3, _SEVERAL * len(texts))
    often = sorted((phrase for phrase, names in where.items() if len(names) >= least), key=lambda p: (-len(p.split()), p))
    kept: dict[str, set[str]] = {}
    for phrase in often:
        if not any(phrase in longer and where[phrase] == names for longer, names in kept.items()):
            kept[phrase] = where[phrase]
    return kept


def _runs(text: str, own: set[str]) -> Iterator[str]:
    for part in caption_words.parts(text):
        words = [word.lower() for word in caption_words.words(part)]
        for length in _PHRASE:
            for at in range(len(words) - length + 1):
                run = words[at : at + length]
                content = [word for word in run if word not in caption_words.GLUE and len(word) > 2]
                phrase = " ".join(run)
                bounded = run[0] not in caption_words.GLUE and run[-1] not in caption_words.GLUE
                if bounded and len(content) >= 2 and not own & set(run) and not _USUAL.search(phrase):
                    yield phrase
