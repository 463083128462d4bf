"""Measured parts with figures of a run's kind, for tests of the verdict."""

from __future__ import annotations

from typing import Any

FINAL = "output/x.safetensors"
EPOCHS = tuple(f"output/x-{step:06}.safetensors" for step in (90, 180, 270, 360))

STEPS = {FINAL: 450, **{file: 90 * (at + 1) for at, file in enumerate(EPOCHS)}}


def row(id: str, value: float | None, **more: Any) -> dict[str, Any]:
    known = {"spread": None, "base": None, "range": None, **more}
    texts = dict.fromkeys(("title", "figure", "means", "unknown", "about", "limits", "unit"), "")
    return {"id": id, "value": value, **texts, **known}


def curve(id: str, values: list[tuple[str, float, float]], **more: Any) -> dict[str, Any]:
    """`values`: file, strength, value."""
    points = [{"file": f, "step": STEPS[f], "strength": s, "value": v, "ratio": v} for f, s, v in values]
    return row(id, values[-1][2], curve=points, **more)


def measured(**changes: float | None) -> list[dict[str, Any]]:
    """A good run's parts; `changes` by axis, where None is unknown."""
    at: dict[str, Any] = {
        "likeness": 0.9, "change": 0.9, "people": 1.0, "trigger_said": 1.0, "copied": 0.0, "variety": 0.8,
        "mirrored": 0.8, "distinct": 1.0, "captions_fit": 0.95, "sharpness": 1.0, "saturation": 1.0,
    } | changes  # fmt: skip

    def figure(id: str, **more: Any) -> dict[str, Any]:
        return row(id, at[id], ratio=at[id], **more)

    like = {"base": 0.3, "range": [0.88, 0.97], "above": 0.0}
    strengths = [(FINAL, 0.5, 0.6), (FINAL, 1.0, at["likeness"] or 0.0), (FINAL, 1.5, at["likeness"] or 0.0)]
    return [
        {"id": "likeness", "measures": [row("likeness", at["likeness"], **like), *map(figure, ("change", "people")), row("trigger_said", at["trigger_said"], without=[] if at["trigger_said"] == 1 else ["2.png"])], "images": []},
        {"id": "generalises", "measures": [row("copy_hash", 0.6, copies=at["copied"]), *map(figure, ("variety", "mirrored", "captions_fit")), row("distinct", at["distinct"], distinct=round(18 * at["distinct"]) if at["distinct"] else None, alike=[["1.png", "3.png"]])], "images": []},
        {"id": "trigger_alone", "measures": [row("copy_hash", 0.6, copies=at["copied"]), figure("variety")], "images": []},
        {"id": "quality", "measures": list(map(figure, ("sharpness", "saturation"))), "images": []},
        {"id": "strength", "measures": [curve("likeness", strengths)], "images": []},
        {"id": "checkpoints", "measures": [], "images": []},
        {"id": "next", "measures": [], "images": []},
    ]  # fmt: skip
