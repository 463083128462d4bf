"""The parts of `true_size.py` that need torch: making a base, and timing a plain diffusers + PEFT training step on it."""

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
from true_size import PRESETS

from loratui.engine.families.flux.model import keep_gradients_dense
from loratui.engine.planning.recipe import build_recipe
from loratui.engine.planning.targets import denoiser_patterns

WARM_UP, MEASURED = 3, 10


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("job", choices=["make", "reference", "graph"])
    parser.add_argument("family", choices=list(PRESETS))
    parser.add_argument("work", type=Path)
    parser.add_argument("--tiny", action="store_true")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if args.job == "make":
        make_base(args.family, args.work / args.family, tiny=args.tiny, device=device)
    else:
        graph = args.job == "graph"
        print(json.dumps(by_hand(args.family, args.work / args.family, graph=graph, tiny=args.tiny, device=device)))


def by_hand(family: str, base: Path, *, graph: bool, tiny: bool, device: torch.device) -> dict[str, Any]:
    """Seconds of a step as a script by hand makes it: bf16 base, fp32 LoRA, autocast, AdamW, cached inputs.

    With checkpointing; as a `graph`, activations are kept and the whole step is recorded once and replayed as one CUDA graph.
    """
    import diffusers
    from peft import LoraConfig

    preset, side, batch, rank, _ = PRESETS[family]
    side = 64 if tiny else side
    dtype = torch.float32 if tiny else torch.bfloat16
    kind, part = (
        (diffusers.FluxTransformer2DModel, "transformer") if family == "flux" else (diffusers.UNet2DConditionModel, "unet")
    )
    model = kind.from_pretrained(base / part, dtype=dtype, device_map={"": device}, local_files_only=True)
    model.requires_grad_(False)
    targets = build_recipe(preset).settings.adapter.targets
    # The family is one of the known names; argparse gives it as text.
    model.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules="|".join(denoiser_patterns(family, targets))))  # type: ignore[arg-type]
    trained = [p for p in model.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.data = parameter.data.float()
    if family == "flux":
        keep_gradients_dense(model)  # without it, cuDNN's attention crashes here on Hopper
    if not graph:
        model.enable_gradient_checkpointing()
    model.train()
    optimizer = torch.optim.AdamW(trained, lr=1e-4, capturable=graph and device.type == "cuda")
    inputs = _inputs(model, family, side // 8, batch, device, dtype)
    target = torch.randn_like(inputs["hidden_states" if family == "flux" else "sample"])

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        # A recorded step must not hold on to casts of values that change.
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda", cache_enabled=not graph):
            output = model(**inputs, return_dict=False)[0]
        torch.nn.functional.mse_loss(output.float(), target.float()).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()

    step = recorded(step) if graph and device.type == "cuda" else step
    seconds = []
    for number in range(WARM_UP + MEASURED):
        _synchronize(device)
        began = time.perf_counter()
        step()
        _synchronize(device)
        if number >= WARM_UP:
            seconds.append(time.perf_counter() - began)
    peak = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else 0.0
    return {
        "step_s": {
            "median": round(statistics.median(seconds), 4),
            "least": round(min(seconds), 4),
            "most": round(max(seconds), 4),
        },
        "memory_gib": round(peak, 2),
        "parameters": sum(p.numel() for p in trained),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
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
