"""Who may read a saved caption: the folder is the person's own."""

from __future__ import annotations

from pathlib import Path

from made_images import noise

from loratui.engine.dataset.caption_store import save
from loratui.engine.dataset.scan import scan


def test_a_saved_caption_may_be_read_by_whom_the_old_one_or_the_image_may(tmp_path: Path) -> None:
    for name, mode in (("a", 0o644), ("b", 0o664), ("c", 0o600)):
        noise(ord(name), (64, 64), 40.0).save(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.png").chmod(mode)
    (tmp_path / "a.txt").write_text("before")
    (tmp_path / "a.txt").chmod(0o640)
    save(scan(tmp_path), dict.fromkeys(("a.png", "b.png", "c.png"), "anafox woman, smiling"))
    assert [(tmp_path / f"{name}.txt").stat().st_mode & 0o777 for name in "abc"] == [0o640, 0o664, 0o600]
    assert (tmp_path / "a.txt").read_text() == "anafox woman, smiling\n"
