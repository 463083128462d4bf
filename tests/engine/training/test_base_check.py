"""The embedded bases are read for what they are: on their own drawings, on images that they never saw, and broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from PIL import Image

from loratui.engine.families.model import LoadOptions, SizeConditioning, load_model
from loratui.engine.planning.base_readings import BaseReadings, judge
from loratui.engine.planning.bases import find_base
from loratui.engine.planning.recipe import build_recipe
from loratui.engine.training import base_check
from loratui.engine.training.base_check import Shown, read_base
from loratui.engine.training.images import to_tensor
from loratui.presets.bases import demo_dataset
from loratui.presets.schema import replace

PRESETS = {"sd15": "demo", "sdxl": "demo:sdxl", "flux": "demo:flux"}


@pytest.fixture(autouse=True)
def fewer_noises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_check, "DRAWS", 1)


def base(family: str, **changes: Any) -> Any:
    settings = build_recipe(PRESETS[family]).settings
    settings = replace(settings, {key.replace("__", "."): value for key, value in changes.items()})
    own: Any = load_model(find_base(settings.base), settings, LoadOptions(torch.device("cpu"), torch.float32))
    own.free_vae = lambda: None  # it is asked again
    return own


@pytest.fixture(scope="module", params=PRESETS)
def right(request: pytest.FixtureRequest) -> Any:
    return base(request.param)


def drawings() -> list[tuple[Image.Image, str]]:
    files = sorted(demo_dataset().glob("*.png"))[:2]
    return [(Image.open(file).convert("RGB").resize((128, 128)), file.with_suffix(".txt").read_text()) for file in files]


def photo_like() -> list[tuple[Image.Image, str]]:
    """Colours and shapes as spread over all sizes as those of photos: noise of falling strength from coarse to fine."""
    source = torch.Generator().manual_seed(5)
    image = torch.zeros(3, 128, 128)
    for side in (2, 4, 8, 16, 32, 64, 128):
        grey = torch.randn(1, 1, side, side, generator=source) + 0.5 * torch.randn(1, 3, side, side, generator=source)
        image += torch.nn.functional.interpolate(grey, (128, 128), mode="bicubic")[0] * 25 * (8 / (8 + side))
    array = (image + 128).clamp(0, 255).byte().permute(1, 2, 0).contiguous().numpy()
    return [(Image.fromarray(array, "RGB"), "a photo of nothing in particular")]


def one_colour() -> list[tuple[Image.Image, str]]:
    return [(Image.new("RGB", (128, 128), (250, 250, 250)), "")]


@torch.no_grad()
def read(own: Any, images: list[tuple[Image.Image, str]]) -> BaseReadings:
    (empty,) = own.encode_prompts([""])
    shown = []
    for image, caption in images:
        pixels = to_tensor(image)
        (text,) = own.encode_prompts([caption])
        latents = own.encode_image(pixels)
        shown.append(Shown(pixels, latents, text, empty if caption else None, SizeConditioning.whole(128, 128)))
    return read_base(own, shown, torch.autocast("cpu", enabled=False), family=own.spec.name, embedded=True)


@pytest.mark.parametrize("images", [drawings, photo_like, one_colour])
def test_a_right_base_passes_on_any_images(right: Any, images: Callable[[], list[tuple[Image.Image, str]]]) -> None:
    found = read(right, images())
    assert judge(found) is None
    if images is drawings:  # its own kind
        assert found.of_linear < 0.12
        assert found.text_gain is not None
        assert found.text_gain > 1.02
        assert found.vae_psnr_db is not None
        assert found.vae_psnr_db > 28
    if images is one_colour:
        assert found.text_gain is None
        assert found.vae_correlation is None


@pytest.mark.parametrize("first", ["noise", "plain"])
def test_an_image_that_no_vae_gives_back_condemns_none(monkeypatch: pytest.MonkeyPatch, first: str) -> None:
    monkeypatch.setattr(base_check, "DRAWS", 2)
    noise = torch.randint(0, 256, (128, 128, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    image = Image.fromarray(noise.numpy(), "RGB") if first == "noise" else Image.new("RGB", (128, 128), (9, 9, 9))
    found = read(base("sd15"), [(image, ""), *drawings()])
    assert judge(found) is None
    assert found.vae_psnr_db is not None
    assert found.vae_psnr_db > 28
    assert found.vae_correlation is not None


def test_the_same_base_reads_the_same_twice(right: Any) -> None:
    first, second = read(right, drawings()).to_json(), read(right, drawings()).to_json()
    assert {**first, "seconds": 0} == {**second, "seconds": 0}


@contextmanager
def changed(own: Any, change: Callable[[Any], Callable[[], None]]) -> Iterator[Any]:
    undo = change(own)
    try:
        yield own
    finally:
        undo()


def turned(own: Any) -> Callable[[], None]:
    """The denoiser's last layer with the other sign."""
    denoiser = own.denoiser
    last = denoiser.conv_out if hasattr(denoiser, "conv_out") else denoiser.proj_out

    @torch.no_grad()
    def turn() -> None:
        last.weight.neg_()
        last.bias.neg_()

    turn()
    return turn


def scaled(own: Any) -> Callable[[], None]:
    """The VAE's factor six times too large, about as if it were left out."""
    vae = own._parts["vae"]
    factor = vae.config.scaling_factor
    vae.register_to_config(scaling_factor=6 * factor)
    return lambda: vae.register_to_config(scaling_factor=factor)


def foreign(own: Any) -> Callable[[], None]:
    """A VAE whose latents mean something else, encoded and decoded by itself as well as before: its channels in another order."""
    encode, decode = own.encode_image, own.decode_image
    order = torch.roll(torch.arange(own.spec.vae.channels), 1)
    back = torch.argsort(order)
    signs = torch.tensor([(-1.0) ** n for n in range(own.spec.vae.channels)]).view(-1, 1, 1)

    def encode_image(pixels: Any) -> Any:
        latents = encode(pixels)
        return type(latents)(latents.mean[order] * signs, latents.std[order])

    own.encode_image, own.decode_image = encode_image, lambda latents: decode((latents * signs)[back])

    def undo() -> None:
        own.encode_image, own.decode_image = encode, decode

    return undo


def scrambled(part: Callable[[Any], Any]) -> Callable[[Any], Callable[[], None]]:
    """Every weight of a part at another place."""

    @torch.no_grad()
    def change(own: Any) -> Callable[[], None]:
        model, source = part(own), torch.Generator().manual_seed(1)
        kept = {name: value.clone() for name, value in model.state_dict().items()}
        for value in model.parameters():
            flat = value.view(-1)
            flat.copy_(flat[torch.randperm(flat.numel(), generator=source)])
        return lambda: model.load_state_dict(kept)

    return change


@pytest.mark.parametrize(
    ("change", "told", "images"),
    [
        (turned, "sign", photo_like),
        (scaled, "vae_scale", drawings),
        (foreign, "nothing", photo_like),
        (foreign, "nothing", drawings),
        (scrambled(lambda own: own.denoiser), "nothing", drawings),
        (scrambled(lambda own: own._parts["vae"]), "vae", photo_like),
    ],
    ids=["sign", "scale", "foreign VAE on photos", "foreign VAE", "denoiser", "VAE"],
)
def test_what_is_broken_is_told(
    right: Any, change: Callable[[Any], Callable[[], None]], told: str, images: Callable[[], list[tuple[Image.Image, str]]]
) -> None:
    with changed(right, change) as broken:
        found = judge(read(broken, images()))
    assert found is not None
    # Random latents can have any spread.
    assert found.variant == told or (told, found.variant) == ("vae", "vae_scale")


@pytest.mark.parametrize("images", [drawings, photo_like])
def test_the_other_prediction_is_told(images: Callable[[], list[tuple[Image.Image, str]]]) -> None:
    found = judge(read(base("sd15", base__prediction="v"), images()))
    assert found is not None
    assert found.variant == "prediction"
    assert "Set base.prediction=epsilon." in found.remedy


def test_a_text_encoder_that_harms_is_told() -> None:
    """Only where captions make it worse: a wrong one that merely says nothing has no effect that could be told from chance."""
    own = base("sd15")
    with changed(own, scrambled(lambda own: own.text_encoders["text_encoder"])) as broken:
        found = judge(read(broken, drawings()))
    assert found is not None
    assert found.variant == "text"


def test_too_little_memory_to_decode_is_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    own = base("sd15")

    def decode_image(latents: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(own, "decode_image", decode_image)
    found = read(own, drawings())
    assert (found.vae_psnr_db, judge(found)) == (None, None)


def test_a_slow_machine_draws_one_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_check, "LONGEST_S", -1.0)
    monkeypatch.setattr(base_check, "DRAWS", 4)
    assert read(base("sd15"), drawings()).draws == 1
