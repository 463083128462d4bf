"""FLUX.1's transformer as files hold it, and its relatives that cannot be trained here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from loratui.engine.families.network import Config, Network, Sizes, Tensors, has, read, whole
from loratui.engine.findings import Finding

_RELATIVES: Mapping[str, str] = {
    "distilled_guidance_layer.": "a Chroma model",
    "double_stream_modulation_img.": "a FLUX.2 model",
    "txt_in.individual_token_refiner.": "a Hunyuan video model",
}
"""Beginning of a key that FLUX.1 does not have -> what the model is."""

_INPUTS: Mapping[int, tuple[str, str]] = {
    384: ("base_inpainting", "FLUX.1 Fill (it also takes a mask)"),
    128: ("base_control", "a FLUX.1 control model (it also takes edges or depth)"),
    96: ("base_control", "a FLUX.1 variant that also takes an image"),
}
"""Channels that it takes -> id, what it is. FLUX.1 Kontext has the tensors of FLUX.1-dev and cannot be told apart so."""


def _config_sizes(config: Config) -> Sizes:
    try:
        width = config["num_attention_heads"] * config["attention_head_dim"]
        return whole(width=width, layers=config["num_layers"], single_layers=config["num_single_layers"])
    except (KeyError, TypeError):
        return {}


def _refusals(tensors: Tensors, flux: Sizes) -> Iterator[Finding]:
    for beginning, kind in _RELATIVES.items():
        if has(tensors, beginning):
            yield Finding.of("base_other_family", problem=f"this is {kind}, which cannot be trained here.", remedy="")
    if flux["inputs"] in _INPUTS:
        code, kind = _INPUTS[flux["inputs"]]
        yield Finding.of(code, problem=f"this is {kind}.", remedy="Choose FLUX.1-dev itself.")
    if not flux["layers"] or not flux["single_layers"] or not flux["inputs"]:
        message = "it holds only some of FLUX's blocks."
        yield Finding.of("base_damaged", problem=message, remedy="Get the file again, or give the index of all its shards.")
    if not any(has(tensors, beginning) for beginning in ("guidance_in.", "time_text_embed.guidance_embedder.")):
        message = (
            "this FLUX takes no guidance as an input: it is FLUX.1-schnell, which is distilled to few steps so that a LoRA would "
            "undo that, or a de-distilled FLUX.1-dev, which needs guidance of another kind. Neither can be trained here."
        )
        yield Finding.of("base_schnell", problem=message, remedy="Choose FLUX.1-dev itself; its LoRAs work on schnell too.")


_ENTRY = ("img_in.weight", "x_embedder.weight")

FLUX_TRANSFORMER = Network(
    name="flux",
    signs=(
        ("original", "double_blocks.0.img_attn.qkv.weight"),
        ("diffusers", "single_transformer_blocks.0.proj_mlp.weight"),
    ),
    sizes=read(
        width=(0, _ENTRY),
        layers=r"(?:double|transformer)_blocks\.(\d+)\.",
        single_layers=r"single_(?:transformer_)?blocks\.(\d+)\.",
        inputs=(1, _ENTRY),
        context=(1, ("txt_in.weight", "context_embedder.weight")),
        pooled=(1, ("vector_in.in_layer.weight", "time_text_embed.text_embedder.linear_1.weight")),
    ),
    config_sizes=_config_sizes,
    words={"width": "channels", "layers": "double blocks", "single_layers": "single blocks"},
    title=lambda _: "a FLUX transformer",
    exact=True,
    elastic={"layers": "num_layers", "single_layers": "num_single_layers"},
    refusals=_refusals,
)
"""`context` is the width of T5's states, `pooled` that of CLIP's pooled state."""
