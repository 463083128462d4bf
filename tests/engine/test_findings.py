"""The table of findings: what holds for every row, and how words are made of a finding."""

from __future__ import annotations

import json
import re
import string
from typing import get_args

import pytest

from loratui.engine.dataset.checks import CHECKS
from loratui.engine.errors import DatasetError, DiskError, GpuLostError, UsageError
from loratui.engine.findings import SUBJECTS, CaptionFix, Finding, ImageFix, Severity, counted, graver, worst_first
from loratui.presets import SOURCES
from loratui.presets.schema import KEYS

ROWS = [(subject, key, kind) for subject in SUBJECTS for key, kind in subject.kinds.items()]


def places(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def test_a_code_belongs_to_one_subject_and_its_sentences_to_one_row_each() -> None:
    keys = [key for _, key, _ in ROWS]
    assert len(set(keys)) == len(keys)
    subjects = {(key.partition(".")[0], subject.name) for subject, key, _ in ROWS}
    assert len({code for code, _ in subjects}) == len(subjects)


def test_a_row_has_a_severity_and_a_fix_that_are() -> None:
    assert {kind.severity for _, _, kind in ROWS} == set(get_args(Severity))
    assert {kind.fix for _, _, kind in ROWS} - {None} == {*get_args(ImageFix), *get_args(CaptionFix)}


def test_every_source_is_known() -> None:
    named = {source for _, _, kind in ROWS for source in kind.source.removesuffix(", comments").split(", ")}
    assert named <= SOURCES.keys()


def test_every_check_of_a_data_set_has_a_row() -> None:
    of_dataset = {key.partition(".")[0] for subject, key, _ in ROWS if subject.name == "dataset"}
    by_the_scan = {
        "zip_left_out",
        "zip_ignored",
        "not_measured",
        "gathered",
        "gathered_changed",
        "gathered_ignored",
        "gathered_left_out",
    }
    assert {check.code for check in CHECKS} == of_dataset - by_the_scan


@pytest.mark.parametrize(("subject", "key", "kind"), ROWS, ids=[key for _, key, _ in ROWS])
def test_every_row_can_be_said(subject: object, key: str, kind: object) -> None:
    """Each place is filled with something of the right form; what is grave says what to do."""
    row = Finding(key).kind
    figures: dict[str, object] = dict.fromkeys(places(row.message + row.why + row.remedy), 3)
    listed = ("profiles", "instead", "spellings", "better", "named", "pairs", "tags", "keys", "others", "files",
              "clash", "exact", "holders", "runs", "lacks", "folders", "changed", "unused")  # fmt: skip
    figures |= dict.fromkeys(listed, ("a", "b"))
    found = Finding(key, figures, ("a.png", "b.png"), {"adapter.rank": 8})
    assert found.message.strip()
    assert "{" not in (found.message + found.remedy + found.why).replace("{red|blue}", "").replace("each { closed", "")
    assert found.severity == "info" or row.remedy
    assert json.loads(json.dumps(found.to_json()))["id"] == found.code


def test_no_row_counts_by_hand() -> None:
    """A number before a noun is put there by `count` or `are`, which know one from several."""
    by_hand = re.compile(
        r"\{[\w.]+(:number)?\} (regularisation )?(image|caption|epoch|step|repeat|layer|token|concept|line)s\b"
    )
    assert [key for _, key, kind in ROWS if by_hand.search(f"{kind.message} {kind.why} {kind.remedy}")] == []


def test_settings_are_said_as_they_are_typed() -> None:
    settings = {"optimizer.learning_rate": 1e-4, "adapter.dora": False, "training.ema_decay": 0.999, "adapter.rank": 8}
    assert settings.keys() <= KEYS.keys()
    said = Finding.of("adapter_settings.dora", kind="loha", settings=settings).remedy
    assert said == "Set optimizer.learning_rate=1e-4 and adapter.dora=false and training.ema_decay=0.999 and adapter.rank=8."


def test_one_file_and_several_are_spoken_of_as_such() -> None:
    assert Finding.of("left_out", ["a.png"], reason="is damaged").message == "a.png is damaged."
    several = Finding.of("left_out", [f"{n}.png" for n in range(7)], reason="is damaged").message
    assert several == "7 files (0.png, 1.png, 2.png, 3.png, 4.png …): each is damaged."
    assert Finding.of("blurred", ["{x}.png"]).message == "1 image without a sharp part: {x}.png."


def test_why_names_its_source() -> None:
    assert Finding.of("dark").why == "What cannot be seen cannot be learnt (FLUX guide)."
    assert Finding.of("batch_large", batch=8).why == "Valstrix"
    assert Finding.of("rank_high", rank=512, least=4, most=64, limit_of="yours").source == "yours"


@pytest.mark.parametrize(
    ("key", "step", "error"),
    [
        ("base_missing", "base", UsageError),
        ("adapter_settings.dora", "plan", UsageError),
        ("guidance_high", "samples", UsageError),
        ("disk_full", "", DiskError),
        ("output_not_writable", "", DiskError),
        ("caption_missing.empty", "dataset", DatasetError),
        ("gpu_lost", "plan", GpuLostError),
        ("gpu_unusable", "plan", UsageError),
    ],
)
def test_a_subject_says_where_it_is_fixed_and_how_a_refused_start_ends(key: str, step: str, error: type) -> None:
    assert (Finding(key).subject.step, Finding(key).subject.error) == (step, error)


def test_what_is_in_no_table_is_no_finding() -> None:
    with pytest.raises(AssertionError, match="few_steps"):
        Finding.of("few_steps")


def test_the_gravest_come_first() -> None:
    findings = [Finding.of("wide_bits"), Finding.of("dark"), Finding.of("no_pictures"), Finding.of("flat")]
    assert [finding.code for finding in worst_first(findings)] == ["no_pictures", "dark", "flat", "wide_bits"]
    assert counted(findings) == {"info": 1, "warning": 2, "error": 1}
    assert graver("info", "warning") == "warning"
