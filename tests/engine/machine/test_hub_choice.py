"""Which files of a repository are fetched, by listings as the well-known models have them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loratui.engine.machine.hub_cache import cache_folder, parse_id
from loratui.engine.machine.hub_choice import NotChosen, choose
from loratui.engine.machine.hub_words import Failure

SD15 = [
    ".gitattributes", "README.md", "feature_extractor/preprocessor_config.json", "model_index.json",
    "safety_checker/config.json", "safety_checker/model.fp16.safetensors", "safety_checker/model.safetensors",
    "safety_checker/pytorch_model.bin", "scheduler/scheduler_config.json", "text_encoder/config.json",
    "text_encoder/model.fp16.safetensors", "text_encoder/model.safetensors", "text_encoder/pytorch_model.bin",
    "tokenizer/merges.txt", "tokenizer/special_tokens_map.json", "tokenizer/tokenizer_config.json", "tokenizer/vocab.json",
    "unet/config.json", "unet/diffusion_pytorch_model.bin", "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.non_ema.safetensors", "unet/diffusion_pytorch_model.safetensors",
    "v1-5-pruned-emaonly.ckpt", "v1-5-pruned-emaonly.safetensors", "v1-5-pruned.safetensors", "v1-inference.yaml",
    "vae/config.json", "vae/diffusion_pytorch_model.bin", "vae/diffusion_pytorch_model.safetensors",
]  # fmt: skip

FLUX = [
    "LICENSE.md", "ae.safetensors", "flux1-dev.safetensors", "model_index.json", "scheduler/scheduler_config.json",
    "text_encoder/config.json", "text_encoder/model.safetensors", "text_encoder_2/config.json",
    "text_encoder_2/model-00001-of-00002.safetensors", "text_encoder_2/model-00002-of-00002.safetensors",
    "text_encoder_2/model.safetensors.index.json", "tokenizer/vocab.json", "tokenizer/merges.txt",
    "tokenizer_2/spiece.model", "tokenizer_2/tokenizer.json", "transformer/config.json",
    "transformer/diffusion_pytorch_model-00001-of-00003.safetensors",
    "transformer/diffusion_pytorch_model-00002-of-00003.safetensors",
    "transformer/diffusion_pytorch_model-00003-of-00003.safetensors",
    "transformer/diffusion_pytorch_model.safetensors.index.json", "vae/config.json", "vae/diffusion_pytorch_model.safetensors",
]  # fmt: skip


def test_stable_diffusion_15_is_fetched_once_and_without_its_filter() -> None:
    assert choose(SD15) == [
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "tokenizer/merges.txt",
        "tokenizer/special_tokens_map.json",
        "tokenizer/tokenizer_config.json",
        "tokenizer/vocab.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    ]


def test_flux_is_fetched_with_all_shards_and_not_as_one_file_too() -> None:
    chosen = choose(FLUX)
    assert set(FLUX) - set(chosen) == {"LICENSE.md", "ae.safetensors", "flux1-dev.safetensors"}


def test_a_variant_is_taken_where_there_is_nothing_else() -> None:
    only_half = [name for name in SD15 if name != "unet/diffusion_pytorch_model.safetensors"]
    assert [n for n in choose(only_half) if n.startswith("unet/diff")] == ["unet/diffusion_pytorch_model.fp16.safetensors"]
    assert "text_encoder/model.safetensors" in choose(only_half)


def test_shards_of_a_variant_come_with_their_own_index() -> None:
    names = ["model_index.json", "unet/config.json"]
    names += [f"unet/diffusion_pytorch_model.fp16-0000{n}-of-00002.safetensors" for n in (1, 2)]
    names += ["unet/diffusion_pytorch_model.safetensors.index.fp16.json"]
    assert choose(names) == sorted(names)


def test_a_repository_of_the_transformer_alone() -> None:
    names = ["README.md", "config.json", "diffusion_pytorch_model.safetensors.index.json"]
    names += [f"diffusion_pytorch_model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]
    assert choose(names) == sorted(names[1:])


def test_a_file_and_its_shards_are_the_same_weights() -> None:
    shards = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    assert choose(["config.json", "model.safetensors", "model.safetensors.index.json", *shards]) == [
        "config.json",
        "model.safetensors",
    ]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["a.safetensors", "b.safetensors"], "2 models: a.safetensors, b.safetensors"),
        (["model_index.json", "unet/diffusion_pytorch_model.bin"], "unet has no .safetensors weights"),
        (["model_index.json", "vae/diffusion_pytorch_model.safetensors"], "neither a unet nor a transformer"),
        (["pytorch_model.bin"], "can run code"),
        (["README.md"], "no model that can be trained on"),
        ([], "no model that can be trained on"),
    ],
)
def test_where_nothing_can_be_chosen_the_reason_is_said(names: list[str], words: str) -> None:
    with pytest.raises(NotChosen, match=words.replace(".", r"\.")) as caught:
        choose(names)
    assert caught.value.remedy


def test_files_by_name_and_pattern() -> None:
    assert choose(FLUX, ["tokenizer_2/*"]) == ["tokenizer_2/spiece.model", "tokenizer_2/tokenizer.json"]
    assert choose(FLUX, ["ae.safetensors", "ae.*"]) == ["ae.safetensors"]
    with pytest.raises(NotChosen, match="no file t5"):
        choose(FLUX, ["t5xxl.safetensors"])


NAMES = st.lists(
    st.sampled_from([*SD15, *FLUX, "x.safetensors", "pytorch_model.bin", "config.json", "../x.safetensors"]), unique=True
)


@given(NAMES)
def test_what_is_chosen_is_always_there_and_never_runs_code(names: list[str]) -> None:
    try:
        chosen = choose(names)
    except NotChosen:
        return
    assert chosen
    assert set(chosen) <= set(names)
    assert not [name for name in chosen if name.endswith((".bin", ".ckpt", ".pt"))]


def test_names_on_the_hub() -> None:
    named = parse_id("black-forest-labs/FLUX.1-dev")
    assert named is not None
    assert (named.repo, named.file) == ("black-forest-labs/FLUX.1-dev", "")
    with_file = parse_id("o/n/sub/a.safetensors")
    assert with_file is not None
    assert (with_file.repo, with_file.file) == ("o/n", "sub/a.safetensors")
    for text in ("", "a", "/a/b", "../a", "a/../b", "a/b/c", "a b/c", "a/b.safetensors/..", "a--b/c", "x" * 300 + "/y"):
        assert parse_id(text) is None


def test_the_cache_is_where_the_hubs_tools_have_it() -> None:
    assert str(cache_folder({"HF_HUB_CACHE": "/c"})) == "/c"
    assert str(cache_folder({"HF_HOME": "/h"})) == "/h/hub"
    assert str(cache_folder({"XDG_CACHE_HOME": "/x"})) == "/x/huggingface/hub"


def test_no_token_and_no_password_survives_in_words() -> None:
    failure = Failure("network", "hf_abcdEFGH1234 at https://me:pass@proxy:8080/x", "token=abcdefgh")
    assert (failure.message, failure.remedy) == ("[hidden] at https://[hidden]@proxy:8080/x", "token=[hidden]")
