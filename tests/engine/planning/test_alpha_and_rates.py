"""Alpha follows the rank wherever a preset means it to, and rates that are absurd for their optimizer are told before they cost money."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loratui.engine.findings import Finding
from loratui.engine.planning import rates
from loratui.engine.planning.recipe import Recipe, build_recipe, effective_toml, parse_sets, read_recipe, read_to_begin
from loratui.engine.planning.schedule import plan_for_counts
from loratui.presets import list_presets, load_preset, schema
from loratui.presets.schema import SchemaError
from loratui.tui.wizard.draft import Draft
from loratui.tui.wizard.drafts import DraftSaver, list_drafts

EVERY = [one.name for preset in list_presets() if preset.shipped for one in (preset, *preset.variants.values())]
FOLLOWING = [name for name in EVERY if not name.endswith(":prodigy")]
"""The guide gives adaptive optimizers alpha 1, whatever the rank."""


def advice(preset: str, *sets: str, images: int = 18) -> dict[str, Finding]:
    return {w.code: w for w in plan_for_counts(build_recipe(preset, sets=sets), images).warnings}


@pytest.mark.parametrize("preset", FOLLOWING)
@pytest.mark.parametrize("rank", [1, 8, 64, 128])
def test_another_rank_leaves_the_effective_rate_as_it_was(preset: str, rank: int) -> None:
    before, after = build_recipe(preset).settings, build_recipe(preset, sets=(f"rank={rank}",)).settings
    assert rates.effective_learning_rate(after) == pytest.approx(rates.effective_learning_rate(before))


def test_the_guides_alphas_are_what_they_were() -> None:
    alphas = {name: load_preset(name).settings.adapter.effective_alpha for name in EVERY}
    assert alphas == {
        "flux-identity-18img": 16, "flux-identity-18img:dev2pro": 16, "pony-realism": 32, "sd15-portrait": 128,
        "sd15-portrait:anime": 32, "multi-concept": 32, "sd15-character": 32, "sd15-character:prodigy": 1,
        "sd15-character:easy": 8, "sd15-character:locon": 16, "sd15-dreambooth": 32, "sdxl-character": 16,
        "sdxl-character:prodigy": 1, "sdxl-person": 16, "style": 16, "demo": 32, "demo:sdxl": 32, "demo:flux": 32,
    }  # fmt: skip


def test_alpha_follows_through_every_way_in(tmp_path: Path) -> None:
    by_set = build_recipe("sd15-portrait", sets=("rank=8",))
    (tmp_path / "own.toml").write_text('preset = "sd15-portrait"\n[adapter]\nrank = 8\n')
    (tmp_path / "written.toml").write_text(by_set.to_toml())
    draft = Draft().with_preset("sd15-portrait").with_text("adapter.rank", "8")
    saver = DraftSaver(tmp_path)
    saver.save("a", draft, "plan")
    saver.flush(30)
    [saved] = list_drafts(tmp_path)
    reopened = saved.open().recipe
    assert draft.recipe is not None
    assert reopened is not None
    for recipe in (by_set, read_recipe(tmp_path / "own.toml"), read_recipe(tmp_path / "written.toml"), draft.recipe, reopened):
        assert (recipe.settings.adapter.rank, recipe.settings.adapter.effective_alpha) == (8, 8.0)
        assert rates.alpha_in_words(recipe.settings.adapter) == "8 (follows rank)"
        assert recipe.changed == {"adapter.rank"}
    effective = effective_toml(by_set, plan_for_counts(by_set, 18))
    assert re.search(r"^alpha = 8\.0", effective, re.MULTILINE), "every value in force stands in effective.toml"


@pytest.mark.parametrize(
    ("own", "effective"),
    [
        ('extends = "sd15-portrait"\n[adapter]\nrank = 64\nalpha = 64.0\n', 8.0),
        ('extends = "sdxl-person"\n[adapter]\nrank = 16\nalpha = 16\n', 8.0),
        ('extends = "sd15-portrait"\n[adapter]\nrank = 64\nalpha = 32.0\n', 32.0),
        ('extends = "sd15-character:prodigy"\n[adapter]\nrank = 1\n', 1.0),  # its alpha is 1 for Prodigy's sake
    ],
)
def test_alpha_follows_where_a_preset_of_ones_own_has_it_as_its_rank(
    own: str, effective: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORATUI_CONFIG", str(tmp_path))
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "mine.toml").write_text(own)
    assert build_recipe("mine", sets=("rank=8",)).settings.adapter.effective_alpha == effective
    (tmp_path / "presets" / "child.toml").write_text('extends = "mine"\n[adapter]\nrank = 8\n')
    assert load_preset("child").settings.adapter.effective_alpha == effective


@pytest.mark.parametrize(
    ("preset", "rank", "alpha"), [("sd15-portrait", 128, 128.0), ("sdxl-person", 32, 16.0), ("", 16, 16.0)]
)
def test_alpha_follows_again_in_a_run_begun_from_a_file_of_an_earlier_version(
    preset: str, rank: int, alpha: float, tmp_path: Path
) -> None:
    """Earlier versions wrote the number into every recipe, as `effective.toml` has it to this day."""
    old = tmp_path / "old.toml"
    old.write_text(f'preset = "{preset}"\nchanged = ["dataset.trigger"]\n[adapter]\nrank = {rank}\nalpha = {alpha}\n')
    recipe = read_to_begin(old)
    assert recipe.settings.adapter.effective_alpha == alpha
    assert "adapter.alpha" not in recipe.changed
    assert recipe.with_changes({"adapter.rank": rank // 4}).settings.adapter.effective_alpha == alpha / 4
    assert read_recipe(old).settings.adapter.alpha == alpha  # a run goes on with what its file says
    for own in ('changed = ["adapter.alpha"]\n', ""):
        old.write_text(f'preset = "{preset}"\n{own}[adapter]\nrank = {rank}\nalpha = {alpha}\n')
        assert read_to_begin(old).settings.adapter.alpha == alpha


def test_alpha_follows_again_in_a_run_begun_from_what_was_in_force(tmp_path: Path) -> None:
    recipe = build_recipe("sd15-portrait", trigger="anafox")
    (tmp_path / "effective.toml").write_text(effective_toml(recipe, plan_for_counts(recipe, 15)))
    begun = read_to_begin(tmp_path / "effective.toml").with_changes({"adapter.rank": 8})
    assert begun.settings.adapter.effective_alpha == 8
    prodigy = build_recipe("sd15-character:prodigy", sets=("rank=1",))
    (tmp_path / "effective.toml").write_text(effective_toml(prodigy, plan_for_counts(prodigy, 15)))
    assert read_to_begin(tmp_path / "effective.toml").with_changes({"adapter.rank": 8}).settings.adapter.effective_alpha == 1


def test_an_alpha_of_ones_own_stays(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('preset = "sd15-portrait"\n[adapter]\nalpha = 128.0\n')
    loaded = read_recipe(tmp_path / "r.toml").with_changes({"adapter.rank": 8})
    typed = build_recipe("sd15-portrait", sets=("alpha=128", "rank=8"))
    for recipe in (loaded, typed, typed.with_changes({"training.batch_size": 3})):
        assert recipe.settings.adapter.effective_alpha == 128
        assert "adapter.alpha" in recipe.changed
        assert rates.alpha_in_words(recipe.settings.adapter) == "128"
    assert typed.reset("adapter.alpha").settings.adapter.effective_alpha == 8
    assert advice("sd15-portrait", "alpha=128", "rank=8")["rate_high"].remedy.startswith("Set adapter.alpha=0")


@pytest.mark.parametrize("kind", ["loha", "lokr"])
@pytest.mark.parametrize("preset", EVERY)
def test_loha_and_lokr_have_the_rank_as_alpha_whatever_the_preset_has(preset: str, kind: str, tmp_path: Path) -> None:
    recipe = build_recipe(preset, sets=(f"kind={kind}", "dropout=0"))
    adapter = recipe.settings.adapter
    assert adapter.effective_alpha == adapter.rank
    assert "lycoris_alpha" not in {w.code for w in plan_for_counts(recipe, 18).warnings}
    assert not {"adapter.alpha", "adapter.alpha_ratio", "adapter.conv_alpha"} & recipe.changed
    (tmp_path / "r.toml").write_text(f'preset = "{preset}"\n[adapter]\nkind = "{kind}"\n')
    assert read_recipe(tmp_path / "r.toml").settings.adapter.effective_alpha == adapter.rank
    assert (
        recipe.with_changes({"adapter.kind": "lora"}).settings.adapter
        == schema.replace(load_preset(preset).settings, {"adapter.kind": "lora", "adapter.dropout": 0.0}).adapter
    ), "back at lora, the alphas are the preset's again"


def test_a_preset_of_ones_own_for_loha_has_the_rank_as_alpha(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORATUI_CONFIG", str(tmp_path))
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "mine.toml").write_text('extends = "sdxl-person"\n[adapter]\nkind = "loha"\n')
    assert build_recipe("mine", sets=("rank=8",)).settings.adapter.effective_alpha == 8


@pytest.mark.parametrize(
    "sets",
    [
        ("alpha=16",),
        ("alpha_ratio=0.5",),
        ("rank_stabilised=true",),
        ("targets=sd-scripts+conv", "conv_rank=16", "conv_alpha=1"),
    ],
)
def test_another_alpha_of_loha_stays_and_is_told(sets: tuple[str, ...]) -> None:
    told = advice("sd15-portrait", "kind=loha", *sets)["lycoris_alpha"]
    assert "apply it twice" in told.message
    fixed = parse_sets(re.findall(r"adapter\.\w+=[\w.]*\w", told.remedy))
    recipe = build_recipe("sd15-portrait", sets=("kind=loha", *sets)).with_changes(fixed)
    assert "lycoris_alpha" not in {w.code for w in plan_for_counts(recipe, 18).warnings}
    assert "lycoris_alpha" not in advice("sd15-portrait", *sets)


def test_an_alpha_set_before_the_kind_stays_in_a_draft(tmp_path: Path) -> None:
    """Even one that happens to be the preset's."""
    recipe = build_recipe("sd15-character:prodigy", sets=("kind=loha", "alpha=1", "dropout=0"))
    assert recipe.settings.adapter.effective_alpha == 1
    assert "adapter.alpha" in recipe.changed
    saver = DraftSaver(tmp_path)
    saver.save("a", Draft(recipe), "plan")
    saver.flush(30)
    assert list_drafts(tmp_path)[0].open().recipe == recipe
    earlier = build_recipe("sd15-portrait", sets=("alpha=16",)).with_changes({"adapter.kind": "lokr"})
    assert earlier.settings.adapter.effective_alpha == 16


RATES = [
    ("sd15-portrait", ("learning_rate=1",), "rate_high", "Prodigy"),
    ("sd15-portrait", ("optimizer.name=adamw", "learning_rate=1"), "rate_high", "it does not find the rate"),
    ("sd15-portrait", ("optimizer.name=adafactor", "learning_rate=1"), "rate_high", "Adafactor"),
    (
        "sd15-portrait",
        ("optimizer.name=adamw_schedule_free", "scheduler=constant", "learning_rate=1"),
        "rate_high",
        "schedule-free",
    ),
    ("sd15-portrait", ("optimizer.name=lion",), "rate_high", "Lion"),  # AdamW's rate is 3 to 10 times Lion's
    ("sd15-character:prodigy", ("optimizer.name=adamw",), "rate_high", "AdamW"),
    ("sd15-character:prodigy", ("optimizer.name=lion",), "rate_high", "Lion"),
    ("demo", ("learning_rate=1",), "rate_high", "AdamW"),  # on the embedded bases, too
    ("demo:flux", ("learning_rate=0.1",), "rate_high", "AdamW"),
    ("flux-identity-18img", ("base.model=embedded:flux", "learning_rate=1"), "rate_high", "AdamW"),
    ("sdxl-person", ("learning_rate=4e-7",), "rate_low", "little will be learnt"),
    ("sdxl-person", ("alpha=512",), "rate_high", "alpha 512 / rank 32"),
    ("sd15-portrait", ("optimizer.name=prodigy", "alpha=1"), "adaptive_rate", "1e-4 scales"),
    ("sd15-character:prodigy", ("learning_rate=1e-4", "text_encoder_learning_rate=1e-4"), "adaptive_rate", "Prodigy"),
    ("sd15-character:prodigy", ("d_coef=50",), "adaptive_coefficient", "d_coef 50"),
    ("sdxl-person", ("text_encoder_learning_rate=1",), "text_rate_high", "faster (1)"),
    ("sdxl-person", ("learning_rate=1", "text_encoder_learning_rate=1"), "text_rate_high", "at 0.5"),
    ("sdxl-person", ("text_encoder_learning_rate=4e-9",), "text_rate_low", "next to nothing"),
    ("style", ("conv_alpha=512",), "conv_rate_high", "alpha 512 / rank 16"),
]


@pytest.mark.parametrize(("preset", "sets", "code", "words"), RATES)
def test_rates_that_are_absurd_for_their_optimizer_are_told_and_the_remedy_mends(
    preset: str, sets: tuple[str, ...], code: str, words: str
) -> None:
    found = advice(preset, *sets)
    assert words in found[code].message
    fixed = parse_sets(re.findall(r"(?:optimizer|adapter)\.\w+=[\w.-]*\w", found[code].remedy.partition(", or ")[0]))
    assert fixed
    recipe = build_recipe(preset, sets=sets).with_changes(fixed)
    assert code not in {w.code for w in plan_for_counts(recipe, 18).warnings}


@pytest.mark.parametrize("preset", EVERY)
def test_no_rate_of_a_preset_is_told(preset: str) -> None:
    told = {code for code in advice(preset) if "rate" in code or "alpha" in code or "adaptive" in code}
    assert not told


@given(
    st.sampled_from(FOLLOWING),
    st.sampled_from(["auto", "adamw", "adafactor", "lion", "adamw_schedule_free"]),
    st.floats(1e-9, 10),
    st.integers(1, 1024),
    st.one_of(st.none(), st.floats(0.01, 4096)),
    st.booleans(),
)
def test_any_rates_remedy_mends(preset: str, optimizer: str, rate: float, rank: int, alpha: float | None, rooted: bool) -> None:
    changes = {"optimizer.name": optimizer, "optimizer.learning_rate": rate, "adapter.rank": rank}
    changes |= {"adapter.rank_stabilised": rooted, **({} if alpha is None else {"adapter.alpha": alpha})}
    recipe = build_recipe(preset).with_changes(changes)
    for told in plan_for_counts(recipe, 18).warnings:
        if told.code in ("rate_high", "rate_low"):
            after = recipe.with_changes(parse_sets(re.findall(r"(?:optimizer|adapter)\.\w+=[\w.-]*\w", told.remedy)))
            assert not {"rate_high", "rate_low"} & {w.code for w in plan_for_counts(after, 18).warnings}


@pytest.mark.parametrize(("typed", "meant"), [("1e4", "0.0001"), ("5e5", "2e-06"), ("1000", "0.001")])
def test_a_rate_without_its_minus_sign_is_guessed(typed: str, meant: str) -> None:
    for key in ("learning_rate", "text_encoder_learning_rate"):
        with pytest.raises(SchemaError, match=re.escape(f"did you mean {meant}?")):
            build_recipe("sd15-portrait", sets=(f"{key}={typed}",))


def _as_words(recipe: Recipe) -> str:
    return rates.learning_in_words(recipe.settings)


def test_the_effective_rate_in_words() -> None:
    assert _as_words(build_recipe("sd15-portrait", sets=("rank=8",))) == (
        "Rank 8, alpha 8 (follows rank). Learning rate 1e-4, effective 1e-4."
    )
    assert _as_words(build_recipe("sdxl-person")) == (
        "Rank 32, alpha 16 (follows rank × 0.5). Learning rate 4e-4, effective 2e-4."
    )
    assert "prodigy finds the rate, scaled by 0.0312" in _as_words(build_recipe("sd15-character:prodigy"))
