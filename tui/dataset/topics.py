"""What the dataset step lists and explains: the set at a glance, each finding, concepts, what is left out, captions as trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath

from textual.content import Content

from loratui.engine.dataset.archives import left_out_of
from loratui.engine.dataset.buckets import Bucket, BucketRule, assign
from loratui.engine.findings import Finding
from loratui.engine.planning.plan import Plan
from loratui.engine.words import listed
from loratui.presets.schema import Settings
from loratui.tui import text
from loratui.tui.dataset.edits import DatasetEdits
from loratui.tui.dataset.judging import Judgement, Trained
from loratui.tui.dataset.quick_fixes import QuickFix
from loratui.tui.findings import SIGNS, TONES, WORDS
from loratui.tui.widgets.line import plain

MOST_NAMES = 12


@dataclass(frozen=True, slots=True)
class Topic:
    """A row of the list."""

    id: str
    title: Content
    detail: Content
    files: tuple[str, ...] = ()
    """Images that it is about."""
    fix: QuickFix | None = None


def topics(prepared: DatasetEdits, judged: Judgement, settings: Settings, measuring: bool) -> Iterator[Topic]:
    """Every row: the set, then the findings with the gravest first, then the rest."""
    yield Topic("set", _row("●", "$accent", "the set", _sum(prepared)), _overview(prepared, settings))
    if judged.advised:
        yield _advised(judged.advised, settings)
    rows = list(zip(judged.findings, judged.fixes, judged.fixed, strict=True))
    for finding, fix, done in sorted(rows, key=lambda row: row[2]):
        yield _finding(finding, fix, done)
    if judged.examples:
        shown = text.count(len(judged.examples), "caption")
        yield Topic(
            "trained", _row("○", "$muted", "trained with", f"{shown} as the model sees them"), _trained(judged, settings)
        )
    if judged.plan is not None and (len(judged.plan.concepts) > 1 or judged.plan.regularisation_images):
        names = ", ".join(concept.name or "the set" for concept in judged.plan.concepts[:4])
        yield Topic("concepts", _row("○", "$muted", "concepts", names), _concepts(judged.plan, settings))
    lost = [*((item.relative, item.reason) for item in prepared.edited.left_out), *left_out_of(prepared.root)]
    if lost:
        yield Topic("left_out", _row("○", "$muted", "left out", text.count(len(lost), "file")), _table(lost))
    if judged.not_checked:
        yield Topic(
            "not_checked",
            _row("○", "$muted", "not checked", text.count(len(judged.not_checked), "check")),
            _not_checked(judged, measuring),
        )


def summary(prepared: DatasetEdits, judged: Judgement | None, deep: str) -> Content:
    """The line that says how the set stands."""
    training = prepared.edited.training
    captioned = sum(bool(image.caption) for image in training)
    parts = [plain(f"✔ {text.count(len(training), 'image')}, {text.number(captioned)} captioned", "$success")]
    if judged is None:
        parts.append(plain("checking …", "$muted"))
    else:
        counts = [(severity, judged.count(severity)) for severity in ("error", "warning", "info")]
        parts += [
            plain(f"{SIGNS[severity]} {text.count(count, WORDS[severity])}", TONES[severity])
            for severity, count in counts
            if count
        ]
    if deep:
        parts.append(plain(deep, "$accent"))
    if prepared.chosen.remedies:
        parts.append(plain(f"◆ {text.count(len(prepared.chosen.remedies), 'change')}", "$accent"))
    if prepared.unsaved:
        parts.append(plain(f"✎ {text.number(prepared.unsaved)} unsaved", "$warning"))
    return Content("  ").join(parts)


def caption_content(trained: Trained) -> Content:
    """A caption with its end struck where the model does not read it, and marked in words too."""
    parts = [plain(trained.read or "(an empty caption)")]
    if trained.cut:
        parts += [plain("✂ cut off: ", "bold $error"), plain(trained.cut, "strike $error")]
    return Content.assemble(*parts)


def token_words(trained: Trained) -> str:
    """How much of the text encoder's window a caption fills."""
    if trained.exact:
        return f"{trained.tokens} of {text.count(trained.window, 'token')}"
    return f"about {trained.tokens} of {text.count(trained.window, 'token')} (estimated: the base is not here)"


def _advised(names: tuple[str, ...], settings: Settings) -> Topic:
    title = _row("◆", "$accent", "advice", f"better captions for {text.count(len(names), 'image')}")
    run = PurePath(settings.output.planned_from).name
    lines = [
        plain(f"The validation of {run} advises other captions for these images:"),
        plain(listed(names, MOST_NAMES), "bold"),
        plain("enter shows only these. Open one, write what the photo shows, and save it with s.", "$muted"),
    ]
    return Topic("advice", title, Content("\n\n").join(lines), names)


def _row(sign: str, tone: str, word: str, rest: str) -> Content:
    return Content.assemble(plain(f"{sign} {word}", tone), plain(f"  {rest}"))


def _sum(prepared: DatasetEdits) -> str:
    training = prepared.edited.training
    return f"{text.count(len(training), 'image')}, {text.number(sum(bool(i.caption) for i in training))} with a caption"


def _finding(finding: Finding, fix: QuickFix | None, done: bool) -> Topic:
    severity = finding.severity
    sign, tone = ("✔", "$success") if done else (SIGNS[severity], TONES[severity])
    word = "fixed" if done else WORDS[severity]
    lines = [plain(finding.message, "bold")]
    if done:
        lines.append(plain("✔ Its quick fix is chosen; w lists the changes, u undoes it.", "$success"))
    if finding.why:
        lines.append(Content.assemble(plain("Why it matters: ", "$muted"), plain(finding.why)))
    if finding.remedy:
        lines.append(Content.assemble(plain("What to do: ", "$muted"), plain(finding.remedy)))
    if fix is not None:
        lines.append(Content.assemble(plain("m", "bold $accent"), plain(f"  {fix.label}")))
    if finding.files:
        more = len(finding.files) - MOST_NAMES
        lines.append(plain(f"{text.count(len(finding.files), 'file')}:", "$muted"))
        lines += [plain(f"  {name}") for name in finding.files[:MOST_NAMES]]
        if more > 0:
            lines.append(plain(f"  and {text.number(more)} more", "$muted"))
    title = _row(sign, tone, word, finding.message)
    # A finding that is fixed becomes another row, so that the highlight goes on to the next one.
    id = f"{'fixed' if done else 'finding'}:{finding.code}:{finding.files[:1]}"
    return Topic(id, title, Content("\n").join(lines), finding.files, fix)


def _overview(prepared: DatasetEdits, settings: Settings) -> Content:
    training = prepared.edited.training
    lines = [plain(f"In {prepared.root}", "$muted")]
    sizes = Counter((image.width, image.height) for image in training).most_common()
    lines.append(plain(f"sizes: {_first((f'{text.number(n)} of {w} × {h} px' for (w, h), n in sizes), len(sizes))}"))
    rule = BucketRule.of(settings.dataset)
    buckets: Counter[Bucket] = Counter()
    for (width, height), count in sizes:
        buckets[assign(width, height, rule)] += count
    shown = (f"{text.number(n)} at {bucket.width} × {bucket.height}" for bucket, n in buckets.most_common())
    lines.append(plain(f"trained at: {_first(shown, len(buckets))}"))
    if prepared.edited.regularisation:
        lines.append(plain(text.count(len(prepared.edited.regularisation), "regularisation image")))
    for concept in prepared.edited.concepts:
        if concept.folder_repeats is not None and not concept.regularisation:
            name = concept.folder or prepared.root.name
            lines.append(
                plain(
                    f"{name}: {text.count(concept.images, 'image')}, {text.count(concept.folder_repeats, 'repeat')} by its name"
                )
            )
    if prepared.needs_copy and prepared.copy is not None:
        lines.append(plain(f"Trained from a copy with your changes: {prepared.copy}", "$accent"))
    elif prepared.needs_copy:
        lines.append(plain("Going on makes the changes on a copy; this folder stays as it is.", "$accent"))
    lines.append(plain("Buckets are the sizes that images are trained at, grouped by shape; nothing is stretched.", "$muted"))
    return Content("\n").join(lines)


def _first(shown: Iterator[str], count: int, most: int = 3) -> str:
    names = [name for name, _ in zip(shown, range(most), strict=False)]
    return ", ".join(names) + (f" and {text.count(count - most, 'other size')}" if count > most else "")


def _trained(judged: Judgement, settings: Settings) -> Content:
    lines: list[Content] = []
    for trained in judged.examples:
        lines.append(plain(f"{trained.name}  {token_words(trained)}", "$muted"))
        lines.append(Content.assemble("  ", caption_content(trained)))
    several = max((trained.of for trained in judged.examples), default=1)
    if several > 1:
        lines.append(
            plain(f"Of up to {text.count(several, 'caption')} an image, one is drawn each time, all equally often.", "$muted")
        )
    if settings.dataset.shuffle_captions:
        keep = settings.dataset.keep_tokens
        stays = f"The first {text.count(keep, 'tag')} stay; the" if keep else "The"
        lines.append(plain(f"{stays} others change places each time; this is one of their orders.", "$muted"))
    lines.append(plain("A token is a word or a piece of one; what lies beyond the limit is not read at all.", "$muted"))
    return Content("\n").join(lines)


def _concepts(plan: Plan, settings: Settings) -> Content:
    subject = sum(concept.images * concept.repeats for concept in plan.concepts) or 1
    widths = (22, -8, -8, -12, -6)
    lines = [plain(text.columns(("concept", "images", "repeats", "image-steps", "share"), widths), "$muted")]
    for concept in plan.concepts:
        steps = concept.images * concept.repeats
        cells = (concept.name or "the set", str(concept.images), str(concept.repeats), str(steps), f"{steps / subject:.0%}")
        lines.append(plain(text.columns(cells, widths)))
    if plan.regularisation_images:
        cost = plan.image_steps_per_epoch - subject
        cells = ("regularisation", str(plan.regularisation_images), "–", str(cost), "")
        lines.append(plain(text.columns(cells, widths)))
        lines.append(
            plain(
                f"Regularisation images remind the model of the class, so that not everyone gets the subject's face. They cost "
                f"{text.number(cost)} image-steps an epoch, {cost / (subject + cost):.0%} of the time, at weight "
                f"{settings.training.prior_weight:g}."
            )
        )
    lines.append(plain("An image-step shows one image once; figures are for one epoch (one pass over all).", "$muted"))
    shares = [concept.images * concept.repeats / subject for concept in plan.concepts]
    if len(shares) > 1 and max(shares) > 2 * min(shares):
        lines.append(plain("! One concept is shown more than twice as often as another; it will win.", "$warning"))
    return Content("\n").join(lines)


def _table(rows: list[tuple[str, str]], most: int = 200) -> Content:
    lines = [Content.assemble(plain(name, "bold"), plain(f"  {reason}")) for name, reason in rows[:most]]
    if len(rows) > most:
        lines.append(plain(f"and {text.number(len(rows) - most)} more", "$muted"))
    return Content("\n").join(lines)


def _not_checked(judged: Judgement, measuring: bool) -> Content:
    reasons: dict[str, list[str]] = {}
    for id, reason in judged.not_checked:
        reasons.setdefault(reason, []).append(id.replace("_", " "))
    lines = [Content.assemble(plain(f"{reason}: ", "$muted"), plain(", ".join(ids))) for reason, ids in reasons.items()]
    if any("face" in reason for reason in reasons):
        lines.append(
            Content.assemble(plain("f", "bold $accent"), plain("  looks for faces too: how many, how large. Gets 230 KB once."))
        )
    if not measuring and any("deep" in reason for reason in reasons):
        lines.append(
            Content.assemble(
                plain("d", "bold $accent"),
                plain("  looks at every pixel: blur, light, doubles, borders. You can go on working meanwhile."),
            )
        )
    return Content("\n").join(lines)
