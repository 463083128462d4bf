"""The random base and the runs on it."""

from __future__ import annotations

from random_bases import base_folder, family, images, make_run

__all__ = ["base_folder", "family", "images", "make_run"]
