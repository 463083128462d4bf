"""What a person changes while a run trains: kept, checked, and never trusted from the disk."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loratui.engine.runs import changes
from loratui.engine.runs.changes import ChangeError, Changes
from loratui.engine.runs.directory import RunDirectory


def test_they_are_kept_and_read_again(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    wanted = Changes(prompts=("a photo of {subject}", "{trigger} as a knight"), every_image_steps=250, stop_after_epoch=3)
    changes.write(run, wanted)
    assert changes.read(run) == wanted
    assert run.changes.stat().st_mode & 0o777 == 0o600


def test_the_most_and_longest_prompts_are_read_again(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    prompts = tuple(f"{at:04d}" + "🦊" * (changes.LONGEST_PROMPT - 4) for at in range(changes.MOST_PROMPTS))
    wanted = changes.with_samples(Changes(), {"prompts": prompts})
    changes.write(run, wanted)
    assert changes.read(run) == wanted


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'{"v":2,"stop_after_epoch":1}', b"\xff", b"[" * 9000, b'{"v":1,"stop_after_epoch":true,"prompts":5}'],
)
def test_a_damaged_file_changes_nothing(tmp_path: Path, body: bytes) -> None:
    run = RunDirectory(tmp_path)
    run.changes.write_bytes(body)
    assert changes.read(run) == Changes()


@pytest.mark.parametrize(
    ("args", "word"),
    [
        ({"prompts": []}, "at least one"),
        ({"prompts": ["  "]}, "at least one"),
        ({"prompts": "a"}, "list"),
        ({"prompts": [1]}, "list"),
        ({"prompts": ["x"] * 17}, "too many"),
        ({"prompts": ["x" * 1001]}, "1000"),
        ({"every_image_steps": -1}, "interval"),
        ({"every_image_steps": 1.5}, "interval"),
        ({"every_image_steps": True}, "interval"),
    ],
)
def test_what_cannot_be_sampled_is_refused_with_a_word(args: dict[str, Any], word: str) -> None:
    with pytest.raises(ChangeError, match=word):
        changes.with_samples(Changes(), args)


def test_what_is_not_named_stays() -> None:
    before = Changes(prompts=("a",), every_image_steps=5, stop_after_epoch=2)
    assert changes.with_samples(before, {"every_image_steps": 0}) == Changes(
        prompts=("a",), every_image_steps=0, stop_after_epoch=2
    )
    assert changes.with_samples(before, {}) == before


@given(
    st.dictionaries(
        st.sampled_from(["prompts", "every_image_steps"]),
        st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5),
    )
)
def test_whatever_comes_in_is_taken_or_refused_in_words(args: dict[str, Any]) -> None:
    with contextlib.suppress(ChangeError):
        after = changes.with_samples(Changes(), args)
        assert after.prompts is None or 1 <= len(after.prompts) <= changes.MOST_PROMPTS
        assert after.every_image_steps is None or after.every_image_steps >= 0
