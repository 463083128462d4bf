"""Makes the embedded bases `sdxl` and `flux` beside `sd15`: draws portraits, then trains each on a GPU for a given time.

Usage: python -m loratui.presets.bases.make.train_shapes OUT draw|sdxl|flux [--until SECONDS] [--plain] [--toy]

`draw` fills OUT/drawn; the others wait for it, and write OUT/sdxl or OUT/flux and, in OUT/report_…, images and figures for the
eye; parts that OUT already holds are kept. `--until` is the time of the clock, in seconds since 1970, at which training ends.
`--plain` does without compiling and captured graphs; `--toy` makes something tiny and useless on a CPU in a minute or two.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from loratui.presets.bases import embedded_base
from loratui.presets.bases.make.gpu import as_shipped, log, pick_device
from loratui.presets.bases.make.loop import BatchSchedule, train
from loratui.presets.bases.make.measure import save_grid
from loratui.presets.bases.make.reader import load_reader
from loratui.presets.bases.make.t5_vocabulary import TOKENS as T5_TOKENS
from loratui.presets.bases.make.t5_vocabulary import learn_t5_vocabulary
from loratui.presets.bases.make.train_base import CAPTIONS, check_base, draw_many
from loratui.presets.bases.make.train_flux import (
    SCALING,
    SHIFT,
    Flux,
    Lessons,
    distil_guidance,
    new_flux_vae,
    new_text_encoders,
    new_transformer,
    pack,
    save_flux,
    train_flow,
)
from loratui.presets.bases.make.train_sdxl import rescaled_vae, save_sdxl, train_sdxl
from loratui.presets.bases.make.train_vae import (
    decode,
    encode,
    face_weight,
    reconstruction_loss,
    scale_latents,
    signal_to_noise_db,
)
from loratui.presets.bases.make.vocabulary import TOKENS

SEED = 20261121
FLUX_GUIDANCE = 3.5
_TEST = 250
_VAE_SHARE, _FLOW_SHARE = 0.22, 0.7


@dataclass(frozen=True)
class Work:
    """Where things go, when training ends (seconds since 1970), how many images there are, and how much is done."""

    out: Path
    until: float
    images: int
    graph: bool
    toy: bool

    @property
    def batch(self) -> int:
        """Images a step."""
        return 4 if self.toy else 256

    @property
    def checked(self) -> int:
        """Images sampled for the figures."""
        return 2 if self.toy else 256

    def course(self, share: float, peak_rate: float, weight_decay: float = 1e-2) -> BatchSchedule:
        """Train for `share` of the time left."""
        seconds = share * (self.until - time.time())
        return BatchSchedule("", seconds, peak_rate, 3 if self.toy else 10**9, weight_decay=weight_decay, graph=self.graph)


def draw(work: Work, workers: int) -> None:
    """Draw all images that are trained on and measured with."""
    folder = work.out / "drawn"
    folder.mkdir(parents=True, exist_ok=True)
    drawn = draw_many(work.images, 1, workers)
    np.save(folder / "images.npy", drawn.images.numpy())
    (folder / "captions.json").write_text(json.dumps(drawn.captions), encoding="utf-8")
    (folder / "done").touch()
    log("drawn", len(drawn.images))


def _drawn(work: Work, device: torch.device) -> tuple[Tensor, list[str]]:
    """Images and captions, as soon as they are drawn."""
    folder = work.out / "drawn"
    while not (folder / "done").exists():
        time.sleep(0.1)
    captions = json.loads((folder / "captions.json").read_text(encoding="utf-8"))
    return torch.from_numpy(np.load(folder / "images.npy")).to(device), captions


def _ids(tokenizer: Any, captions: list[str], length: int) -> Tensor:
    """Tokens of the captions, cut and padded to `length`, shape (captions, length)."""
    from tokenizers import Tokenizer

    fast = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    fast.enable_truncation(length)
    fast.enable_padding(length=length, pad_id=tokenizer.pad_token_id, pad_token=tokenizer.pad_token)
    return torch.from_numpy(np.array([row.ids for row in fast.encode_batch_fast(captions)]))


def make_sdxl(work: Work) -> None:
    """Train and write the base of SDXL's shape."""
    from diffusers import StableDiffusionXLPipeline
    from transformers import CLIPTokenizer

    device = pick_device()
    base, sd15 = work.out / "sdxl", embedded_base("sd15")
    vae = rescaled_vae(sd15 / "vae").to(device)
    tokenizer = CLIPTokenizer.from_pretrained(sd15 / "tokenizer", local_files_only=True)
    latents = torch.zeros(work.images, 4, 32, 32, device=device)
    texts = torch.zeros(work.images * CAPTIONS + 1, TOKENS, dtype=torch.int64, device=device)

    def fill() -> None:
        images, captions = _drawn(work, device)
        latents.copy_(encode(vae, images) * vae.config.scaling_factor)
        texts.copy_(_ids(tokenizer, [*captions, ""], TOKENS))
        log(f"latents: mean {latents.mean():.3f}, standard deviation {latents.std():.3f}")

    torch.manual_seed(SEED)
    unet, first, second = train_sdxl(latents, texts, tokenizer, work.course(1.0, 1.2e-3), work.batch, fill)
    save_sdxl(base, vae, unet, first, second, tokenizer)
    pipeline = StableDiffusionXLPipeline.from_pretrained(base, torch_dtype=torch.float32, local_files_only=True).to(device)
    _report(work, "sdxl", {"base": (pipeline, {})})


def make_flux(work: Work) -> None:
    """Train and write the base of FLUX's shape."""
    from diffusers import AutoencoderKL, FluxPipeline
    from transformers import CLIPTokenizer, T5Tokenizer

    device = pick_device()
    base = work.out / "flux"
    tokenizer = CLIPTokenizer.from_pretrained(embedded_base("sd15") / "tokenizer", local_files_only=True)
    if not (base / "tokenizer_2").exists():
        learn_t5_vocabulary(_drawn(work, torch.device("cpu"))[1], base / "tokenizer_2")
    t5_tokenizer = T5Tokenizer.from_pretrained(base / "tokenizer_2", local_files_only=True)
    if not (base / "vae").exists():
        _make_flux_vae(work, _drawn(work, device)[0], base / "vae")
    vae = AutoencoderKL.from_pretrained(base / "vae", local_files_only=True).to(device)
    vae.register_to_config(_name_or_path="flux")
    lessons = Lessons.empty(work.images, CAPTIONS, device)

    def fill() -> None:
        images, captions = _drawn(work, device)
        lessons.latents.copy_(pack((encode(vae, images) - SHIFT) * SCALING))
        log(f"latents: mean {lessons.latents.mean():.3f}, standard deviation {lessons.latents.std():.3f}")
        for ids, kind, length in ((lessons.clip, tokenizer, TOKENS), (lessons.t5, t5_tokenizer, T5_TOKENS)):
            ids.copy_(_ids(kind, [*captions, ""], length))

    torch.manual_seed(SEED + 1)
    clip, t5 = (m.to(device) for m in new_text_encoders(tokenizer, t5_tokenizer))
    model = Flux(new_transformer().to(device), clip, t5, compiled=device.type == "cuda" and work.graph)
    options: dict[str, Any] = {"max_sequence_length": T5_TOKENS, "guidance": FLUX_GUIDANCE}
    parts = {"transformer": model.transformer, "clip": model.clip, "t5": model.t5}
    if not (work.out / "flow.safetensors").exists():
        train_flow(model, lessons, work.course(_FLOW_SHARE, 1.2e-3), work.batch, fill)
        save_file(
            {f"{n}.{k}": v.contiguous().cpu().clone() for n, m in parts.items() for k, v in m.state_dict().items()},
            work.out / "flow.safetensors",
        )
    else:
        fill()
    kept = load_file(work.out / "flow.safetensors")
    for name, module in parts.items():
        module.load_state_dict({k.removeprefix(f"{name}."): v for k, v in kept.items() if k.startswith(f"{name}.")})
    save_flux(work.out / "flux_plain", vae, model, tokenizer, t5_tokenizer)
    distil_guidance(model, lessons, work.course(1.0, 3e-4), work.batch)
    save_flux(base, vae, model, tokenizer, t5_tokenizer)
    pipelines = {
        name: FluxPipeline.from_pretrained(work.out / folder, torch_dtype=torch.float32, local_files_only=True).to(device)
        for name, folder in (("base", "flux"), ("plain", "flux_plain"))
    }
    plain = {**options, "guidance": 1.0}
    cases: dict[str, dict[str, Any]] = {
        "base": options,
        "at guidance 1": plain,
        "before guidance": plain,
        "before, true guidance": {**plain, "true_cfg_scale": 3.0, "negative_prompt": ""},
    }
    _report(work, "flux", {name: (pipelines["plain" if "before" in name else "base"], case) for name, case in cases.items()})


def _make_flux_vae(work: Work, images: Tensor, folder: Path) -> None:
    """Train the autoencoder, and scale its latents so that FLUX's factor fits them."""
    torch.manual_seed(SEED)
    vae = new_flux_vae(embedded_base("sd15") / "vae").to(images.device, memory_format=torch.channels_last)
    weight, batch = face_weight(images.device), 4 if work.toy else 64

    def loss() -> Tensor:
        return reconstruction_loss(vae, images[torch.randint(len(images), (batch,), device=images.device)], weight)

    course = work.course(_VAE_SHARE, 2e-3, 1e-4)
    train(
        BatchSchedule("autoencoder", course.seconds, 2e-3, course.most_steps, 100, 1e-4, course.graph),
        list(vae.parameters()),
        loss,
    )
    sampled = encode(vae, images[:5000])
    scale_latents(vae, 1 / (SCALING * float(sampled.std())))
    log(
        "means of the channels, in standard deviations:",
        (sampled.mean((0, 2, 3)) / sampled.std()).cpu().numpy().round(2).tolist(),
    )
    vae.register_to_config(_name_or_path="flux")
    as_shipped(vae).half().save_pretrained(folder)


def _report(work: Work, name: str, cases: dict[str, tuple[Any, dict[str, Any]]]) -> None:
    """Read images of each case back and write the shares that are right."""
    report = work.out / f"report_{name}"
    report.mkdir(exist_ok=True)
    reader = load_reader().to(pick_device())
    figures: dict[str, dict[str, float]] = {}
    for case, (pipeline, options) in cases.items():
        folder = report / case.replace(" ", "_").replace(",", "")
        folder.mkdir(exist_ok=True)
        shares = check_base(pipeline, reader, work.checked, folder, **options)
        figures[case] = {"mean": sum(shares.values()) / len(shares), **shares}
        log(name, case, json.dumps({k: round(v, 2) for k, v in figures[case].items()}))
    vae = next(iter(cases.values()))[0].vae
    test = draw_many(_TEST, 2, 1).images[: work.checked]
    again = decode(vae, encode(vae, test.to(vae.device))).cpu()
    save_grid(np.concatenate([test[:16].numpy(), again[:16].numpy()]), report / "autoencoder.png")
    figures["autoencoder"] = {"dB": signal_to_noise_db(test, again)}
    (report / "figures.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    log(
        name,
        figures["autoencoder"],
        "bytes of the base:",
        sum(f.stat().st_size for f in (work.out / name).rglob("*") if f.is_file()),
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("part", choices=("draw", "sdxl", "flux"))
    parser.add_argument("--until", type=float, default=time.time() + 400)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--toy", action="store_true")
    arguments = parser.parse_args()
    work = Work(arguments.out, arguments.until, 250 if arguments.toy else arguments.images, not arguments.plain, arguments.toy)
    if arguments.part == "draw":
        draw(work, arguments.workers)
    else:
        {"sdxl": make_sdxl, "flux": make_flux}[arguments.part](work)


if __name__ == "__main__":
    main()
