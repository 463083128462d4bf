"""The order of a run: every image as often as planned, and the same way on from any point."""

from __future__ import annotations

import dataclasses
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from loratui.engine.planning.exposures import exposures
from loratui.engine.planning.order import OrderEntry
from loratui.engine.planning.schedule import count_steps
from loratui.engine.training.data import BatchSchedule

courses = st.builds(
    BatchSchedule,
    entries=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4)), min_size=1, max_size=9).map(
        lambda rows: [OrderEntry(i, bucket, repeats) for i, (bucket, repeats) in enumerate(rows)]
    ),
    seed=st.integers(0, 2**63 - 1),
    epochs=st.integers(1, 4),
    batch_size=st.integers(1, 4),
    window_batches=st.integers(1, 3),
    image_steps=st.integers(0, 60),
)


@given(courses)
def test_every_image_is_seen_as_planned(schedule: BatchSchedule) -> None:
    seen = Counter(i for window in schedule.windows() for batch in window.batches for i in batch)
    full = {entry.index: entry.repeats * schedule.epochs for entry in schedule.entries if entry.repeats}
    if schedule.image_steps == 0 or schedule.image_steps >= sum(full.values()):
        assert seen == full
    else:
        assert seen.total() == schedule.image_steps
        assert all(seen[i] <= full[i] for i in seen)


@given(courses, st.data())
def test_the_way_on_from_any_position_is_the_same(schedule: BatchSchedule, data: st.DataObject) -> None:
    windows = list(schedule.windows())
    if not windows:
        return
    cut = data.draw(st.integers(0, len(windows) - 1))
    assert list(schedule.windows(windows[cut].before)) == windows[cut:]
    assert list(schedule.windows(windows[-1].after)) == []


@given(courses)
def test_each_image_is_counted_from_its_first_time_on(schedule: BatchSchedule) -> None:
    seen: Counter[int] = Counter()
    for window in schedule.windows():
        for batch, shown in zip(window.batches, window.shown, strict=True):
            for index, before in zip(batch, shown, strict=True):
                assert before == seen[index]
                seen[index] += 1


@given(courses)
def test_positions_add_up(schedule: BatchSchedule) -> None:
    images = steps = batches = 0
    for window in schedule.windows():
        assert (window.before.step, window.before.image_step, window.before.micro_step) == (steps, images, batches)
        images, steps, batches = images + window.images, steps + 1, batches + len(window.batches)
        assert (window.after.step, window.after.image_step, window.after.micro_step) == (steps, images, batches)
        assert 1 <= len(window.batches) <= schedule.window_batches
        assert all(1 <= len(batch) <= schedule.batch_size for batch in window.batches)
        assert window.ends_epoch == (window.after.epoch == window.before.epoch + 1)


@given(courses)
def test_a_batch_never_mixes_buckets(schedule: BatchSchedule) -> None:
    buckets = {entry.index: entry.bucket for entry in schedule.entries}
    for window in schedule.windows():
        for batch in window.batches:
            assert len({buckets[i] for i in batch}) == 1


def test_epochs_are_in_different_orders() -> None:
    schedule = BatchSchedule([OrderEntry(i, 0, 1) for i in range(20)], seed=1, epochs=2, batch_size=1, window_batches=1)
    order = [window.batches[0][0] for window in schedule.windows()]
    assert order[:20] != order[20:]
    assert sorted(order[:20]) == sorted(order[20:])


@given(courses, st.integers(0, 3), st.data())
def test_a_continued_run_goes_on_behind_the_epoch_that_was_cut_off(
    first: BatchSchedule, more: int, data: st.DataObject
) -> None:
    """The steps are those of the first run and then whole epochs; plan, exposures and captions count with them exactly."""
    made = list(first.windows())
    if not made:
        return
    ended = made[-1].after.epoch - 1
    longer = dataclasses.replace(first, epochs=ended + more, continued=True)
    windows = list(longer.windows())
    assert windows[: len(made)] == made
    assert list(longer.windows(made[-1].after)) == windows[len(made) :]
    seen: Counter[int] = Counter()
    for window in windows:
        for batch, shown in zip(window.batches, window.shown, strict=True):
            for index, before in zip(batch, shown, strict=True):
                assert before == seen[index]
                seen[index] += 1
    entries: Counter[object] = Counter()
    for entry in longer.entries:
        entries[entry.bucket] += entry.repeats
    counted = count_steps(
        [n for n in entries.values() if n],
        epochs=longer.epochs,
        cap=longer.image_steps,
        batch_size=longer.batch_size,
        window=longer.window_batches,
        continued=True,
    )
    assert (counted.epochs, counted.optimizer_steps, counted.image_steps) == (longer.epochs, len(windows), seen.total())
    upto = data.draw(st.integers(0, len(windows) - 1))
    at = windows[upto].after.image_step
    seen_by_then = Counter(i for window in windows[: upto + 1] for batch in window.batches for i in batch)
    shown_by_then = exposures(
        longer.entries,
        seed=longer.seed,
        batch_size=longer.batch_size,
        image_steps=at,
        image_steps_cap=longer.image_steps,
        continued=True,
    )
    assert shown_by_then == tuple(seen_by_then[entry.index] for entry in longer.entries)
