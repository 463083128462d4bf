"""requirements.lock names what constraints.txt and pyproject.toml name, each file by its hash, and README gives its command."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def locked() -> dict[str, tuple[Requirement, list[str]]]:
    """Each package of the lock with the hashes of its files."""
    text = "".join(
        line for line in (ROOT / "requirements.lock").read_text().splitlines(keepends=True) if not line.startswith("#")
    )
    found: dict[str, tuple[Requirement, list[str]]] = {}
    for part in re.split(r"(?m)^(?=\w)", text):
        if part.strip():
            named, *hashes = (piece.strip().rstrip("\\").strip() for piece in part.strip().split("--hash="))
            requirement = Requirement(named)
            name = canonicalize_name(requirement.name)
            assert name not in found, name
            found[name] = requirement, hashes
    return found


def test_every_package_has_one_version_and_its_hashes() -> None:
    for name, (requirement, hashes) in locked().items():
        assert [pin.operator for pin in requirement.specifier] == ["=="], name
        assert "*" not in str(requirement.specifier), name
        assert hashes, name
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", entry) for entry in hashes), name


def test_the_lock_holds_what_an_install_and_its_build_need_in_the_versions_of_the_constraints() -> None:
    lock = locked()
    needed = [Requirement(line) for line in (*PROJECT["project"]["dependencies"], *PROJECT["build-system"]["requires"])]
    for requirement in needed:
        pin, _ = lock[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(next(iter(pin.specifier)).version), f"{pin}: run docs/make_lock.py"
    lines = (line.partition("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines())
    for constraint in (Requirement(line) for line in lines if line):
        pinned = lock.get(canonicalize_name(constraint.name))
        assert pinned is None or pinned[0].specifier == constraint.specifier, f"{constraint}: run docs/make_lock.py"


def test_the_readme_installs_by_the_lock_and_fetches_nothing_more() -> None:
    readme = (ROOT / "README.md").read_text()
    assert (
        ".venv/bin/pip install --require-hashes -r requirements.lock && .venv/bin/pip install --no-deps --no-build-isolation ."
        in readme
    )
