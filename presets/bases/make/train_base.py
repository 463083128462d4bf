"""Makes the embedded base `sd15` and the reader from nothing but a seed: draws portraits, then trains all parts on one GPU.

Usage: python -m loratui.presets.bases.make.train_base OUT [--toy]

OUT gets `sd15/`, `reader.safetensors` and, in `report/`, images and figures for the eye. Parts that OUT already holds are kept,
so a run that was cut short goes on with the next part. `--toy` makes something tiny and useless on a CPU in a minute or two.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from loratui.presets.bases.make.captions import full_caption, invent_caption
from loratui.presets.bases.make.gpu import as_shipped, log, pick_device
from loratui.presets.bases.make.measure import likeness, sample, save_grid, shares_right
from loratui.presets.bases.make.people import ANAFOX, FEATURES, Portrait, invent_portrait, pose
from loratui.presets.bases.make.portraits import draw
from loratui.presets.bases.make.reader import Reader, load_reader, read
from loratui.presets.bases.make.train_reader import train_reader
from loratui.presets.bases.make.train_unet import BETAS, TIMESTEPS, train_unet
from loratui.presets.bases.make.train_vae import decode, encode, signal_to_noise_db, train_vae
from loratui.presets.bases.make.vocabulary import TOKENS, compact_json, learn_vocabulary

SEED = 20261120
CAPTIONS = 4
"""Captions of each image."""

_CHUNK = 250


@dataclass(frozen=True)
class Size:
    """How much is drawn and how long each part is trained."""

    images: int
    reader_images: int
    vae_steps: int
    vae_batch: int
    unet_steps: int
    unet_batch: int
    reader_steps: int
    reader_batch: int
    checked: int


FULL = Size(100_000, 40_000, 3_500, 64, 14_000, 256, 3_000, 256, 256)
TOY = Size(250, 250, 4, 4, 4, 4, 4, 16, 2)


@dataclass(frozen=True)
class Drawn:
    """Images (n, 128, 128, 3), the indices of their features (n, features), and captions, `CAPTIONS` for each."""

    images: Tensor
    labels: Tensor
    captions: list[str]


def draw_many(count: int, stream: int, workers: int, *, for_reader: bool = False) -> Drawn:
    """Draw portraits in worker processes; the same `stream` gives the same images whatever the number of workers.

    For the reader, the person whom the base never sees is among them, and no captions are made.
    """
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        jobs = [(stream, chunk, for_reader) for chunk in range(-(-count // _CHUNK))]
        parts = pool.map(_draw_chunk, jobs, chunksize=1)
    return Drawn(
        torch.from_numpy(np.concatenate([p[0] for p in parts])),
        torch.from_numpy(np.concatenate([p[1] for p in parts])),
        [caption for p in parts for caption in p[2]],
    )


def _draw_chunk(job: tuple[int, int, bool]) -> tuple[NDArray[np.uint8], NDArray[np.int64], list[str]]:
    stream, chunk, for_reader = job
    rng = np.random.default_rng((SEED, stream, chunk))
    portraits = [_draw_lot(rng, for_reader) for _ in range(_CHUNK)]
    captions = [] if for_reader else [invent_caption(p, rng) for p in portraits for _ in range(CAPTIONS)]
    return np.stack([draw(p) for p in portraits]), np.array([p.labels() for p in portraits]), captions


def _draw_lot(rng: np.random.Generator, for_reader: bool) -> Portrait:
    """Somebody by chance; for the reader one in twenty is the demo's person, else somebody who may be as near as can be."""
    if for_reader and rng.random() < 0.05:
        return pose(ANAFOX, rng)
    return invent_portrait(rng, with_held_out=for_reader)


def make_base(out: Path, size: Size, workers: int) -> None:
    """Make all parts that `out` does not hold yet."""
    from diffusers import AutoencoderKL, StableDiffusionPipeline
    from transformers import CLIPTokenizer

    device = pick_device()
    base, report = out / "sd15", out / "report"
    report.mkdir(parents=True, exist_ok=True)
    drawn: Drawn | None = None
    if not (base / "model_index.json").exists():
        drawn = draw_many(size.images, 1, workers)
        log("drawn", len(drawn.images))
    test = draw_many(_CHUNK, 2, workers)

    if drawn and not (base / "tokenizer").exists():
        learn_vocabulary(drawn.captions, base / "tokenizer")
    tokenizer = CLIPTokenizer.from_pretrained(base / "tokenizer")
    if drawn and not (base / "vae").exists():
        torch.manual_seed(SEED)
        _save_half(train_vae(drawn.images.to(device), size.vae_steps, size.vae_batch), base / "vae")
    vae = AutoencoderKL.from_pretrained(base / "vae").to(device)
    again = decode(vae, encode(vae, test.images.to(device))).cpu()
    log(f"autoencoder: {signal_to_noise_db(test.images, again):.2f} dB on images not trained on")
    save_grid(np.concatenate([test.images[:16].numpy(), again[:16].numpy()]), report / "autoencoder.png")

    if drawn:
        latents = encode(vae, drawn.images.to(device))
        vae.register_to_config(scaling_factor=round(1 / float(latents.std()), 5), _name_or_path="sd15")
        ids = torch.tensor(tokenizer([*drawn.captions, ""], padding="max_length", max_length=TOKENS, truncation=True).input_ids)
        texts, empty = ids[:-1].view(-1, CAPTIONS, TOKENS).to(device), ids[-1].to(device)
        torch.manual_seed(SEED + 1)
        latents = latents * vae.config.scaling_factor
        unet, text_encoder = train_unet(latents, texts, empty, tokenizer, steps=size.unet_steps, batch=size.unet_batch)
        _save_pipeline(base, vae, unet, text_encoder, tokenizer)
        del drawn, latents
    pipeline = StableDiffusionPipeline.from_pretrained(base, torch_dtype=torch.float32).to(device)

    if not (out / "reader.safetensors").exists():
        lessons = draw_many(size.reader_images, 3, workers, for_reader=True)
        torch.manual_seed(SEED + 2)
        trained = train_reader(
            vae, lessons.images.to(device), lessons.labels.to(device), steps=size.reader_steps, batch=size.reader_batch
        )
        halves = {name: value.half().contiguous().cpu() for name, value in trained.state_dict().items()}
        save_file(halves, out / "reader.safetensors")
    reader = load_reader(out / "reader.safetensors").to(device)
    figures = {"reader": check_reader(reader, test), "base": check_base(pipeline, reader, size.checked, report)}
    (report / "figures.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    log(json.dumps(figures))
    log("bytes of the base:", sum(f.stat().st_size for f in base.rglob("*") if f.is_file()))


def _save_half(module: Any, folder: Path) -> None:
    module.half().save_pretrained(folder)
    module.float()


def _save_pipeline(base: Path, vae: Any, unet: Any, text_encoder: Any, tokenizer: Any) -> None:
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    scheduler = DDIMScheduler(
        num_train_timesteps=TIMESTEPS,
        beta_start=BETAS[0],
        beta_end=BETAS[1],
        beta_schedule="scaled_linear",
        prediction_type="epsilon",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    pipeline = StableDiffusionPipeline(
        vae=vae.half(),
        text_encoder=text_encoder.half(),
        tokenizer=tokenizer,
        unet=unet.half(),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(base)
    compact_json(base / "tokenizer" / "tokenizer.json")
    for module in (vae, text_encoder, unet):
        as_shipped(module)


def check_reader(reader: Reader, test: Drawn) -> dict[str, Any]:
    """How the reader does on drawings that it was not trained on, feature by feature, and on the demo's person."""
    rng = np.random.default_rng((SEED, 4))
    own = read(reader, np.stack([draw(pose(ANAFOX, rng)) for _ in range(64)]))
    names = list(FEATURES)
    truth = [{n: FEATURES[n][row[j]] for j, n in enumerate(names)} for row in test.labels.tolist()]
    found = read(reader, test.images.numpy())
    return {"own drawings": likeness(own), "other drawings": likeness(found), "right": shares_right(found, truth)}


def check_base(pipeline: Any, reader: Reader, count: int, report: Path, **options: Any) -> dict[str, float]:
    """Sample full captions that were not trained on and read them back; the share right, feature by feature."""
    rng = np.random.default_rng((SEED, 5))
    wanted = [invent_portrait(rng) for _ in range(count)]
    images = sample(pipeline, [full_caption(p) for p in wanted], seeds=range(1, count + 1), **options)
    save_grid(images[:48], report / "held_out_captions.png")
    return shares_right(read(reader, images), [vars(p) for p in wanted])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--toy", action="store_true")
    arguments = parser.parse_args()
    make_base(arguments.out, TOY if arguments.toy else FULL, arguments.workers)


if __name__ == "__main__":
    main()
