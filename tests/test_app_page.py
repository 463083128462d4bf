"""The page about the app says what the table of keys says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from loratui.tui.bindings import KEYS

DOCS = Path(__file__).parents[1] / "docs"


def test_the_page_of_keys_is_as_the_table(tmp_path: Path) -> None:
    (tmp_path / "make_app.py").write_bytes((DOCS / "make_app.py").read_bytes())
    subprocess.run([sys.executable, tmp_path / "make_app.py"], check=True, timeout=60)
    assert (tmp_path / "app.md").read_text() == (DOCS / "app.md").read_text(), "run python docs/make_app.py"
    assert all(f"`{key.id}`" in (DOCS / "app.md").read_text() for key in KEYS)
