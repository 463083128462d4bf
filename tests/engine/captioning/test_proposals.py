"""Proposals are lines that are only added: they survive kills, and a damaged one costs no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from loratui.engine.captioning.cleaned import Flag
from loratui.engine.captioning.proposals import Proposal, Proposals, asked_as
from loratui.engine.errors import UsageError


def made(image: str = "a" * 64, **more: object) -> Proposal:
    values = {"file": "a.png", "captioner": "blip", "wish": "0" * 16, "text": "a cat", "raw": ("A cat.",), **more}
    return Proposal(image=image, **values)  # type: ignore[arg-type]  # passed on


def test_what_was_put_is_there_again(tmp_path: Path) -> None:
    kept = Proposals(tmp_path, tmp_path / "photos")
    one = made(flags=(Flag("loop", ("a", "b")),), variants=("a cat on a roof",))
    kept.put([one, made("b" * 64)])
    again = Proposals(tmp_path, tmp_path / "photos")
    found = again.get("a" * 64, "blip", "0" * 16)
    assert found is not None
    assert (found.flags, found.variants, found.raw, found.state) == (one.flags, one.variants, one.raw, "proposed")
    assert found.at > 0
    assert [oct(path.stat().st_mode & 0o777) for path in (kept.path.parent, kept.path)] == ["0o700", "0o600"]
    assert not list(Proposals(tmp_path, tmp_path / "others"))


def test_the_newest_line_counts(tmp_path: Path) -> None:
    kept = Proposals(tmp_path, tmp_path)
    kept.put([made(), made(captioner="wd14")])
    kept.mark(kept.of("a" * 64)[:1], "dismissed")
    again = Proposals(tmp_path, tmp_path)
    assert [(one.captioner, one.state) for one in again] == [("wd14", "proposed"), ("blip", "dismissed")]
    assert kept.path.read_bytes().count(b"\n") == 3


@pytest.mark.parametrize(
    "damage",
    [
        b'{"v": 1, "image"',
        b"\xff\xfe",
        b"[]",
        b'{"v": 2}',
        b"null",
        b'{"v":1,"image":"x","file":"","captioner":"","wish":"","text":"","raw":3}',
    ],
)
def test_a_damaged_line_spoils_no_other(tmp_path: Path, damage: bytes) -> None:
    kept = Proposals(tmp_path, tmp_path)
    kept.put([made()])
    with kept.path.open("ab") as file:
        file.write(damage)
    again = Proposals(tmp_path, tmp_path)
    again.put([made("b" * 64)])
    third = Proposals(tmp_path, tmp_path)
    assert (len(list(third)), third.damaged) == (2, 1)


def test_two_do_not_ask_at_once(tmp_path: Path) -> None:
    one, other = Proposals(tmp_path, tmp_path), Proposals(tmp_path, tmp_path)
    with one.asking(), pytest.raises(UsageError, match="already"), other.asking():
        pass
    with other.asking():
        pass


def test_a_captioner_is_named_with_what_its_answers_depend_on() -> None:
    assert asked_as("blip", {}) == "blip"
    assert asked_as("endpoint", {"url": "http://a", "model": "llava", "timeout_s": 3}) == "endpoint model=llava"
