"""The schema: every key described, every value checked, every error with a remedy."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loratui.presets import schema
from loratui.presets.schema import KEYS, SchemaError, Settings
from loratui.presets.toml_file import read_settings


def test_every_key_has_help_and_a_default_that_fits() -> None:
    for info in KEYS.values():
        assert info.help
        assert schema.check(info, info.default) == info.default
    assert len(KEYS) == sum(len(section) for section in schema.to_table(Settings()).values())


def test_all_keys_survive_a_round_trip() -> None:
    settings, keys = read_settings(schema.to_table(Settings()))
    assert settings == Settings()
    assert keys == frozenset(KEYS)


@pytest.mark.parametrize(
    ("typed", "key", "value"),
    [
        ("adapter.rank=32", "adapter.rank", 32),
        ("training.rank=32", "adapter.rank", 32),
        ("rank= 32 ", "adapter.rank", 32),
        ("optimizer.learning_rate=2e-4", "optimizer.learning_rate", 2e-4),
        ("learning_rate=1", "optimizer.learning_rate", 1.0),
        ("dataset.flip=true", "dataset.flip", True),
        ("dataset.trigger=anafox", "dataset.trigger", "anafox"),
        ('dataset.trigger="ana fox"', "dataset.trigger", "ana fox"),
        ("dataset.trigger=", "dataset.trigger", ""),
        ("schedule.rule=per_epoch", "schedule.rule", "per_epoch"),
        ("validation.strengths=0,0.5,1", "validation.strengths", (0.0, 0.5, 1.0)),
        ("samples.prompts=a photo, smiling", "samples.prompts", ("a photo, smiling",)),
        ('samples.prompts=["a", "b"]', "samples.prompts", ("a", "b")),
        ("exposures_wanted=[50, 80]", "schedule.exposures_wanted", (50, 80)),
        ("adapter.alpha=0", "adapter.alpha", 0.0),
    ],
)
def test_typed_values(typed: str, key: str, value: object) -> None:
    name, _, text = typed.partition("=")
    assert schema.parse_value(name, text) == (key, value)


@pytest.mark.parametrize(
    ("typed", "complaint"),
    [
        ("adapter.rnak=32", "did you mean adapter.rank"),
        ("precision=fp16", "training.precision or output.precision"),
        ("adapter.rank=big", "expected a whole number"),
        ("adapter.rank=1.5", "expected a whole number"),
        ("adapter.rank=true", "expected a number"),
        ("adapter.rank=0", "too small; the least is 1"),
        ("adapter.rank=9999", "too large; the most is 1024"),
        ("schedule.image_steps=2000000000", "too large; the most is 1000000000"),
        ("optimizer.learning_rate=0", "more than 0"),
        ("optimizer.learning_rate=inf", "finite"),
        ("optimizer.learning_rate=nan", "finite"),
        ("dataset.flip=yes", "expected true or false"),
        ("schedule.rule=per_epock", "did you mean per_epoch"),
        ("exposures_wanted=[50]", "expected 2 values"),
        ("exposures_wanted=[80, 50]", "the least, 80, is more than the most, 50"),
        ("samples.prompts=[]", "at least one"),
        ("samples.prompts=[1]", "expected text"),
        ("image_bands=many", "does not look like"),
        ("wombat.rank=3", "no such setting"),
    ],
)
def test_wrong_values_say_what_was_expected(typed: str, complaint: str) -> None:
    name, _, text = typed.partition("=")
    with pytest.raises(SchemaError, match=complaint):
        schema.parse_value(name, text)


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        (
            "[adapter]\nrank = 16\n\n[optimizer]\nlerning_rate = 1\n",
            "f.toml, line 5: optimizer.lerning_rate: no such key; did you mean learning_rate",
        ),
        ("[adapter]\nlearning_rate = 1\n", "line 2: adapter.learning_rate: no such key; it belongs to \\[optimizer\\]"),
        ("[adaptor]\nrank = 1\n", "line 1: \\[adaptor\\]: no such section; did you mean adapter"),
        ("adapter = 3\n", "line 1: adapter: expected a section"),
        ('[adapter]\n"rank" = "x"\n', "line 2: adapter.rank: expected a number"),
        ("adapter.rank = 5000\n", "line 1: adapter.rank: 5000 is too large"),
    ],
)
def test_errors_in_files_name_the_line(source: str, complaint: str) -> None:
    with pytest.raises(SchemaError, match=complaint):
        read_settings(tomllib.loads(source), origin="f.toml", text=source)


@given(st.sampled_from(sorted(KEYS)), st.text(max_size=40))
def test_any_typed_text_is_read_or_refused_in_words(key: str, text: str) -> None:
    complaint = ""
    try:
        full, value = schema.parse_value(key, text)
        assert schema.get(schema.replace(Settings(), {full: value}), full) == value
    except SchemaError as error:
        complaint = str(error)
    assert complaint == "" or complaint.startswith(f"{key}: ")


@given(st.text(max_size=60))
def test_any_key_is_known_or_refused_in_words(text: str) -> None:
    complaint = ""
    try:
        assert schema.resolve_key(text) in KEYS
    except SchemaError as error:
        complaint = str(error)
    assert complaint == "" or complaint.startswith(f"{text}: ")


@pytest.mark.parametrize("key", ["dataset.trigger", "dataset.class_word", "output.name"])
def test_words_that_are_no_text_are_refused_and_file_names_are_not(key: str) -> None:
    with pytest.raises(SchemaError, match="not UTF-8"):
        schema.parse_value(key, "a\udcff")
    assert schema.parse_value("dataset.path", "a\udcff") == ("dataset.path", "a\udcff")
