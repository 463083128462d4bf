"""requirements.lock names what constraints.txt and pyproject.toml name, each file by its hash, and docs/install.md gives its command."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def locked() -> list[tuple[Requirement, list[str]]]:
    """Each package of the lock with the hashes of its files; one whose version depends on Python stands there twice."""
    text = "".join(
        line for line in (ROOT / "requirements.lock").read_text().splitlines(keepends=True) if not line.startswith("#")
    )
    found = []
    for part in re.split(r"(?m)^(?=\w)", text):
        if part.strip():
            named, *hashes = (piece.strip().rstrip("\\").strip() for piece in part.strip().split("--hash="))
            found.append((Requirement(named), hashes))
    return found


def pins(name: str) -> list[Requirement]:
    return [pin for pin, _ in locked() if canonicalize_name(pin.name) == canonicalize_name(name)]


def test_every_package_has_one_version_for_each_surrounding_and_its_hashes() -> None:
    lock = locked()
    assert len(lock) > 40
    for pin, hashes in lock:
        assert [version.operator for version in pin.specifier] == ["=="], pin
        assert "*" not in str(pin.specifier), pin
        assert hashes, pin
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", entry) for entry in hashes), pin
    assert len({(canonicalize_name(pin.name), str(pin.marker)) for pin, _ in lock}) == len(lock)


def test_the_lock_holds_what_an_install_and_its_build_need_in_the_versions_of_the_constraints() -> None:
    needed = [Requirement(line) for line in (*PROJECT["project"]["dependencies"], *PROJECT["build-system"]["requires"])]
    for requirement in needed:
        found = pins(requirement.name)
        assert found, f"{requirement}: run docs/make_lock.py"
        for pin in found:
            assert requirement.specifier.contains(next(iter(pin.specifier)).version), f"{pin}: run docs/make_lock.py"
    lines = (line.partition("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines())
    for constraint in (Requirement(line) for line in lines if line):
        for pin in pins(constraint.name):
            assert pin.specifier == constraint.specifier, f"{constraint}: run docs/make_lock.py"


def test_the_page_on_installing_uses_the_lock_and_fetches_nothing_more() -> None:
    page = (ROOT / "docs" / "install.md").read_text()
    assert (
        ".venv/bin/pip install --require-hashes -r requirements.lock && .venv/bin/pip install --no-deps --no-build-isolation ."
        in page
    )
