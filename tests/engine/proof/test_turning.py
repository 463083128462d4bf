"""When the samples of a run that trains are said to get no better, on curves with a known answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loratui.engine.proof.turning import is_news, likely_best
from loratui.engine.runs.events import Event
from loratui.engine.runs.held_out import HeldOut
from loratui.engine.runs.measured import LikelyBest, Measured, measured_in, taken

RISES = (0.35, 0.5, 0.62, 0.7, 0.75)
STAYS = (0.35, 0.55, 0.8, 0.805, 0.795, 0.8)


def points(
    likeness: tuple[float | None, ...], *, base: float | None = 0.3, low: float | None = 0.7, copied: tuple[float, ...] = ()
) -> list[Measured]:
    """An epoch for each value, of ten steps."""
    found: list[Measured] = []
    for at, value in enumerate(likeness):
        near = [{"id": "copy_hash", "value": 0.8, "copied": copied[at]}] if copied else []
        rows = [{"id": "likeness", "value": value, "base": base, "low": low, "high": 0.9}, *near]
        fields = {"step": 10 * (at + 1), "epoch": at + 1, "images": 4, "measures": rows}
        found = list(taken(found, Measured.of(Event("", 0, 0.0, fields)), 100))
    return found


def epoch(found: LikelyBest | None) -> tuple[str, int] | None:
    return None if found is None else (found.kind, found.epoch)


@pytest.mark.parametrize(
    ("likeness", "expected"),
    [
        ((), None),
        (RISES, None),
        (STAYS[:5], None),
        (STAYS, ("plateau", 3)),
        ((0.35, 0.55, 0.8, 0.7, 0.69), ("turn", 3)),
        ((0.35, 0.55, 0.8, 0.7), None),
        ((0.35, 0.55, 0.8, 0.7, 0.8), None),
        ((0.3, 0.31, 0.3, 0.31, 0.3, 0.31), None),  # nothing is learnt yet
        ((0.35, 0.45, 0.45, 0.45, 0.45, 0.45), None),  # nor half of it
        ((None,) * 8, None),
        ((0.35, None, 0.8, 0.8, None, 0.8, 0.8), ("plateau", 3)),
    ],
)
def test_likeness_that_rises_stays_or_falls(likeness: tuple[float | None, ...], expected: tuple[str, int] | None) -> None:
    assert epoch(likely_best(points(likeness))) == expected


def test_without_base_or_natural_range_only_what_is_known_counts() -> None:
    assert epoch(likely_best(points(STAYS, base=None))) == ("plateau", 3)
    assert likely_best(points(STAYS, base=None, low=None)) is None
    assert likely_best(points(STAYS, base=None, low=0.9)) is None
    assert epoch(likely_best(points(STAYS, low=None))) == ("plateau", 3)


def test_copies_that_stay_come_first_and_need_no_face_model() -> None:
    unknown = (None,) * 5
    assert epoch(likely_best(points(unknown, copied=(0, 0, 0, 0.5, 1)))) == ("copies", 3)
    assert likely_best(points(unknown, copied=(0, 0, 0, 0, 1))) is None, "one alone may be chance"
    assert likely_best(points(unknown, copied=(0, 0, 0.5, 0.5, 0.25))) is None, "they went away"
    assert likely_best(points(unknown, copied=(1, 1, 1, 1, 1))) is None, "there is nothing better"
    assert epoch(likely_best(points(STAYS, copied=(0, 0, 0.25, 0.25, 1, 1)))) == ("copies", 2)


def test_where_likeness_is_unknown_the_loss_on_held_out_images_decides() -> None:
    seen = points((None,) * 6, copied=(0,) * 6)
    lowest, last = HeldOut(3, 30, 0.5, 0.6, "held_out"), HeldOut(6, 60, 0.51, 0.6, "held_out")
    assert epoch(likely_best(seen, last, lowest)) == ("held_out", 3)
    assert likely_best(seen, replace(last, loss=0.502), lowest) is None, "hardly risen"
    assert likely_best(seen, replace(last, epoch=5), lowest) is None, "not for long"
    assert likely_best(seen, replace(last, what="regularisation"), lowest) is None
    assert likely_best(seen, last, replace(lowest, epoch=0)) is None, "it never fell"
    assert likely_best(points(RISES), last, lowest) is None, "likeness is known and still rises"


def test_it_is_said_once_and_again_only_for_better_samples_or_for_copies() -> None:
    seen = points(STAYS)
    first = likely_best(seen)
    assert first is not None
    assert is_news(first, None, seen)
    later = points((*STAYS, 0.8, 0.81))
    same = likely_best(later)
    assert same is not None
    assert not is_news(same, first, later)
    better = points((*STAYS, 0.95, 0.95, 0.95, 0.95))
    again = likely_best(better)
    assert epoch(again) == ("plateau", 7)
    assert again is not None
    assert is_news(again, first, better)
    assert is_news(replace(first, kind="copies"), first, seen)


def test_of_two_measures_of_a_step_the_later_counts_and_foreign_rows_are_passed_over() -> None:
    one, other = points((0.1,)), points((0.2,))
    assert taken(one, other[0], 100) == (other[0],)
    assert [point.step for point in taken(points(RISES), other[0], 2)] == [40, 50]
    (odd,) = measured_in([{"step": "x", "measures": [7, {"id": 3, "value": "y"}]}, 5], 10)
    assert (odd.step, odd.value("likeness"), odd.copied) == (0, None, None)
    assert measured_in("nothing", 10) == ()
