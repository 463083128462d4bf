"""The verdict on a run's images, its best file and its advice, in words for screens and plain lines. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from textual.content import Content

from loratui.engine.proof.judgement import Advice, Best, Do, Judgement, Kind
from loratui.engine.proof.told import VERDICTS
from loratui.engine.words import count, joined
from loratui.tui.widgets.line import joined as together
from loratui.tui.widgets.line import plain
from loratui.tui.wizard.draft import value_in_words

_TONES: Mapping[Kind, str] = {
    "good": "$success",
    "undertrained": "$warning",
    "overtrained": "$warning",
    "memorised": "$error",
    "wrong_data": "$error",
    "unclear": "$muted",
}


def headline(judged: Judgement) -> str:
    """`Overtrained, 82 % sure`."""
    return f"{VERDICTS[judged.kind][0]}, {round(judged.confidence * 100)} % sure"


def meaning(judged: Judgement) -> str:
    """What the verdict says of the LoRA, in a sentence."""
    return VERDICTS[judged.kind][1]


def tone(judged: Judgement) -> str:
    """The colour of the verdict."""
    return _TONES[judged.kind]


def best_words(best: Best) -> str:
    """`step 120 at strength 0.8. It is most like her without a copy.`"""
    name = PurePosixPath(best.file).name if best.step is None else f"step {best.step}"
    return f"{name} at strength {best.strength:g}. {best.reason}".rstrip()


def is_for_the_person(advice: Advice) -> bool:
    """Whether no program can do it."""
    return advice.do == Do(look=advice.do.look)


def doing(do: Do) -> str:
    """What applying it does, as a sentence."""
    if do.use is not None:
        return f"Apply chooses {PurePosixPath(do.use.file).name}; use it at strength {do.use.strength:g}."
    if do.continue_epochs:
        return f"Apply plans {count(do.continue_epochs, 'epoch')} more from the newest checkpoint."
    if do.settings:
        changes = [f"{key} {value_in_words(key, value)}" for key, value in do.settings.items()]
        return f"Apply plans a run with {joined(changes, 'and')}."
    if do.leave_out:
        return f"Apply plans a run without {_images(do.leave_out)}."
    if do.re_caption:
        return f"Apply opens the dataset: write better captions for {_images(do.re_caption)}."
    return f"You can do it: {do.look}"


def short(judged: Judgement) -> Content:
    """Three lines: the verdict with its first reason, the best file, and the first advice."""
    first = f": {judged.reasons[0]}" if judged.reasons else f": {meaning(judged)}"
    more = f" (+{len(judged.reasons) - 1})" if len(judged.reasons) > 1 else ""
    lines = [together(plain(headline(judged), f"bold {tone(judged)}"), plain(f"{first}{more}"))]
    if judged.best is not None:
        lines.append(together(plain("Best    ", "$accent"), plain(best_words(judged.best))))
    if judged.advice:
        more = f" (+{len(judged.advice) - 1})" if len(judged.advice) > 1 else ""
        lines.append(together(plain("Advice  ", "$accent"), plain(f"{judged.advice[0].change}{more}")))
    return Content("\n").join(lines)


def whole(judged: Judgement) -> Content:
    """The verdict with all its reasons, and the best file."""
    lines = [together(plain(headline(judged), f"bold {tone(judged)}"), plain(f". {meaning(judged)}"))]
    lines += [together(plain("· ", "$accent"), plain(reason)) for reason in judged.reasons]
    if judged.best is not None:
        lines += [together(plain("Best file  ", "bold $accent"), plain(best_words(judged.best)))]
    return Content("\n").join(lines)


def option(advice: Advice) -> Content:
    """An advice in a list: what to change, why, and what applying it does."""
    return Content("\n").join(
        [plain(advice.change, "bold"), plain(f"  {advice.why}", "$muted"), plain(f"  {doing(advice.do)}")]
    )


def lines(judged: Judgement, run: str) -> Iterator[str]:
    """The whole judgement in plain lines, with the command that applies each advice."""
    yield f"Verdict: {headline(judged)}. {meaning(judged)}"
    yield from (f"  {reason}" for reason in judged.reasons)
    if judged.best is not None:
        yield f"Best file: {best_words(judged.best)}"
    for advice in judged.advice:
        yield f"Advice: {advice.change} {advice.why}".rstrip()
        yield f"  {how(advice, run)}"


def how(advice: Advice, run: str) -> str:
    """How to apply an advice from a shell."""
    do = advice.do
    if do.use is not None:
        return f"Use it at strength {do.use.strength:g}: loratui keep {run} --file {PurePosixPath(do.use.file).name}"
    if do.re_caption:
        return f"You can do it: write better captions for {_images(do.re_caption)}."
    return doing(do) if is_for_the_person(advice) else f"loratui continue {run} --advice {advice.id}"


def _images(names: tuple[str, ...]) -> str:
    return joined(list(names), "and") if len(names) <= 3 else f"{', '.join(names[:3])} and {len(names) - 3} more"
