"""The parts of `true_size.py` that need torch: making a base, the GPU's ceilings, and plain diffusers + PEFT training steps."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))

from made_bases import make_base
from product_run import spread
from true_size_rungs import BY_HAND, FAMILIES

from loratui.engine.families.flux.model import keep_gradients_dense
from loratui.engine.planning.recipe import build_recipe
from loratui.engine.planning.targets import denoiser_patterns
from loratui.presets.schema import Family

WARM_UP, MEASURED = 3, 15
GIB = 2**30


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("job", choices=["make", "ceiling", *BY_HAND])
    parser.add_argument("family", choices=list(FAMILIES))
    parser.add_argument("work", type=Path)
    parser.add_argument("--began", type=float, default=time.time(), help="when the process was started, s since 1970")
    parser.add_argument("--tiny", action="store_true")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if args.job == "make":
        make_base(args.family, args.work / args.family, tiny=args.tiny, device=device)
    elif args.job == "ceiling":
        print(json.dumps(ceiling(device)))
    else:
        print(json.dumps(by_hand(args.family, args.work / args.family, args.job, args.began, tiny=args.tiny, device=device)))


def ceiling(device: torch.device) -> dict[str, float]:
    """What the GPU can do: products of 8192³ in bf16 and fp8 (scales by row), and copies from and to pinned memory.

    Empty on a CPU. TFLOP/s and GB/s, medians.
    """
    if device.type != "cuda":
        return {}
    n = 8192
    a, b = (torch.randn(n, n, device=device, dtype=torch.bfloat16) for _ in "ab")
    found = {"bf16_tflops": 2e-12 * n**3 / _seconds(lambda: a @ b)}
    if torch.cuda.get_device_capability() >= (8, 9):
        narrow, scales = (x.to(torch.float8_e4m3fn) for x in (a, b)), torch.ones(n, device=device)
        left, right = narrow
        options: dict[str, Any] = {"out_dtype": torch.bfloat16, "use_fast_accum": True}
        product_s = _seconds(lambda: torch._scaled_mm(left, right.t(), scales[:, None], scales[None], **options))
        found["fp8_tflops"] = 2e-12 * n**3 / product_s
    host = torch.empty(2**30, dtype=torch.uint8, pin_memory=True)
    card = torch.empty_like(host, device=device)
    found["to_gpu_gb_s"] = 2**30 / 1e9 / _seconds(lambda: card.copy_(host, non_blocking=True))
    found["from_gpu_gb_s"] = 2**30 / 1e9 / _seconds(lambda: host.copy_(card, non_blocking=True))
    return {name: round(value, 1) for name, value in found.items()}


def _seconds(work: Callable[[], object]) -> float:
    """The median of ten."""
    taken = []
    for number in range(13):
        torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        torch.cuda.synchronize()
        if number >= 3:
            taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def by_hand(family: Family, base: Path, rung: str, began: float, *, tiny: bool, device: torch.device) -> dict[str, Any]:
    """A training step as a script makes it: bf16 base, fp32 LoRA, autocast, fused AdamW, cached inputs."""
    import diffusers
    from peft import LoraConfig

    way, kind = BY_HAND[rung], FAMILIES[family]
    side = 64 if tiny else kind.px
    dtype = torch.float32 if tiny else torch.bfloat16
    cls, part = (
        (diffusers.FluxTransformer2DModel, "transformer") if family == "flux" else (diffusers.UNet2DConditionModel, "unet")
    )
    model = cls.from_pretrained(base / part, dtype=dtype, device_map={"": device}, local_files_only=True)
    model.requires_grad_(False)
    targets = build_recipe(kind.preset).settings.adapter.targets
    patterns = "|".join(denoiser_patterns(family, targets))
    model.add_adapter(LoraConfig(r=kind.rank, lora_alpha=kind.rank, target_modules=patterns))
    trained = [p for p in model.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.data = parameter.data.to(dtype if way.narrow else torch.float32)
    if family == "flux":
        keep_gradients_dense(model)  # without it, cuDNN's attention crashes here on Hopper
    if way.checkpointing:
        model.enable_gradient_checkpointing()
    if way.compiled:
        model.compile_repeated_blocks()
    model.train()
    on_gpu = device.type == "cuda"
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=on_gpu, capturable=way.graph and on_gpu)
    inputs = _inputs(model, family, side // 8, kind.batch, device, dtype)
    target = torch.randn_like(inputs["hidden_states" if family == "flux" else "sample"])
    last = torch.zeros((), device=device)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        # A recorded step must not hold on to casts of values that change.
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=on_gpu and not way.narrow, cache_enabled=not way.graph):
            output = model(**inputs, return_dict=False)[0]
        loss = torch.nn.functional.mse_loss(output.float(), target.float())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        last.copy_(loss.detach())

    ready = time.perf_counter()
    step()
    _synchronize(device)
    first_s, until_first_step_s = time.perf_counter() - ready, time.time() - began
    first_loss = float(last)
    step = recorded(step) if way.graph and on_gpu else step
    seconds = []
    for number in range(WARM_UP + MEASURED):
        _synchronize(device)
        at = time.perf_counter()
        step()
        _synchronize(device)
        if number >= WARM_UP:
            seconds.append(time.perf_counter() - at)
    return {
        "step_ms": spread(seconds),
        "images_s": round(kind.batch / statistics.median(seconds), 3),
        "allocated_gib": round(torch.cuda.max_memory_allocated() / GIB, 2) if on_gpu else None,
        "reserved_gib": round(torch.cuda.max_memory_reserved() / GIB, 2) if on_gpu else None,
        "compile_s": round(first_s - statistics.median(seconds), 1) if way.compiled else 0.0,
        "first_step_s": round(until_first_step_s, 1),
        "loss": [round(first_loss, 5), round(float(last), 5)],
        "parameters": sum(p.numel() for p in trained),
    }


def recorded(step: Callable[[], None]) -> Callable[[], None]:
    """`step`, run three times aside to choose its kernels, then recorded; each call replays it."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def _inputs(model: Any, family: str, side: int, batch: int, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """Random inputs of the right shapes for latents of `side` × `side`."""
    options: dict[str, Any] = {"device": device, "dtype": dtype}
    config = model.config
    if family != "flux":
        inputs: dict[str, Any] = {
            "sample": torch.randn(batch, 4, side, side, **options),
            "timestep": torch.full((batch,), 500, device=device),
            "encoder_hidden_states": torch.randn(batch, 77, config.cross_attention_dim, **options),
        }
        if family == "sdxl":
            pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
            inputs["added_cond_kwargs"] = {
                "text_embeds": torch.randn(batch, pooled, **options),
                "time_ids": torch.full((batch, 6), 8.0 * side, device=device),
            }
        return inputs
    from loratui.engine.families.flux.model import image_ids

    return {
        "hidden_states": torch.randn(batch, side * side // 4, 64, **options),
        "timestep": torch.full((batch,), 0.5, device=device),
        "guidance": torch.ones(batch, device=device),
        "pooled_projections": torch.randn(batch, config.pooled_projection_dim, **options),
        "encoder_hidden_states": torch.randn(batch, 512, config.joint_attention_dim, **options),
        "txt_ids": torch.zeros(512, 3, device=device),
        "img_ids": image_ids(side // 2, side // 2).to(device),
    }


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
