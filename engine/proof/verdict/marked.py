"""What to do about something that the person marked as seen and that says nothing of the whole, as the guides do."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loratui.presets.schema import Settings


def for_marks(seen: Collection[str], settings: Settings | None) -> Iterator[dict[str, Any]]:
    """`{id, change, why, do}` for each mark that has an own remedy."""
    if "feature" in seen and settings is not None:
        rank, most = settings.adapter.rank, settings.adapter.rank_wanted[1]
        if rank < most:
            why = "You saw that a small feature is missed. A larger LoRA holds more detail."
            wanted = min(2 * rank, most)
            do = {"settings": {"adapter.rank": wanted}}
            yield {"id": "rank_for_feature", "change": f"Rank {rank} → {wanted}.", "why": why, "do": do}
    if "anatomy" in seen:
        look = "In the dataset step, look for odd poses, cut limbs and several people; leave the image out or say it in its caption."
        change = "Leave out or re-caption the odd image."
        yield {"id": "odd_image", "change": change, "why": "You saw distorted anatomy.", "do": {"look": look}}
    if "same" in seen:
        look = "In the dataset step, look for photos beside their mirror images; leave one of each pair out."
        yield {
            "id": "mirrored_photos",
            "change": "Check for mirrored photos.",
            "why": "You saw that all images are the same.",
            "do": {"look": look},
        }
