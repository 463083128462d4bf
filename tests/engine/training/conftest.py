"""The random bases and the runs on them."""

from __future__ import annotations

from random_bases import base_folder, family, flux_folder, images, make_run, sdxl_folder

__all__ = ["base_folder", "family", "flux_folder", "images", "make_run", "sdxl_folder"]
