"""Compares a LoRA's gradients on FLUX's true width under torch's own choice of attention with those under other backends.

    python benchmarks/gradients.py [--out DIR] [--tiny]

torch 2.11 with cuDNN 9.19 on Hopper reuses a plan of its attention's backward pass for gradients that lie otherwise in
memory: a crash, or silently wrong gradients. The base makes them dense (`keep_gradients_dense`). Each way runs in a process
of its own, since a crash takes the GPU's context with it: `flash` is the reference; `default` is what training does;
`compiled` the same with compiled blocks; `checkpointing` computes activations twice; `default-sliced` leaves out the
remedy, and shows whether this machine has the fault. Exit code 1 if a way that training takes differs by more than 2 %.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).parent))

from made_bases import new_part

from loratui.engine.families.flux.model import image_ids, keep_gradients_dense
from loratui.engine.planning.targets import denoiser_patterns
from loratui.engine.training.adapters.build import Target, add_adapters
from loratui.presets.schema import Adapter

WAYS = ("flash", "math", "default", "checkpointing", "compiled", "default-sliced")
JUDGED = ("default", "checkpointing", "compiled")
LIMIT = 0.02
"""bf16 attention of two backends differs by about 0.003 to 0.006, wrong gradients by 1 and more."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", ".")))
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--way", choices=WAYS)
    parser.add_argument("--to", type=Path)
    args = parser.parse_args()
    if args.way:
        save_file(gradients(args.way, tiny=args.tiny), args.to)
        return
    report: dict[str, Any] = {"torch": torch.__version__, "limit": LIMIT, "ways": {}}
    with tempfile.TemporaryDirectory() as folder:
        files = {way: Path(folder) / f"{way}.safetensors" for way in WAYS}
        for way, file in files.items():
            command = [sys.executable, __file__, "--way", way, "--to", str(file), *(["--tiny"] if args.tiny else [])]
            try:
                done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=150)
                error = (
                    "" if done.returncode == 0 else (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1][:300]
                )
            except subprocess.TimeoutExpired:
                error = "took more than 150 s"
            report["ways"][way] = {"failed": error} if error else difference(load_file(files["flash"]), load_file(file))
            print(way, json.dumps(report["ways"][way]), flush=True)
    report["right"] = all(report["ways"][way].get("whole", 1.0) <= LIMIT for way in JUDGED)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "gradients.json").write_text(json.dumps(report, indent=1))
    sys.exit(not report["right"])


def gradients(way: str, *, tiny: bool) -> dict[str, torch.Tensor]:
    """Gradients of a LoRA on two double and four single blocks for one random batch, by the tensor's name."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    torch.manual_seed(0)
    model = few_blocks(device, dtype, tiny=tiny)
    if way != "default-sliced":
        keep_gradients_dense(model)
    if way == "checkpointing":
        model.enable_gradient_checkpointing()
    settings = Adapter(rank=16)
    adapter = add_adapters({"denoiser": Target(model, denoiser_patterns("flux", "sd-scripts"), settings)}, seed=1)
    for value in adapter.parameters.values():
        torch.nn.init.normal_(value, std=0.02)
    if way == "compiled":
        model.compile_repeated_blocks(backend="aot_eager" if tiny else "inductor")
    side, tokens = (8, 16) if tiny else (64, 512)
    config = model.config
    options: dict[str, Any] = {"device": device, "dtype": dtype}
    inputs = {
        "hidden_states": torch.randn(1, side * side, 64, **options),
        "timestep": torch.full((1,), 0.6, device=device),
        "guidance": torch.ones(1, device=device),
        "pooled_projections": torch.randn(1, config.pooled_projection_dim, **options),
        "encoder_hidden_states": torch.randn(1, tokens, config.joint_attention_dim, **options),
        "txt_ids": torch.zeros(tokens, 3, device=device),
        "img_ids": image_ids(side, side).to(device),
    }
    target = torch.randn(1, side * side, 64, device=device)
    with backend(way), torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
        output = model(**inputs, return_dict=False)[0]
        torch.nn.functional.mse_loss(output.float(), target).backward()
    return {name: value.grad.float().cpu() for name, value in adapter.parameters.items() if value.grad is not None}


def few_blocks(device: torch.device, dtype: torch.dtype, *, tiny: bool) -> Any:
    """FLUX's transformer at its true width with few blocks, frozen."""
    from diffusers import FluxTransformer2DModel

    config = dict(new_part("flux", "transformer", tiny=tiny, device=torch.device("meta"), dtype=dtype).config)
    config |= {"num_layers": 2, "num_single_layers": 4}
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            return FluxTransformer2DModel.from_config(config).requires_grad_(False)
    finally:
        torch.set_default_dtype(before)


def backend(way: str) -> AbstractContextManager[Any]:
    """The attention of one way; nothing is forced for what training does."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    if way == "flash" and torch.cuda.is_available():
        return sdpa_kernel(SDPBackend.FLASH_ATTENTION)
    return sdpa_kernel(SDPBackend.MATH) if way in ("flash", "math") else nullcontext()


def difference(reference: dict[str, torch.Tensor], own: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Relative L2 distance of all gradients together, and the largest of one tensor."""
    assert reference.keys() == own.keys()
    distances = {name: float((own[name] - value).norm() / value.norm().clamp(min=1e-20)) for name, value in reference.items()}
    whole = sum(float((own[n] - v).square().sum()) for n, v in reference.items()) / sum(
        float(v.square().sum()) for v in reference.values()
    )
    worst = max(distances, key=distances.__getitem__)
    return {"whole": round(whole**0.5, 6), "worst": round(distances[worst], 6), "worst_tensor": worst, "tensors": len(own)}


if __name__ == "__main__":
    main()
