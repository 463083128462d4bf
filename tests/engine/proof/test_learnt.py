"""What the photos, their captions and losses say, on made figures with a known answer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PIL import Image
from scenes import scene

from loratui.engine.proof.learnt import CHANGE, LEARNT, MIRRORED
from loratui.engine.proof.losses import Losses, Pair, drop, parse_row
from loratui.engine.proof.photos import CAPTIONS_FIT, DISTINCT, PEOPLE, TRIGGER_SAID
from loratui.engine.proof.pixels import read_pixels
from loratui.engine.proof.protocol import Faces, Photo, References, Shot, measured

FILE = "output/x.safetensors"
ONE = (1.0, 1.0, 1.0, 1.0)


def shot(seed: int, *, strength: float = 1.0, image: Image.Image | None = None) -> Shot:
    file = FILE if strength else ""
    return Shot(f"{seed}-{strength}.png", "a", seed, file, strength, pixels=image and read_pixels(image))


def photo(name: str, *, text: str = "qxz woman", face: tuple[float, ...] = (1.0, 0.0)) -> Photo:
    return Photo(name, faces=Faces(1, face), texts=(text,))


def row(value: float) -> tuple[float, ...]:
    return (value,) * 4


def with_losses(own: float, mirrored: float) -> References:
    """The LoRA's losses of photos and mirrored photos; the base's are 1."""
    names = ("1.png", "2.png")
    return References(
        losses=Losses(
            photos={name: Pair(ONE, ONE) for name in names},
            of_file={FILE: {name: Pair(row(own), row(mirrored)) for name in names}},
        )
    )


def test_a_drop_counts_each_level_alike() -> None:
    assert drop((10.0, 1.0, 1.0, 1.0), (5.0, 1.0, 1.0, 1.0)) == pytest.approx(0.125)
    with pytest.raises(ValueError, match="no losses"):
        parse_row([1, 2, 3, float("nan")])


@pytest.mark.parametrize(
    ("own", "mirrored", "share", "means"),
    [
        (0.8, 0.84, 0.8, "the subject"),
        (0.5, 1.1, -0.2, "the photos rather than the subject"),
        (0.8, 0.9, 0.5, "partly the photos"),
    ],
)
def test_mirrored_photos_tell_the_subject_from_the_photos(own: float, mirrored: float, share: float, means: str) -> None:
    found = measured(MIRRORED, [shot(1)], with_losses(own, mirrored))
    assert found.value == pytest.approx(share)
    assert found.means == means
    assert measured(LEARNT, [shot(1)], with_losses(own, mirrored)).value == pytest.approx(1 - own)


def test_losses_are_unknown_at_another_strength_and_where_nothing_is_learnt() -> None:
    assert measured(LEARNT, [shot(1, strength=0.5)], with_losses(0.8, 0.9)).value is None
    assert "too little" in measured(MIRRORED, [shot(1)], with_losses(1.0, 1.0)).unknown
    flipped = replace(with_losses(0.8, 0.9), losses=replace(with_losses(0.8, 0.9).losses, flipped=True))
    assert "trained on too" in measured(MIRRORED, [shot(1)], flipped).unknown
    for measure in (LEARNT, MIRRORED, CAPTIONS_FIT):
        assert "not loaded" in measured(measure, [shot(1)], References()).unknown


def test_captions_that_are_mixed_up_are_no_better_than_others() -> None:
    fitting = Losses(captions={"1.png": [Pair(row(0.8), ONE)], "2.png": [Pair(row(0.7), ONE)]})
    mixed = Losses(captions={"1.png": [Pair(row(0.8), ONE)], "2.png": [Pair(ONE, row(0.8))]})
    assert measured(CAPTIONS_FIT, [shot(1)], References(losses=fitting)).value == 1
    found = measured(CAPTIONS_FIT, [shot(1)], References(losses=mixed))
    assert (found.value, found.more["lost"]) == (0.5, ["2.png"])
    alike = References(losses=Losses(photos={"1.png": Pair(ONE, ONE)}))
    assert "do not differ" in measured(CAPTIONS_FIT, [shot(1)], alike).unknown


def test_the_trigger_is_a_whole_word_in_each_caption() -> None:
    photos = (
        photo("1.png"),
        photo("2.png", text="a qxzy woman"),
        photo("3.png", text="Qxz"),
        photo("4.png", text="photo of qxz."),
    )
    found = measured(TRIGGER_SAID, [shot(1)], References(photos=photos, trigger="qxz"))
    assert (found.value, found.more["without"]) == (0.5, ["2.png", "3.png"])
    assert "no trigger" in measured(TRIGGER_SAID, [shot(1)], References(photos=photos)).unknown


def test_people_are_groups_of_faces_and_an_odd_photo_is_none() -> None:
    own, other, odd = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
    one = tuple(photo(f"{at}.png", face=own) for at in range(6))
    with_odd = References(photos=(*one, photo("odd.png", face=odd)), same_face=0.6)
    found = measured(PEOPLE, [shot(1)], with_odd)
    assert (found.value, found.more["odd"]) == (1.0, ["odd.png"])
    two = References(photos=(*one, *(photo(f"b{at}.png", face=other) for at in range(3))), same_face=0.6)
    found = measured(PEOPLE, [shot(1)], two)
    assert (found.value, [len(group) for group in found.more["groups"]]) == (2.0, [6, 3])
    assert measured(PEOPLE, [shot(1)], replace(two, no_faces="no model")).unknown == "no model"


def test_photos_that_are_nearly_equal_count_once() -> None:
    photos = tuple(photo(f"{at}.png") for at in range(4))
    found = measured(DISTINCT, [shot(1)], References(photos=photos, likenesses=(["0.png", "1.png", "2.png"],)))
    assert (found.value, found.more["distinct"]) == (0.5, 2)


def test_images_that_are_the_bases_have_not_changed() -> None:
    bases = [shot(seed, strength=0.0, image=scene(seed)) for seed in (1, 2, 3)]
    references = References({base.key: base for base in bases})
    same = measured(CHANGE, [shot(seed, image=scene(seed)) for seed in (1, 2, 3)], references)
    other = measured(CHANGE, [shot(seed, image=scene(seed + 10)) for seed in (1, 2, 3)], references)
    assert (same.value, same.more["ratio"]) == (0, 0)
    assert "hardly" in same.means
    assert other.more["ratio"] > 0.5
    alone = References({bases[0].key: bases[0]})
    assert "one seed" in measured(CHANGE, [shot(1, image=scene(2))], alone).unknown
