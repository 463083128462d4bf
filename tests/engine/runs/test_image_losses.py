"""Which trained images stand out by their loss, and what is said of them."""

from __future__ import annotations

import math

from loratui.engine.runs.image_losses import ImageLoss, Pull, pulls, told

USUAL = [ImageLoss(f"{at}.png", 0.1 * (1 - gain), 0.1) for at, gain in enumerate((0.08, 0.09, 0.1, 0.1, 0.11, 0.12))]


def test_alike_images_say_nothing() -> None:
    assert pulls(USUAL) == ()


def test_one_that_was_not_learnt_and_one_that_is_known_by_heart() -> None:
    found = pulls([*USUAL, ImageLoss("odd.png", 0.1, 0.1), ImageLoss("copied.png", 0.05, 0.1)])
    assert [(pull.image, pull.kind) for pull in found] == [("copied.png", "exhausted"), ("odd.png", "stuck")]
    warnings = list(told(found))
    assert [(one.code, one.files) for one in warnings] == [("image_stuck", ("odd.png",)), ("image_exhausted", ("copied.png",))]
    assert "10 %" in warnings[0].message


def test_nothing_is_said_where_the_usual_is_unknown_or_nothing_was_learnt() -> None:
    assert pulls([ImageLoss("odd.png", 0.2, 0.1), *USUAL[:4]]) == ()
    unlearnt = [ImageLoss(f"{at}.png", 0.1 - at * 1e-5, 0.1) for at in range(8)]
    assert pulls([*unlearnt, ImageLoss("odd.png", 0.2, 0.1)]) == ()
    assert pulls([*USUAL, ImageLoss("nan.png", math.nan, 0.1), ImageLoss("zero.png", 0.1, 0.0)]) == ()


def test_a_pull_is_told_in_words_only_for_its_kind() -> None:
    assert [one.code for one in told([Pull("a.png", "stuck", 0.0, 0.1)])] == ["image_stuck"]
    assert not list(told([]))
