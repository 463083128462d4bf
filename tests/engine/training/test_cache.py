"""Latents and text states on disk: a stale or damaged one is never used."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from harm import harm, harms
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from loratui.engine.dataset.ledger import LedgerEntry, read_ledger
from loratui.engine.errors import NotFiniteError
from loratui.engine.families.flux import model as flux
from loratui.engine.families.model import LoadOptions, Model
from loratui.engine.families.sd15.model import Sd15, load
from loratui.engine.formats.base_files import identify
from loratui.engine.runs.directory import RunDirectory
from loratui.engine.training.cache import LatentCache, TextCache
from loratui.presets import schema
from loratui.presets.schema import Base, Settings


@pytest.fixture
def entry(make_run: Callable[..., RunDirectory]) -> LedgerEntry:
    return read_ledger(make_run().dataset).images[0]


def latents(folder: Path, family: Sd15, entry: LedgerEntry, flips: Sequence[bool] = (False,)) -> LatentCache:
    folder.mkdir(exist_ok=True)
    cache = LatentCache(folder, family)
    cache.fill([entry], flips, lambda *_: None)
    return cache


def texts(folder: Path, family: Model, caption: str) -> TextCache:
    folder.mkdir(exist_ok=True)
    cache = TextCache(folder, family)
    cache.fill([caption], lambda *_: None)
    return cache


def other(base_folder: Path, place: Path, file: str = "", change: Callable[[Any], Any] = lambda content: content) -> Sd15:
    """The base again, at another place; with `change` made to the content of one of its files."""
    shutil.copytree(base_folder, place)
    if file.endswith(".safetensors"):
        save_file(change(load_file(place / file)), place / file)
    elif file:
        (place / file).write_text(json.dumps(change(json.loads((place / file).read_text()))))
    family = load(identify(place), Settings(), LoadOptions(torch.device("cpu"), torch.float32))
    assert isinstance(family, Sd15)
    return family


def first_value_moved(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    tensors[min(tensors)].view(-1)[0].add_(1e-3)
    return tensors


def test_latents_are_encoded_once_and_anew_for_all_that_changes_them(
    tmp_path: Path, base_folder: Path, family: Sd15, entry: LedgerEntry
) -> None:
    folder = tmp_path / "cache"
    latents(folder, family, entry)
    assert len(list(folder.iterdir())) == 1
    family.encode_image = None  # type: ignore[method-assign,assignment]
    latents(folder, family, entry)

    same = other(base_folder, tmp_path / "same")
    vae = other(base_folder, tmp_path / "vae", "vae/diffusion_pytorch_model.safetensors", first_value_moved)
    scale = other(base_folder, tmp_path / "scale", "vae/config.json", lambda config: {**config, "scaling_factor": 0.13})
    changes: list[tuple[Sd15, LedgerEntry, Sequence[bool]]] = [
        (same, entry, (True,)),
        (same, replace(entry, bucket=replace(entry.bucket, width=56)), (False,)),
        (same, replace(entry, fit=replace(entry.fit, resized_w=72, left=4)), (False,)),
        (vae, entry, (False,)),
        (scale, entry, (False,)),
    ]
    for number, (made_by, changed, flips) in enumerate(changes, 2):
        latents(folder, made_by, changed, flips)
        assert len(list(folder.iterdir())) == number


def test_row_36_an_image_with_one_other_pixel_is_another_one_even_under_the_same_name(
    tmp_path: Path, family: Sd15, entry: LedgerEntry
) -> None:
    folder = tmp_path / "cache"
    before = latents(folder, family, entry).get(entry)
    image = Image.open(entry.path).convert("RGB")
    red, green, blue = image.getpixel((3, 3))  # type: ignore[misc]
    image.putpixel((3, 3), (255 - red, green, blue))
    image.save(entry.path)
    edited = replace(entry, sha256=hashlib.sha256(entry.path.read_bytes()).hexdigest())
    after = latents(folder, family, edited).get(edited)
    assert not torch.equal(before.mean, after.mean)
    assert len(list(folder.iterdir())) == 2


def test_row_36_text_states_depend_on_the_settings_and_the_format_that_they_are_made_with(
    base_folder: Path, flux_folder: Path
) -> None:
    def text_of(make: Callable[..., Any], folder: Path, dtype: torch.dtype = torch.float32, **changes: object) -> str:
        settings = schema.replace(Settings(), {name.replace("__", "."): value for name, value in changes.items()})
        _, text = make(identify(folder), settings, LoadOptions(torch.device("cpu"), dtype)).fingerprints()
        return str(text)

    plain = text_of(load, base_folder)
    assert text_of(load, base_folder) == plain
    assert text_of(load, base_folder, base__clip_skip=2) != plain
    assert text_of(load, base_folder, dataset__caption_tokens=150) != plain
    # T5 is as the transformer is.
    assert text_of(flux.load, flux_folder) != text_of(flux.load, flux_folder, torch.bfloat16)


def test_row_30_an_image_that_the_vae_cannot_encode_is_named(tmp_path: Path, family: Sd15, entry: LedgerEntry) -> None:
    family._parts["vae"].quant_conv.weight.data[0] = float("nan")
    with pytest.raises(NotFiniteError, match=re.escape(str(entry.path))):
        latents(tmp_path / "cache", family, entry)
    assert not list((tmp_path / "cache").iterdir())


def rename_a_token(tokenizer: dict[str, Any]) -> dict[str, Any]:
    words = tokenizer["model"]["vocab"]
    words["q?"] = words.pop("q")
    return tokenizer


def test_text_states_are_encoded_once_and_anew_for_all_that_changes_them(
    tmp_path: Path, base_folder: Path, family: Sd15
) -> None:
    folder = tmp_path / "cache"
    texts(folder, family, "a fox")
    family.encode_prompts = None  # type: ignore[method-assign,assignment]
    texts(folder, family, "a fox")
    same = other(base_folder, tmp_path / "same")
    texts(folder, same, "a fox")
    texts(folder, same, "a dog")
    skipping = load(identify(base_folder), Settings(base=Base(clip_skip=2)), LoadOptions(torch.device("cpu"), torch.float32))
    texts(folder, skipping, "a fox")
    texts(folder, other(base_folder, tmp_path / "encoder", "text_encoder/model.safetensors", first_value_moved), "a fox")
    texts(folder, other(base_folder, tmp_path / "tokenizer", "tokenizer/tokenizer.json", rename_a_token), "a fox")
    assert len(list(folder.iterdir())) == 5


def test_numbers_that_are_not_finite_are_not_taken_from_the_disk(tmp_path: Path, family: Sd15, entry: LedgerEntry) -> None:
    folder = tmp_path / "cache"
    good = latents(folder, family, entry).get(entry)
    (file,) = folder.iterdir()
    save_file({**load_file(file), "mean": torch.full_like(good.mean, float("nan"))}, file)
    again = latents(folder, family, entry).get(entry)
    assert torch.equal(again.mean, good.mean)
    assert torch.isfinite(load_file(file)["mean"]).all()


def test_a_damaged_file_of_latents_or_text_states_is_made_again_and_named(
    tmp_path: Path, family: Sd15, entry: LedgerEntry
) -> None:
    """Faults: damaged files of a run, each kind, at any place."""
    images, words = tmp_path / "latents", tmp_path / "words"
    good, said = latents(images, family, entry).get(entry), texts(words, family, "a fox").get("a fox")
    (image,), (word,) = images.iterdir(), words.iterdir()
    for file in (image, word):
        whole = file.read_bytes()
        for what, data in harms(whole):
            harm(file, data)
            cache = latents(images, family, entry) if file == image else texts(words, family, "a fox")
            if isinstance(cache, LatentCache):
                assert torch.equal(cache.get(entry).mean, good.mean), what
                assert torch.equal(cache.get(entry).std, good.std), what
            else:
                assert all(torch.equal(value, said.tensors[name]) for name, value in cache.get("a fox").tensors.items()), what
                assert cache.get("a fox").tokens_cut == said.tokens_cut
            assert cache.damaged == [file.name], what
            assert file.read_bytes() == whole, what


def test_a_cache_file_under_another_s_name_is_not_used(tmp_path: Path, family: Sd15) -> None:
    folder = tmp_path / "cache"
    texts(folder, family, "a fox")
    (fox,) = folder.iterdir()
    texts(folder, family, "a dog")
    (dog,) = set(folder.iterdir()) - {fox}
    kept = dog.read_bytes()
    shutil.copy(fox, dog)
    assert texts(folder, family, "a dog").damaged == [dog.name]
    assert dog.read_bytes() == kept


def test_cache_files_of_older_versions_have_no_sum_and_are_still_read(tmp_path: Path, family: Sd15, entry: LedgerEntry) -> None:
    folder = tmp_path / "cache"
    good = latents(folder, family, entry).get(entry)
    (file,) = folder.iterdir()
    save_file(load_file(file), file)
    family.encode_image = None  # type: ignore[method-assign,assignment]
    cache = latents(folder, family, entry)
    assert torch.equal(cache.get(entry).mean, good.mean)
    assert not cache.damaged


def test_the_caption_s_cut_is_remembered(tmp_path: Path, family: Sd15) -> None:
    long = "f" * 100
    assert texts(tmp_path / "cache", family, long).cut() == {long: 25}
    assert texts(tmp_path / "cache", family, long).cut() == {long: 25}
