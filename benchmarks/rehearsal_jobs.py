"""The parts of `rehearsal.py` that need torch: making a base's files, and opening a LoRA file with diffusers."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))

from made_bases import PARTS
from made_files import DOWNLOADED_TOKENIZER, make_flux, make_one_file, put_tokenizer

from loratui.engine import families
from loratui.presets.bases import embedded_base
from loratui.presets.schema import Family


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("job", choices=["make", "tokenizer", "open"])
    parser.add_argument("words", nargs="+")
    parser.add_argument("--tiny", action="store_true")
    args = parser.parse_args()
    jobs = {"make": make, "tokenizer": tokenizer, "open": opened}
    print(json.dumps(jobs[args.job](*args.words, tiny=args.tiny)))


def make(family: str, *homes: str, tiny: bool) -> dict[str, Any]:
    """The files of a family below its homes."""
    device, began = torch.device("cuda" if torch.cuda.is_available() else "cpu"), time.monotonic()
    places = [Path(home) for home in homes]
    if family == "flux":
        files = make_flux(*places, tiny=tiny, device=device)
    else:
        files = make_one_file(family, *places, tiny=tiny, device=device)
    return {"files": files, "made_s": round(time.monotonic() - began, 1)}


def tokenizer(home: str, *, tiny: bool) -> dict[str, Any]:
    """T5's tokenizer where a download lies."""
    put_tokenizer(Path(home) / DOWNLOADED_TOKENIZER, tiny=tiny)
    return {"tokenizer": DOWNLOADED_TOKENIZER}


def opened(family: Family, file: str, *, tiny: bool) -> dict[str, Any]:
    """How many of a LoRA file's layers diffusers' own reader gives to layers of the denoiser, by names and shapes."""
    import diffusers
    from diffusers.utils.state_dict_utils import convert_unet_state_dict_to_peft

    part, pipeline = {
        "flux": ("transformer", diffusers.FluxPipeline),
        "sdxl": ("unet", diffusers.StableDiffusionXLPipeline),
        "sd15": ("unet", diffusers.StableDiffusionPipeline),
    }[family]
    folder = (embedded_base(family) if tiny else families.family(family).bundled) / part
    kind = getattr(diffusers, PARTS[family][part])
    with torch.device("meta"):
        model = kind.from_config(json.loads((folder / "config.json").read_text()))
    state = pipeline.lora_state_dict(file, **({} if family == "flux" else {"unet_config": model.config}))
    tensors = state[0] if isinstance(state, tuple) else state
    own = convert_unet_state_dict_to_peft({key.removeprefix(f"{part}."): value for key, value in tensors.items()})
    shapes = {name.removesuffix(".weight"): tuple(value.shape) for name, value in model.named_parameters()}
    down, up = ({k.removesuffix(end): tuple(v.shape) for k, v in own.items() if k.endswith(end)} for end in _HALVES)
    strange = [key for key in own if not key.endswith(_HALVES)]
    places = sorted({*down, *up})
    unmatched = [path for path in places if not _fits(down.get(path), up.get(path), shapes.get(path))]
    return {"matched": len(places) - len(unmatched), "unmatched": (strange + unmatched)[:5]}


_HALVES = (".lora_A.weight", ".lora_B.weight")


def _fits(down: tuple[int, ...] | None, up: tuple[int, ...] | None, shape: tuple[int, ...] | None) -> bool:
    """Whether both halves are there and make a change of a layer's shape."""
    if not down or not up or not shape:
        return False
    return (up[0], *down[1:]) == shape and down[0] == up[1]


if __name__ == "__main__":
    main()
