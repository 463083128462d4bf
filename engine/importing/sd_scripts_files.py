"""The files of sd-scripts: a training configuration, a dataset configuration, and both together as FluxGym writes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from loratui.engine.errors import LoratuiError
from loratui.engine.importing import files, sd_scripts
from loratui.engine.importing.amount import Amount
from loratui.engine.importing.families import by_word
from loratui.engine.importing.reading import Reading

_DATASET = {"image_dir": "train_data_dir", "batch_size": "train_batch_size"}
"""Names in a dataset file -> the argument that means the same."""
_OF_SUBSET = ("class_tokens", "is_reg", "image_dir", "num_repeats", "metadata_file")


def training(
    table: Mapping[str, Any], folder: Path, family: str = "", datasets: Mapping[str, Any] | None = None
) -> tuple[Reading, Amount]:
    """A training configuration or command, with the dataset file that it names, if that is here."""
    table, from_file = _with_config_file(table, folder)
    values: dict[str, Any] = {}
    names: dict[str, str] = {}
    twice: list[tuple[str, Any]] = []
    for name, item in table.items():  # sections are only for the eye, so of one name in two of them the last counts
        for inner, value in item.items() if isinstance(item, dict) else ((name, item),):
            if inner in values:
                twice.append((f"{names[inner]} (first)", values[inner]))
            values[inner], names[inner] = value, str(name) if not isinstance(item, dict) else f"{name}.{inner}"
    names = {key: key for key in names}
    program = values.pop("script", "")
    launch = values.pop("launch", "")
    reading = Reading("sd-scripts", values, names)
    reading.folder = folder
    add_datasets(reading, folder, datasets)
    if from_file:
        reading.nothing("config_file", "Its values are read too; those of the command count before them.")
    else:
        reading.changed("config_file", {}, "This file is not here; import it by itself, or put it beside this one.")
    for shown, value in twice:
        reading.also(shown, value, "changed", "The same name stands in a later section, which counts.")
    if launch:
        reading.also("launch", launch, "does_nothing", "How accelerate starts the program.")
    return reading, sd_scripts.read(reading, family or by_word("sd-scripts", str(program)))


def _with_config_file(table: Mapping[str, Any], folder: Path) -> tuple[Mapping[str, Any], bool]:
    """A command with the values of the file that it names below its own; False without such a file."""
    name = table.get("config_file")
    if not isinstance(name, str) or not name:
        return table, False
    for path in (Path(name), folder / Path(name.replace("\\", "/")).name):
        try:
            found = files.read(path.with_suffix(".toml"))
        except (LoratuiError, OSError, ValueError):
            continue
        flat: dict[str, Any] = {}
        for key, item in found.items() if isinstance(found, dict) else ():
            flat |= item if isinstance(item, dict) else {key: item}
        return {**flat, **table}, True
    return table, False


def add_datasets(reading: Reading, folder: Path, datasets: Mapping[str, Any] | None = None) -> bool:
    """Adds the values of the dataset file that the settings name, of its first folder; the others are told. False without such a file."""
    name = reading.values.get("dataset_config")
    if datasets is None and isinstance(name, str) and name:
        datasets = _named(name, folder)
    if datasets is None:
        if reading.given("dataset_config"):
            reading.changed("dataset_config", {}, "This file is not here; import it by itself, or put it beside this one.")
        _class_tokens(reading)
        return False
    found = _datasets(datasets)
    first: dict[str, Any] = {}
    for key, shown, value, is_first in found:
        if is_first:
            if reading.given(key) and key not in first:
                reading.also(reading.name(key), reading.values[key], "does_nothing", "The dataset file counts.")
            first[key] = reading.values[key] = value
            reading.from_place(key, shown)
    for key, shown, value, is_first in found:
        if not is_first:
            same = first.get(key) == value
            words = (
                "The same as the value that counts."
                if same
                else "loratui trains on one folder with one value for all; several subjects are N_name folders in it."
            )
            reading.also(shown, value, "taken" if same else "changed", words)
    reading.nothing("dataset_config", "Its values are read too.")
    _class_tokens(reading)
    return True


def dataset(table: Mapping[str, Any], folder: Path, family: str = "") -> tuple[Reading, Amount]:
    """A dataset configuration alone: folder, sizes, repeats, captions."""
    reading, amount = training({}, folder, family, table)
    reading.lost.append(
        "This file has the dataset only; the rest is sd-scripts' defaults. Import the training file, which names this one, for all."
    )
    return reading, amount


def _named(name: str, folder: Path) -> Mapping[str, Any] | None:
    """The dataset file that a training file names: as it says, else one of that name beside it."""
    for path in (Path(name), folder / Path(name.replace("\\", "/")).name):
        try:
            if path.suffix.lower() in (".toml", ".json") and path.is_file():
                found = files.read(path)
                return found if isinstance(found, dict) and "datasets" in found else None
        except (LoratuiError, OSError, ValueError):
            continue
    return None


def _datasets(table: Mapping[str, Any]) -> list[tuple[str, str, Any, bool]]:
    """Every value of a dataset file as (argument, name, value, whether it belongs to the first folder). The nearest counts."""
    found: list[tuple[str, str, Any, bool]] = []
    general = table.get("general", {})
    found += _values(general, "general", first=True)
    sets = [
        (at, number, subset.get("is_reg", item.get("is_reg")) is True)
        for at, item in enumerate(_tables(table.get("datasets")))
        for number, subset in enumerate(_tables(item.get("subsets")))
    ]
    # images of the subject before regularisation images, wherever these stand
    chosen = next(((at, number) for at, number, is_reg in sets if not is_reg), (0, 0))
    for at, item in enumerate(_tables(table.get("datasets"))):
        found += _values(item, f"datasets[{at}]", first=at == chosen[0])
        for number, subset in enumerate(_tables(item.get("subsets"))):
            found += _values(subset, f"datasets[{at}].subsets[{number}]", first=(at, number) == chosen)
    known = {"general", "datasets"}
    found += [(str(name), str(name), value, True) for name, value in table.items() if name not in known]
    # of one name, the last that belongs to the first folder counts; the others are told as what they are
    last = {key: shown for key, shown, _, first in found if first}
    return [(key, shown, value, first and last[key] == shown) for key, shown, value, first in found]


def _values(table: Any, prefix: str, *, first: bool) -> Iterator[tuple[str, str, Any, bool]]:
    if isinstance(table, dict):
        for name, value in table.items():
            if name != "subsets" or not isinstance(value, list):
                yield _DATASET.get(name, str(name)), f"{prefix}.{name}", value, first


def _tables(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _class_tokens(reading: Reading) -> None:
    """The words of a folder without captions: trigger first, class second, as in `N_trigger class` folders."""
    words = reading.text("class_tokens").split()
    if words:
        sets = {"dataset.trigger": words[0], **({"dataset.class_word": " ".join(words[1:])} if len(words) > 1 else {})}
        reading.changed(
            "class_tokens",
            sets,
            "sd-scripts uses these words only for images without a caption; for loratui they are trigger and class word.",
        )
    if reading.yes("is_reg"):
        reading.changed("is_reg", {}, "These are regularisation images; put them into the dataset's folder as reg.")
    else:
        reading.nothing("is_reg", "It is off.")
