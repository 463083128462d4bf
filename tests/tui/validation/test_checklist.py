"""What to do about something seen, with the run's own numbers."""

from __future__ import annotations

from loratui.engine.proof.notes import PART_IDS, SEEN_IDS
from loratui.tui.validation.checklist import POINTS, SEEN, advice


def test_the_words_are_those_of_the_parts_and_sights_that_are_kept() -> None:
    assert tuple(point.id for point in POINTS) == PART_IDS
    assert tuple(seen.id for seen in SEEN) == SEEN_IDS


def test_the_advice_has_the_runs_own_numbers() -> None:
    by_id = {row.id: row for row in SEEN}
    weak = advice(by_id["weak"], epochs=10, image_steps=1800, rank=16)
    assert weak == "more steps (10 → 12 epochs: 1 800 → 2 160 image-steps), or a higher rank (16 → 32)"
    assert advice(by_id["weak"], epochs=1) == "more steps (1 → 2 epochs), or a higher rank"
    assert "→" not in advice(by_id["weak"])
    assert advice(by_id["feature"], rank=24, most_rank=32) == "higher rank (24 → 32)"
    assert advice(by_id["feature"], rank=128, most_rank=128) == "higher rank, though 128 is the most for this recipe"
    assert advice(by_id["sticks"], epochs=10).endswith("fewer epochs (10 → 8)")
    assert advice(by_id["earlier"], epochs=10, rank=4) == "use that file"
