"""Times the captioners on one machine with random weights of true size: images a second, memory, and how long each takes to load.

    python benchmarks/captioners.py [--captioners A,B] [--seconds 540] [--images 24] [--work DIR] [--out DIR] [--tiny]

Ways: `bf16`, `int8` and `nf4` as a person may choose them, and `card7.4`: what loratui itself chooses within 7.4 GiB, which a card of 8 GB
has free; allocations beyond fail. Without a GPU: `cpu`. Taggers run by onnxruntime on whatever it can use. Each way has a process of its own, in which loratui's
own modules load the files and write captions of a fixed number of tokens (`TOKENS`), since random weights never end one. `image_gib` is
what each further image of a batch takes: `captioners.py` of the engine has it. Files are made in the work folder (17 GB for the largest),
and deleted after their captioner. The results of all calls with the same work folder are one report, `captioners.json` in DIR.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from machine_facts import facts
from made_captioners import make, make_vision_tagger
from made_images import photo_like

from loratui.engine.captioning import loading
from loratui.engine.captioning.captioners import CAPTIONERS, ENDPOINT

GIB = 2**30
CARD_GIB = 7.4
PX = (1024, 768)
TOKENS = {"florence": 80, "blip": 20, "qwen3_vl": 100, "joycaption": 100}
"""Of a caption: what guides show of each."""


def _florence(widths: list[int], width: int, layers: int) -> dict[str, Any]:
    heads = [max(1, one // 32) for one in widths]
    halves = {f"{half}_{name}": value for half in ("encoder", "decoder") for name, value in _bart(width, layers).items()}
    text = {"model_type": "bart", "d_model": width, "vocab_size": 51328, **halves}
    vision = {"embed_dim": widths, "num_heads": heads, "num_groups": heads, "projection_dim": width}
    return {"vision_config": vision, "text_config": text}


def _bart(width: int, layers: int) -> dict[str, int]:
    return {"layers": layers, "ffn_dim": 4 * width, "attention_heads": width // 64}


def _qwen(width: int, inner: int, vision: dict[str, Any], *, tied: bool) -> dict[str, Any]:
    rope = {"rope_type": "default", "rope_theta": 5_000_000, "mrope_section": [24, 20, 20], "mrope_interleaved": True}
    text = {"hidden_size": width, "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8}
    text |= {"intermediate_size": inner, "rope_parameters": rope}
    return {"tie_word_embeddings": tied, "vision_config": {**vision, "out_hidden_size": width}, "text_config": text}


_SIGLIP = {"hidden_size": 1152, "num_hidden_layers": 27, "num_attention_heads": 16, "intermediate_size": 4304}
SIZES: Mapping[str, dict[str, Any]] = {
    "florence-2-base": _florence([128, 256, 512, 1024], 768, 6),
    "florence-2-large": _florence([256, 512, 1024, 2048], 1024, 12),
    "blip": {
        "vision_config": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
        "text_config": {"hidden_size": 768, "encoder_hidden_size": 1024, "num_attention_heads": 12},
    },
    "qwen3-vl-4b": _qwen(
        *(2560, 9728),
        {"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "deepstack_visual_indexes": [5, 11, 17]},
        tied=True,
    ),
    "qwen3-vl-8b": _qwen(4096, 12288, {}, tied=False),
    "joycaption": {
        "vision_config": {"model_type": "siglip_vision_model", "image_size": 384, "patch_size": 14, **_SIGLIP},
        "text_config": {
            "model_type": "llama",
            "hidden_size": 4096,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "intermediate_size": 14336,
            "vocab_size": 128256,
        },
    },
    "wd14": {"width": 768, "layers": 12, "heads": 12, "patch": 16, "side": 448, "tags": 10861},
    "wd-eva02": {"width": 1024, "layers": 24, "heads": 16, "patch": 14, "side": 448, "tags": 10861},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--captioners", default=",".join(SIZES))
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start none after so many")
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--work", type=Path, default=Path("/tmp/captioners"))
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", ".")))
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--measure", nargs=2, metavar=("CAPTIONER", "WAY"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measured(*args.measure, args.work / args.measure[0], args.images, tiny=args.tiny)))
        return
    args.work.mkdir(parents=True, exist_ok=True)
    began, report = time.monotonic(), _report(args)
    for name in args.captioners.split(","):
        known = report["captioners"].setdefault(name, {})
        left = [way for way in ways(name, tiny=args.tiny) if "failed" in known.get(way, {"failed": ""})]
        if not left:
            continue
        if time.monotonic() - began > args.seconds:
            print(f"{name}: no time left; call it again")
            continue
        folder = args.work / name
        try:
            known["made_s"] = made(name, folder, tiny=args.tiny)
        except ImportError as error:  # a machine without onnx
            print(f"{name}: {error}")
            continue
        for way in left:
            known[way] = _measured(args, name, way)
            print(name, way, json.dumps(known[way]), flush=True)
            for place in (args.work, args.out):
                place.mkdir(parents=True, exist_ok=True)
                (place / "captioners.json").write_text(json.dumps(report, indent=1) + "\n")
        shutil.rmtree(folder)
    print(table(report))


def ways(name: str, *, tiny: bool) -> list[str]:
    """How a captioner is measured."""
    if CAPTIONERS[name].writes == "tags":
        return ["onnx"]
    import torch

    if tiny or not torch.cuda.is_available():
        return ["cpu"]
    return ["bf16", "int8", "nf4", f"card{CARD_GIB}"] if CAPTIONERS[name].linear_gib else ["bf16", f"card{CARD_GIB}"]


def made(name: str, folder: Path, *, tiny: bool) -> float:
    """Makes the files; in how many seconds."""
    import torch

    began, row = time.monotonic(), CAPTIONERS[name]
    if row.writes == "tags":
        sizes = {"width": 16, "layers": 1, "heads": 2, "patch": 14, "side": 28, "tags": 9} if tiny else SIZES[name]
        make_vision_tagger(folder, **sizes)
    else:
        make(
            row.module, folder, None if tiny else SIZES[name], half_on="cuda" if torch.cuda.is_available() and not tiny else ""
        )
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return round(time.monotonic() - began, 1)


def measured(name: str, way: str, folder: Path, count: int, *, tiny: bool) -> dict[str, Any]:
    """The figures of one way, in a process of its own."""
    import torch

    row, on_card = CAPTIONERS[name], torch.cuda.is_available() and not tiny and way != "onnx"
    options: dict[str, Any] = {"tokens": 8 if tiny else TOKENS.get(row.module, 0)}
    if way.startswith("card"):
        cap = float(way.removeprefix("card"))
        torch.cuda.set_per_process_memory_fraction(cap * GIB / torch.cuda.mem_get_info()[1])
        loading._free_gib = lambda: cap
    elif way != "onnx":
        options["memory"] = way
    began = time.monotonic()
    model = importlib.import_module(f"loratui.engine.captioning.{row.module}").load(row, folder, options)
    loaded_s = time.monotonic() - began
    images = [photo_like(at, PX) for at in range(count)]
    resting = torch.cuda.memory_allocated() / GIB if on_card else None
    peaks, at_once = {}, model.most_at_once
    for batch in sorted({1, at_once}):  # a first pass also warms up
        if on_card:
            torch.cuda.reset_peak_memory_stats()
        model.most_at_once = batch
        model.captions(images[:batch], "Describe the image.")
        peaks[batch] = torch.cuda.max_memory_allocated() / GIB if on_card else 0.0
    began = time.monotonic()
    answers = model.captions(images, "Describe the image.")
    seconds = time.monotonic() - began
    assert len(answers) == count
    more = (peaks[at_once] - peaks[1]) / (at_once - 1) if at_once > 1 else None
    return {
        "said": model.said,
        "images_s": round(count / seconds, 3),
        "at_once": model.most_at_once,
        "loaded_s": round(loaded_s, 1),
        "resting_gib": resting and round(resting, 2),
        "peak_gib": round(peaks[at_once], 2) if on_card else None,
        "reserved_gib": round(torch.cuda.max_memory_reserved() / GIB, 2) if on_card else None,
        "image_gib": round(more, 3) if on_card and more is not None else None,
        "tokens": options["tokens"] or None,
    }


def _measured(args: argparse.Namespace, name: str, way: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--measure", name, way, "--work", str(args.work), "--images", str(args.images)]
    done = subprocess.run([*command, *["--tiny"] * args.tiny], capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failed": done.stderr.strip()[-1500:]}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _report(args: argparse.Namespace) -> dict[str, Any]:
    """The report of earlier calls on this machine with these sources, else a new one."""
    command = " ".join(["python", "benchmarks/captioners.py", *sys.argv[1:]])
    head = {
        "format": 1,
        "benchmark": "captioners",
        "name": "captioners",
        "tiny": args.tiny,
        "images": args.images,
        "px": PX,
        **facts(),
    }
    stored = args.work / "captioners.json"
    if stored.is_file():
        report: dict[str, Any] = json.loads(stored.read_text())
        if all(report.get(key) == json.loads(json.dumps(head[key])) for key in head if key != "date"):
            report["commands"].append(command)
            return report
    return {**head, "commands": [command], "captioners": {}}


def table(report: Mapping[str, Any]) -> str:
    """The figures for people."""
    lines = [
        f"{'captioner':<18}{'way':<9}{'images/s':>9}{'at once':>9}{'GiB, most':>11}{'at rest':>9}{'an image':>10}{'load s':>8}"
    ]
    for name, found in report["captioners"].items():
        for way, one in found.items():
            if way == "made_s":
                continue
            if "failed" in one:
                lines.append(f"{name:<18}{way:<9}failed: {one['failed'].splitlines()[-1][:90] if one['failed'] else ''}")
                continue
            shown = (one[key] if one[key] is not None else "–" for key in ("peak_gib", "resting_gib", "image_gib", "loaded_s"))
            widths = (11, 9, 10, 8)
            last = "".join(f"{value:>{width}}" for value, width in zip(shown, widths, strict=True))
            lines.append(f"{name:<18}{way:<9}{one['images_s']:>9.2f}{one['at_once']:>9}{last}")
    return "\n".join(lines)


if __name__ == "__main__":
    assert set(SIZES) == set(CAPTIONERS) - {ENDPOINT}
    main()
