"""What no caption names: which of it is asked for, that nothing else counts these images, and who reads them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scenes import scene

from loratui.engine.planning.validation_grid import GridRequest, words
from loratui.engine.proof.embedded import FOLLOWED
from loratui.engine.proof.needed import wanted
from loratui.engine.proof.never import attributes, never_shown
from loratui.engine.proof.never_shown import NEVER_SHOWN
from loratui.engine.proof.parts import Subject, measure_parts
from loratui.engine.proof.pixels import Pixels, read_pixels
from loratui.engine.proof.protocol import References, Shot
from loratui.presets.schema import Base, Dataset, Samples, Settings

SETTINGS = Settings(dataset=Dataset(trigger="qxz", class_word="woman"))
FILE = "output/x.safetensors"
NEVER = "a photo of qxz woman, wearing a hat"


def test_what_a_caption_names_is_not_asked_for() -> None:
    everything = [", ".join(one.words) for one in attributes("person")]
    for left in attributes("person"):
        others = [one.words[0] for one in attributes("person") if not set(one.words) & set(left.words)]
        asked = never_shown(SETTINGS, ["qxz woman", *others])
        assert left in asked
        assert not {one.says for one in asked} - {one.says for one in attributes("person") if set(one.words) & set(left.words)}
    assert never_shown(SETTINGS, everything) == []


@pytest.mark.parametrize("captions", [[], ["", " "]])
def test_without_captions_nothing_is_known_to_be_missing(captions: list[str]) -> None:
    assert never_shown(SETTINGS, captions) == []


def test_the_seed_decides_and_a_word_within_a_word_is_none() -> None:
    captions = ["qxz woman with chat and capable hands"]
    one = never_shown(SETTINGS, captions)
    assert len(one) == 2
    assert never_shown(SETTINGS, captions) == one
    by_seed = {tuple(a.says for a in never_shown(replace(SETTINGS, samples=Samples(seed=s)), captions)) for s in range(40)}
    assert len(by_seed) > 5
    assert "wearing a hat" in {says for pair in by_seed for says in pair}


def test_a_thing_is_not_asked_to_wear_a_hat() -> None:
    thing = replace(SETTINGS, dataset=Dataset(trigger="qxz", class_word="teapot"))
    asked = {a.says for s in range(30) for a in never_shown(replace(thing, samples=Samples(seed=s)), ["qxz teapot"])}
    assert asked == {one.says for one in attributes("anything")}


def test_the_embedded_bases_are_asked_in_words_that_their_reader_knows() -> None:
    from loratui.presets.bases.make.people import FEATURES

    assert all(one.value in FEATURES[one.feature] for one in attributes("drawn"))
    drawn = replace(SETTINGS, base=Base(model="embedded:sd15"))
    asked = never_shown(drawn, ["qxz woman, head tilted to the right, laughing, on a beach"])
    assert len(asked) == 2
    assert all(one.feature for one in asked)


def test_only_a_complete_check_asks_for_it() -> None:
    captions = ["qxz woman in a park"]
    prompts = {one.template for one in never_shown(SETTINGS, captions)}
    for complete in (True, False):
        found = wanted(
            SETTINGS, GridRequest(complete=complete), files=(FILE,), final=FILE, fill=words(SETTINGS), captions=captions
        )
        cells = [cell for cell in found if cell.template in prompts]
        assert len(cells) == (2 * 2 * 2 if complete else 0)
        assert {cell.strength for cell in cells} == ({0.0, SETTINGS.validation.likely_strength} if complete else set())


def shots(shows: dict[int, bool | None], base: bool | None) -> tuple[list[Shot], References]:
    """Two prompts: an ordinary one, and one for what is never shown."""
    seen: Pixels = read_pixels(scene(1))
    likely = [Shot(f"{s}.png", "qxz in a park", s, FILE, 1.0, pixels=seen) for s in shows]
    never = [
        Shot(f"n{s}.png", NEVER, s, FILE, 1.0, never=True, pixels=read_pixels(scene(s)), shows=v) for s, v in shows.items()
    ]
    bare = [
        replace(shot, file="", strength=0.0, path="b" + shot.path, shows=base if shot.never else None)
        for shot in [*likely, *never]
    ]
    return [*likely, *never, *bare], References(
        base={shot.key: shot for shot in bare}, never=(NEVER,), no_photos="There are no photos."
    )


def measured(shows: dict[int, bool | None], base: bool | None) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    made, references = shots(shows, base)
    parts = measure_parts(made, references, Subject(FILE, 1.0, {}))
    part = next(one for one in parts if one["id"] == "generalises")
    return {row["id"]: row for row in part["measures"]}, parts


def test_the_images_that_show_it_are_counted_against_the_base() -> None:
    rows, parts = measured({1: True, 2: False, 3: False, 4: False}, base=True)
    row = rows["never_shown"]
    assert (row["value"], row["base"], row["ratio"], row["prompts"]) == (0.25, 1.0, 0.25, [NEVER])
    assert row["means"] == f"it makes only what the photos show (“{NEVER}”)"
    for part in parts:
        there = [image["path"] for image in part["images"] if image["path"].startswith("n")]
        assert bool(there) == (part["id"] == "generalises")


def test_no_other_measure_counts_these_images() -> None:
    made, references = shots({1: True, 2: False}, base=True)
    without = measure_parts([shot for shot in made if not shot.never], references, Subject(FILE, 1.0, {}))
    for part, plain in zip(measure_parts(made, references, Subject(FILE, 1.0, {})), without, strict=True):
        own = [row for row in part["measures"] if row["id"] != "never_shown"]
        assert own == [row for row in plain["measures"] if row["id"] != "never_shown"]


def test_where_nothing_reads_it_the_person_is_told_what_to_look_at() -> None:
    row = measured({1: None, 2: None}, base=None)[0]["never_shown"]
    assert row["value"] is None
    assert NEVER in row["unknown"]
    assert row["prompts"] == [NEVER]


def test_how_well_the_prompt_is_followed_stands_in() -> None:
    made, references = shots({1: None, 2: None}, base=None)
    fits = [replace(shot, fits=(0.3 if shot.strength else 0.25) if shot.never else 0.1) for shot in made]
    base = {shot.key: shot for shot in fits if not shot.strength}
    parts = measure_parts(fits, replace(references, base=base), Subject(FILE, 1.0, {}))
    row = next(row for part in parts if part["id"] == "generalises" for row in part["measures"] if row["id"] == "never_shown")
    assert (row["value"], row["base"], row["ratio"], row["prompts"]) == (0.3, 0.25, 1.2, [NEVER])
    assert NEVER in row["means"]
    assert (row["title"], row["unit"]) == (NEVER_SHOWN.title, FOLLOWED.unit)
