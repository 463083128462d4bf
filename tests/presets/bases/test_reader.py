"""The reader: right on drawings, right after the autoencoder and after blur, at chance on strangers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from loratui.presets.bases import embedded_base
from loratui.presets.bases.make.measure import identity_shares, likeness, shares_right
from loratui.presets.bases.make.people import ANAFOX, IDENTITY, invent_portrait, pose
from loratui.presets.bases.make.portraits import draw
from loratui.presets.bases.make.reader import WEIGHTS, Reader, load_reader, read
from loratui.presets.bases.make.train_vae import decode, encode


@pytest.fixture(scope="module")
def reader() -> Reader:
    return load_reader()


@pytest.fixture(scope="module")
def own() -> np.ndarray:
    rng = np.random.default_rng(21)
    return np.stack([draw(pose(ANAFOX, rng)) for _ in range(24)])


def test_the_weights_are_small() -> None:
    assert WEIGHTS.stat().st_size <= 1_500_000


def test_the_person_is_read_from_her_own_drawings(reader: Reader, own: np.ndarray) -> None:
    assert likeness(read(reader, own)) >= 0.97


def test_strangers_are_hardly_like_her(reader: Reader) -> None:
    rng = np.random.default_rng(22)
    strangers = np.stack([draw(invent_portrait(rng)) for _ in range(60)])
    assert 0.15 <= likeness(read(reader, strangers)) <= 0.3


def test_strangers_are_read_right_in_every_feature(reader: Reader) -> None:
    rng = np.random.default_rng(23)
    people = [invent_portrait(rng, with_held_out=True) for _ in range(60)]
    right = shares_right(read(reader, np.stack([draw(p) for p in people])), [vars(p) for p in people])
    assert min(right.values()) >= 0.95, right


def test_the_autoencoders_blur_does_not_mislead_it(reader: Reader, own: np.ndarray) -> None:
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_pretrained(embedded_base("sd15") / "vae", torch_dtype=torch.float32)
    again = decode(vae, encode(vae, torch.from_numpy(own[:8]))).numpy()
    assert np.abs(again.astype(int) - own[:8]).mean() > 0.5
    assert likeness(read(reader, again)) >= 0.97


def test_a_soft_image_does_not_mislead_it(reader: Reader, own: np.ndarray) -> None:
    soft = np.stack([np.asarray(Image.fromarray(p).filter(ImageFilter.GaussianBlur(0.7))) for p in own])
    assert likeness(read(reader, soft)) >= 0.9


def test_likeness_is_the_mean_share_of_the_identity() -> None:
    right = {name: getattr(ANAFOX, name) for name in IDENTITY}
    bald_blond = {**right, "style": "bald", "hair": "blond"}
    assert likeness([right]) == 1.0
    assert identity_shares([right, bald_blond])["hair"] == 0.5
    assert likeness([right, bald_blond]) == pytest.approx(1 - 1 / len(IDENTITY))


def test_shares_right_counts_only_what_was_wanted_and_no_bald_heads_hair() -> None:
    found = [{"mood": "smiling", "hair": "red"}, {"mood": "serious", "hair": "red"}]
    assert shares_right(found, [{"mood": "smiling"}, {"mood": "smiling"}]) == {"mood": 0.5}
    assert shares_right(found, [{"hair": "blue", "style": "bald"}, {"hair": "red", "style": "bob"}]) == {"hair": 1.0}
