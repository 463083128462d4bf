"""Captions for training: what of an answer is kept, and what is told."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loratui.engine.captioning import learnt, whole_set
from loratui.engine.captioning.captioners import CAPTIONERS, captioner
from loratui.engine.captioning.cleaned import FLAGS, cleaned
from loratui.engine.captioning.instructions import TAGS, instruction
from loratui.engine.captioning.protocol import Answer, Tag
from loratui.engine.captioning.rules import Proposed, caption_for
from loratui.engine.captioning.wish import LENGTHS, Subject, Wish
from loratui.engine.dataset import caption_words
from loratui.engine.dataset.tokens import ESTIMATE
from loratui.engine.errors import UsageError
from loratui.presets.schema import Settings, replace

QWEN = CAPTIONERS["qwen3-vl-4b"]
PONY = "John6666/pony-realism-v22main-sdxl"


def wish(subject: Subject = "person", *, tokens: int = 512, base: str = "", class_word: str = "woman") -> Wish:
    return Wish(subject=subject, trigger="anafox", class_word=class_word, family="flux", tokens=tokens, base=base)


def proposed(text: str, wanted: Wish | None = None, **more: object) -> Proposed:
    return caption_for(Answer(text), QWEN, wanted or wish(), ESTIMATE, **more)  # type: ignore[arg-type]  # passed on


@pytest.mark.parametrize(
    ("answer", "caption"),
    [
        (
            "A young woman with long hair and blue eyes in a red coat stands on a beach.",
            "anafox woman with long hair in a red coat stands on a beach",
        ),
        ("The image shows a smiling woman with freckles and a red hat.", "anafox woman, smiling, with a red hat"),
        ("A close-up of a woman with a serious expression.", "anafox woman, close-up, with a serious expression"),
        ("a photo of a woman holding a remote control", "anafox woman holding a remote control"),
        ("Anafox stands in a kitchen.", "anafox woman stands in a kitchen"),
        ("A man with a beard, green eyes and a black suit sits.", "anafox woman with a black suit sits"),
        ("She has freckles and is wearing a coat.", "anafox woman is wearing a coat"),
        ("A portrait photo of a woman with her eyes closed", "anafox woman, portrait, with her eyes closed"),
        ("A dog on a sofa.", "anafox woman, a dog on a sofa"),
        ("there is a araffed woman sitting on a couch", "anafox woman sitting on a couch"),
        (
            "The image is a portrait of a woman. She is wearing a dress. The overall mood of the image is serene.",
            "anafox woman, portrait. She is wearing a dress",
        ),
        ("Photograph of a young woman with fair skin, wearing a red dress.", "anafox woman, wearing a red dress"),
        ("A medium-shot photograph of a smiling woman on a bench.", "anafox woman, medium-shot, smiling, on a bench"),
        ("The woman in the photo is wearing a sweater.", "anafox woman is wearing a sweater"),
        ("A woman stands outdoors. The woman's hair is blonde and her eyes are blue.", "anafox woman stands outdoors"),
        ("A woman, appearing to be in her 30s, stands by a window.", "anafox woman stands by a window"),
        ('"anafox woman" in a coat.\n\nNote: I avoided facial features.', "anafox woman in a coat"),
        ('**Caption:** "A woman on a beach."', "anafox woman on a beach"),
        ("Sure! Here's a caption:\n\n> A **woman** on a beach.\n\nLet me know if you need more!", "anafox woman on a beach"),
        ('```json\n{"caption": "A woman on a beach."}\n```', "anafox woman on a beach"),
        ('{"subject": "x", "caption": "A woman on a beach.", "tags": ["sea"]}', "anafox woman on a beach"),
        ("**Caption:** Here's a caption:\n\nA woman on a beach.", "anafox woman on a beach"),
        ("A woman\ud800 on a\x00 beach.", "anafox woman on a beach"),
        ("A \x1b[31mwoman\x1b[0m on\x00a\u202e beach.\r\n", "anafox woman on a beach"),
        ("<think>A person?</think>A woman on a beach.", "anafox woman on a beach"),
        ("A person?</think>\n\nA woman on a beach.", "anafox woman on a beach"),
        ("# Caption\n- A woman on a roof.\n- It is night.", "anafox woman on a roof. It is night"),
    ],
)
def test_a_caption_of_a_person_names_what_varies(answer: str, caption: str) -> None:
    assert proposed(answer) == Proposed(caption)


@pytest.mark.parametrize(
    ("answer", "flag"),
    [
        ("", "empty"),
        (" \n```\n```", "empty"),
        ("I'm sorry, but I can't help with identifying people.", "refused"),
        ("As an AI model, I cannot describe this.", "refused"),
        ("Eine Frau in einem roten Mantel steht am Strand", "language"),
        ("Una mujer con un abrigo rojo está en la playa", "language"),
        ("Uma mulher de casaco vermelho está na praia ao entardecer", "language"),
        ("一个女人站在海滩上", "language"),
        ("a bald " + "bald " * 30, "loop"),
        ("A man, a man, a man, a man, a man", "loop"),
        ("A man sits. The sky is blue. The sky is blue. The sky is blue.", "loop"),
        ("Please upload the image, and I will describe it.", "unclear"),
    ],
)
def test_an_answer_that_is_no_caption_is_told(answer: str, flag: str) -> None:
    assert proposed(answer).useless is not None
    assert flag in [told.id for told in proposed(answer).flags]
    assert all(told.text for told in proposed(answer).flags)


def test_what_is_left_of_features_and_guesses_is_told() -> None:
    told = proposed("Her blue eyes sparkle, and she is possibly an actress.")
    assert [flag.id for flag in told.flags] == ["learnt", "uncertain"]
    assert told.useless is None


def test_hair_is_left_out_only_where_it_never_varies() -> None:
    texts = [
        f"A woman with long {colour} hair in a {place}."
        for colour, place in (("red", "bar"), ("blonde", "car"), ("red", "park"))
    ]
    constant = learnt.constant_hair(texts)
    assert constant == {"long", "red"}
    assert [proposed(text, constant_hair=constant).text for text in texts[:2]] == [
        "anafox woman in a bar",
        "anafox woman with blonde hair in a car",
    ]


@pytest.mark.parametrize(
    ("answer", "caption"),
    [
        ("A watercolor painting of a cat on a roof in an impressionist style.", "anafox, a cat on a roof"),
        ("An anime-style illustration of a girl with red hair.", "anafox, a girl with red hair"),
        ("A cat, drawn in the style of Studio Ghibli, sits.", "anafox, a cat, sits"),
        ("This image is a digital illustration in a flat, minimalist style, depicting a fox.", "anafox, a fox"),
        ("A black and white ink drawing shows a ship in a storm.", "anafox, a ship in a storm"),
    ],
)
def test_a_style_names_the_content_only(answer: str, caption: str) -> None:
    assert proposed(answer, wish("style", class_word="")).text == caption


def test_a_thing_is_called_by_its_words() -> None:
    wanted = wish("thing", class_word="backpack")
    assert proposed("A green backpack on a bench.", wanted).text == "anafox backpack on a bench"


def test_tags_of_a_tagger_become_those_of_the_base() -> None:
    names = [
        "1girl",
        "blue_eyes",
        "score_9",
        "looking_at_viewer",
        "red_coat",
        "coat",
        "^_^",
        "beach",
        "outdoors",
        "masterpiece",
        "bow_(weapon)",
        "smile",
        "freckles",
    ]
    tags = (*(Tag(name, "general", 0.9) for name in names), Tag("miku", "character", 0.9), Tag("safe", "rating", 0.9))
    told = caption_for(Answer("", tags), CAPTIONERS["wd14"], wish(base=PONY), ESTIMATE)
    assert told == Proposed("anafox, woman, 1girl, looking at viewer, red coat, ^_^, beach, outdoors, bow (weapon), smile")


def test_a_base_that_knows_tags_is_given_tags() -> None:
    assert "tags" in instruction(QWEN, wish(base=PONY))
    assert "Danbooru" in instruction(QWEN, wish(base="noobaiXL.safetensors"))
    assert "e621" in instruction(QWEN, wish(base="fluffyrock.safetensors"))
    assert wish().form(QWEN) == "sentences"
    assert proposed('["red coat", "beach", "dusk"]', wish(base=PONY)).text == "anafox, woman, red coat, beach, dusk"
    told = proposed("red coat, beach, 1girl, dusk, looking_at_viewer, score_9", wish(base=PONY))
    assert told.text == "anafox, woman, 1girl, red coat, beach, dusk, looking at viewer"


def test_tags_are_5_to_20_and_fit_the_window() -> None:
    many = tuple(Tag(f"thing number {number}", "general", 0.9) for number in range(60))
    for length in LENGTHS:
        told = caption_for(Answer("", many), CAPTIONERS["wd14"], wish(), ESTIMATE, length)
        assert len(caption_words.parts(told.text)) == TAGS[length]
    narrow = caption_for(Answer("", many), CAPTIONERS["wd14"], wish(tokens=30), ESTIMATE)
    assert ESTIMATE.count(narrow.text) <= 30
    assert [flag.id for flag in caption_for(Answer("", many[:1]), CAPTIONERS["wd14"], wish(), ESTIMATE).flags] == ["few_tags"]


def test_a_caption_fits_the_window_and_what_is_cut_is_told() -> None:
    answer = "A woman in a coat walks. " + ", ".join(f"There is a lamp at number {number}" for number in range(60))
    told = proposed(answer, wish(tokens=75))
    assert told.text == "anafox woman in a coat walks."
    assert [flag.id for flag in told.flags] == ["cut"]
    one = proposed("A woman between " + " ".join(f"lamp{number}" for number in range(200)), wish(tokens=75))
    assert 40 < ESTIMATE.count(one.text) <= 75


def test_words_that_a_model_says_of_any_image_are_told() -> None:
    texts = {
        str(i): f"anafox woman in a {colour} coat, holding a remote control"
        for i, colour in enumerate(("red", "blue", "green"))
    }
    texts |= {str(9 + i): f"anafox woman at {place}, laughing" for i, place in enumerate(("dusk", "home", "school", "noon"))}
    told = whole_set.flags(texts, wish())
    assert {name: [(flag.id, flag.words) for flag in flags] for name, flags in told.items()} == {
        name: [("invented", ("holding a remote control",))] for name in "012"
    }
    same = {str(number): f"anafox woman smiling at place{number}" for number in range(5)}
    assert {flag.id for flags in whole_set.flags(same, wish()).values() for flag in flags} == {"common"}


def test_an_instruction_knows_subject_length_hint_and_what_was_wrong() -> None:
    texts = {
        instruction(QWEN, wish(subject), length) for subject in ("person", "character", "style", "thing") for length in LENGTHS
    }
    assert len(texts) == 12
    assert '"anafox woman"' in instruction(QWEN, wish())
    assert "Write numbers." in instruction(QWEN, Wish.of(Settings(), hint="Write  numbers."))
    assert "not English" in instruction(QWEN, wish(), refused="not English")
    assert instruction(CAPTIONERS["florence-2-base"], wish(), "long") == "long"


def test_a_wish_comes_from_the_recipe_and_has_a_digest_of_its_own() -> None:
    recipe = replace(Settings(), {"dataset.trigger": "anafox", "dataset.class_word": "woman", "base.family": "flux"})
    wanted = Wish.of(recipe, variants=2)
    assert (wanted.named, wanted.tokens, wanted.lengths) == ("anafox woman", 512, ("usual", "short"))
    assert wanted.digest == Wish.of(recipe, variants=2).digest != Wish.of(recipe, variants=2, hint="more").digest


def test_captioners_are_found_by_id_and_alias() -> None:
    assert captioner("florence-2") is CAPTIONERS["florence-2-large"]
    with pytest.raises(UsageError, match=r"wd15.*did you mean wd14"):
        captioner("wd15")


def test_hostile_answers_cost_no_time() -> None:
    for text in (
        "a " * 100_000,
        "**" * 50_000,
        "<think>" * 20_000,
        "[" * 50_000 + "](" * 10_000,
        "with blue " * 20_000,
        "a-" * 50_000,
    ):
        caption_for(Answer(text), QWEN, wish(), ESTIMATE)
        cleaned(text, "tags")


_WORDS = st.sampled_from(
    [
        *[
            "a",
            "the",
            "woman",
            "man",
            "girl",
            "with",
            "long",
            "blonde",
            "blue",
            "hair",
            "eyes",
            "and",
            "in",
            "red",
            "coat",
            "is",
            ",",
            ".",
            "her",
            "style",
            "photo",
            "of",
            "anafox",
        ],
        "painting",
        "**",
        "\n",
        "(",
        '"',
        "é",
        "女",
    ]
)


@given(
    st.lists(_WORDS | st.text(max_size=8), max_size=60).map(" ".join),
    st.sampled_from(["person", "style", "thing"]),
    st.booleans(),
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_whatever_is_answered_the_caption_is_one_line_that_begins_with_the_trigger(
    answer: str, subject: Subject, tags: bool
) -> None:
    told = proposed(answer, wish(subject, tokens=30, base=PONY if tags else ""))
    assert ESTIMATE.count(told.text) <= 30
    assert told.text == " ".join(told.text.split())
    assert told.text.startswith("anafox") if told.text else told.useless


def test_each_flag_has_its_words() -> None:
    assert all(text and not text.endswith(".") for text in FLAGS.values())


def test_json_without_a_caption_is_not_accepted_with_the_others() -> None:
    useless = proposed('{"subject": "A woman on a beach", "light": "evening"}').useless
    assert useless is not None
    assert useless.id == "unclear"
