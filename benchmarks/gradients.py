"""Compares a LoRA's gradients on FLUX's true width in every memory plan with those of an eager bf16 base under flash attention.

    python benchmarks/gradients.py [--out DIR] [--ways A,B] [--tiny]

torch 2.11 with cuDNN 9.19 on Hopper reuses a plan of its attention's backward pass for gradients that lie otherwise in
memory: a crash, or silently wrong gradients. The base makes them dense (`keep_gradients_dense`). Each way runs in a process
of its own, since a crash takes the GPU's context with it: `flash` is the reference; the ways of `PLANS` are what training does;
`default-sliced` leaves out the remedy, and shows whether this machine has the fault. Exit code 1 if a way that training takes
differs by more than its limit.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
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

from loratui.engine.families.flux.model import Flux, image_ids, keep_gradients_dense, let_first_blocks_look_like_others
from loratui.engine.families.flux.spec import FLUX
from loratui.engine.planning import rungs
from loratui.engine.planning.memory_plan import MemoryPlan
from loratui.engine.planning.rungs import BaseFormat, Rung
from loratui.engine.planning.targets import denoiser_patterns
from loratui.engine.training.adapters.build import Target, add_adapters
from loratui.engine.training.frozen.place import place
from loratui.presets.schema import Adapter


@dataclasses.dataclass(frozen=True)
class Way:
    """How a memory plan computes a step."""

    base: BaseFormat = "full"
    rung: Rung = rungs.KEPT
    compiled: bool = False
    two_copies: bool = False

    @property
    def limit(self) -> float:
        """Largest distance of all gradients together from the reference's, as a share of their length.

        bf16 attention of two backends differs by about 0.003 to 0.006, wrong gradients by 1 and more; the rest is what the base's
        format costs, through six blocks.
        """
        return {"full": 0.02, "fp8": 0.1, "int8": 0.1, "nf4": 0.3}[self.base]

    @property
    def plan(self) -> MemoryPlan:
        return MemoryPlan(
            placement="gpu",
            precision="bf16",
            rung=self.rung,
            base=self.base,
            recomputed=self.rung.recomputed[1],
            split=False,
            cuda_graphs=False,
            compile="off",
            two_copies=self.two_copies,
            appends=self.compiled and not self.rung.recomputed[1] and self.base != "int8",
            room_gib=math.inf,
            text_streamed=False,
            vae_tiled=False,
            need=None,
            fits="yes",
            found=None,
        )


KEPT_IN_8_BITS = dataclasses.replace(rungs.QUANTISED, recomputed=(0.0, 0.0))
PLANS = {
    "kept": Way(),
    "kept-compiled": Way(compiled=True),
    "checkpointing": Way(rung=rungs.CHECKPOINTING),
    "checkpointing-compiled": Way(rung=rungs.CHECKPOINTING, compiled=True),
    "fp8": Way("fp8", KEPT_IN_8_BITS),
    "fp8-compiled": Way("fp8", KEPT_IN_8_BITS, compiled=True, two_copies=True),
    "fp8-checkpointing-compiled": Way("fp8", rungs.QUANTISED, compiled=True),
    "fp8-swapped-compiled": Way("fp8", rungs.SWAPPED, compiled=True),
    "int8": Way("int8", KEPT_IN_8_BITS),
    "int8-compiled": Way("int8", KEPT_IN_8_BITS, compiled=True, two_copies=True),
    "int8-swapped-compiled": Way("int8", rungs.SWAPPED, compiled=True),
    "bf16-swapped": Way("full", rungs.SWAPPED),
    "bf16-swapped-compiled": Way("full", rungs.SWAPPED, compiled=True),
    "nf4-compiled": Way("nf4", rungs.NF4, compiled=True),
}
WAYS = ("flash", "math", *PLANS, "default-sliced")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", ".")))
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--way", choices=WAYS)
    parser.add_argument("--to", type=Path)
    args = parser.parse_args()
    if args.way:
        save_file(gradients(args.way, tiny=args.tiny), args.to)
        return
    report: dict[str, Any] = {"torch": torch.__version__, "ways": {}}
    with tempfile.TemporaryDirectory() as folder:
        files = {way: Path(folder) / f"{way}.safetensors" for way in args.ways.split(",")}
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
    judged = [way for way in report["ways"] if way in PLANS]
    report["right"] = all(report["ways"][way].get("whole", 9.0) <= PLANS[way].limit for way in judged)
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
        let_first_blocks_look_like_others(model)
    settings = Adapter(rank=16)
    adapter = add_adapters({"denoiser": Target(model, denoiser_patterns("flux", "sd-scripts"), settings)}, seed=1)
    for value in adapter.parameters.values():
        torch.nn.init.normal_(value, std=0.02)
    if way in PLANS:
        chosen = PLANS[way]
        blocks = place(model, adapter, chosen.plan, FLUX, Flux.join_projections, device=device, dtype=dtype, draws=False)
        if chosen.compiled and not tiny:
            blocks.compile(one_shape=True)
    inputs, target = one_batch(model, device, dtype, tiny=tiny)

    def answer() -> None:
        with backend(way), torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            output = model(**inputs, return_dict=False)[0]
            torch.nn.functional.mse_loss(output.float(), target).backward()

    answer()
    repeat = (
        2 if way in PLANS and PLANS[way].rung.swaps else 1
    )  # the second time, the first blocks are where the first left them
    for _ in range(repeat - 1):
        for value in adapter.parameters.values():
            value.grad = None
        answer()
    return {name: value.grad.float().cpu() for name, value in adapter.parameters.items() if value.grad is not None}


def one_batch(
    model: Any, device: torch.device, dtype: torch.dtype, *, tiny: bool
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Random inputs for a model of FLUX's kind, and what its output is compared with."""
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
    return inputs, torch.randn(1, side * side, 64, device=device)


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
