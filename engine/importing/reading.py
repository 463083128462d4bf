"""One file of another trainer while it is read: its values, and what was said of each."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from loratui.engine.cleaning import clean
from loratui.engine.limits import TINY_FILE_BYTES
from loratui.engine.untrusted import Unreadable, read_text
from loratui.presets.schema import KEYS, SchemaError, check

Kind = Literal["taken", "changed", "does_nothing", "not_understood"]
"""Taken as it is; means something else here, or has no match; changes nothing of what is learnt; unknown."""

LARGEST = 1e15
"""Of a number: no setting of any trainer is larger, and sums with it stay whole numbers."""
LONGEST_VALUE = 200
"""Letters of a value that are shown."""
_SECRET = re.compile(r"(?:^|[._ -])(?:hf_|huggingface_)?(?:token|api_key|password)$|secret", re.IGNORECASE)
_NO = ("false", "no", "off", "none")
_YES = ("true", "yes", "on")


@dataclass(frozen=True)
class Said:
    """What becomes of one value."""

    key: str
    """As the file names it."""
    value: Any
    kind: Kind
    sets: Mapping[str, Any] = field(default_factory=dict)
    """Settings of loratui that it sets."""
    why: str = ""
    given: bool = True
    """Whether it stands in the file; else it is what the tool does where nothing is said."""

    def to_json(self) -> dict[str, Any]:
        """`key value sets why given`."""
        sets = {key: list(v) if isinstance(v, tuple) else v for key, v in self.sets.items()}
        return {"key": self.key, "value": self.value, "sets": sets, "why": self.why, "given": self.given}


def shown(key: str, value: Any) -> Any:
    """A value as it may be printed: short, clean, and without secrets."""
    if _SECRET.search(key) and value not in (None, "", False):
        return "(hidden)" if isinstance(value, str) else None
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= 64 else clean(f"{str(value)[:20]}…")
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return clean(value, LONGEST_VALUE)


def is_off(value: Any) -> bool:
    """Whether a value says that something is not used."""
    return value in (None, False, 0, "", [], {}, ()) or (isinstance(value, str) and value.strip().lower() in ("0", "0.0", *_NO))


class Reading:
    """The values of a file by the names that its table knows, and what was said of them so far."""

    @classmethod
    def renamed(cls, tool: str, table: Mapping[Any, Any], renamed: Callable[[str], str]) -> Reading:
        """A table whose names are called as its tool's table knows them. Of two names for one thing the one with a value counts,
        today's before an older one, and the other is told."""
        values: dict[str, Any] = {}
        names: dict[str, str] = {}
        older: list[tuple[str, str]] = []
        for name in sorted(map(str, table), key=lambda name: renamed(name) != name):
            key, value = renamed(name), table[name]
            if key not in values:
                values[key], names[key] = value, name
            elif values[key] in (None, "") and value not in (None, ""):
                older.append((names[key], key))
                values[key], names[key] = value, name
            else:
                older.append((name, key))
        reading = cls(tool, values, names)
        for name, key in older:
            same = table[name] in (None, "", values[key])
            why = f"{names[key]} is another name of the same, and counts."
            reading.also(name, table[name], "does_nothing" if same else "changed", why)
        return reading

    def __init__(self, tool: str, values: Mapping[str, Any], names: Mapping[str, str] | None = None) -> None:
        self.tool = tool
        self.values = dict(values)
        self._names = dict(names or {})
        self.said: dict[str, Said] = {}
        self.known: set[str] = set()
        self.folder: Path | None = None
        """Where the file is, for those that it names."""
        self.problem = ""
        """Why no recipe can be made, such as for a model that is not trained here."""
        self._stands = set(self.values)
        """Names that the file has; values may be put beside them that it does not."""
        self.lost: list[str] = []
        """What a person must know of the whole, beside single values."""

    def name(self, key: str) -> str:
        """The name of a key as the file has it."""
        return self._names.get(key, key)

    def from_place(self, key: str, name: str) -> None:
        """Names the place in the file that a value comes from."""
        self._names[key] = name
        self._stands.add(key)

    def given(self, key: str) -> bool:
        """Whether the file says something under this name; an empty value says nothing."""
        return self.values.get(key) not in (None, "")

    def put(self, key: str, value: Any) -> None:
        """Sets what a value of another name comes to; of this name nothing is said."""
        self.nothing(key, "It is empty, or another value decides.")
        self.values[key] = value

    def beside(self, name: str) -> str | None:
        """The text of a small file that the settings name: as they say, else of that name beside them; None without one."""
        for path in (Path(name), *([self.folder / Path(name.replace("\\", "/")).name] if self.folder else [])):
            try:
                return read_text(path, TINY_FILE_BYTES)
            except Unreadable:
                continue
        return None

    # values, of which those that are no such value are told

    def number(self, key: str, default: float = 0.0) -> float:
        """A number, also one in quotes."""
        found = as_number(self.values.get(key)) if self.given(key) else default
        if found is None:
            self.not_understood(key, "This is not a number.")
            return default
        return found

    def whole(self, key: str, default: int = 0) -> int:
        """A whole number, also one in quotes or with a zero fraction."""
        found = self.number(key, default)
        if found != math.floor(found) or abs(found) > 2**63:
            self.not_understood(key, "This is not a whole number.")
            return default
        return int(found)

    def yes(self, key: str, default: bool = False) -> bool:
        """A truth value, also one in quotes or as 0 and 1."""
        value = self.values.get(key)
        if not self.given(key):
            return default
        if isinstance(value, bool):
            return value
        word = str(value).strip().lower() if isinstance(value, (str, int)) else ""
        if word in (*_YES, "1"):
            return True
        if word in (*_NO, "0"):
            return False
        self.not_understood(key, "This is neither true nor false.")
        return default

    def text(self, key: str, default: str = "") -> str:
        """A text; a number is taken as it is written."""
        value = self.values.get(key)
        if not self.given(key):
            return default
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            self.not_understood(key, "This is not a text.")
            return default
        return str(value)

    # what is said

    def taken(self, key: str, sets: Mapping[str, Any], why: str = "") -> None:
        """It means the same here."""
        self._say(key, "taken", sets, why)

    def changed(self, key: str, sets: Mapping[str, Any], why: str) -> None:
        """It means something else here, or has no match; `why` says what."""
        self._say(key, "changed", sets, why)

    def nothing(self, key: str, why: str) -> None:
        """It changes nothing of what is learnt."""
        self._say(key, "does_nothing", {}, why)

    def not_understood(self, key: str, why: str) -> None:
        """It is unknown, or no value that it can have."""
        self._say(key, "not_understood", {}, why)

    def assumed(self, key: str, value: Any, sets: Mapping[str, Any], why: str = "", kind: Kind = "taken") -> None:
        """What the tool does where the file says nothing; kept only if it is not what loratui does by itself."""
        self.known.add(key)
        if not self.given(key) and any(KEYS[ours].default != set_ for ours, set_ in sets.items()):
            said = why or f"Not in the file; {self.tool} takes this."
            stands = key in self._stands
            if stands:
                said = said.replace("Not in the file", "It is empty", 1)
            value = self.values.get(key) if stands else value
            self._put(Said(clean(self.name(key), LONGEST_VALUE), shown(key, value), kind, dict(sets), said, given=stands), key)

    def also(self, name: str, value: Any, kind: Kind, why: str) -> None:
        """Of a value that stands beside the one that is read, such as of a second folder."""
        self._put(Said(clean(name, LONGEST_VALUE), shown(name, value), kind, {}, why), f" {name}")

    def finish(self) -> None:
        """Says of every value that is left that it is unknown, or empty."""
        for key, value in self.values.items():
            if key in self.said or key not in self._stands:
                continue
            if value in (None, "", [], {}):
                self.nothing(key, "It is empty.")
                continue
            alike = difflib.get_close_matches(key[:100], self.known, n=1, cutoff=0.8)
            hint = f" Did you mean {self.name(alike[0])}?" if alike else ""
            self.not_understood(key, f"{self.tool} has no such setting that loratui knows.{hint}")

    def checked(self) -> Iterator[Said]:
        """Everything that was said; a value that loratui cannot have is told instead of set."""
        for said in self.said.values():
            sets, problems = {}, []
            for ours, value in said.sets.items():
                try:
                    sets[ours] = check(KEYS[ours], value)
                except SchemaError as error:
                    problems.append(str(error))
            if problems:
                why = " ".join((said.why, f"loratui cannot take it: {'; '.join(problems)}.")).strip()
                yield Said(said.key, said.value, "changed", sets, clean(why, 400), said.given)
            else:
                yield said

    def _say(self, key: str, kind: Kind, sets: Mapping[str, Any], why: str) -> None:
        self.known.add(key)
        if key in self._stands:
            if kind == "taken" and sets and not why and not self.given(key):
                why = f"It is empty; {self.tool} then takes this."
            self._put(Said(clean(self.name(key), LONGEST_VALUE), shown(key, self.values.get(key)), kind, dict(sets), why), key)

    def _put(self, said: Said, key: str) -> None:
        self.said.setdefault(key, said)  # what was said first stays: that a value is none, above all


def as_number(value: Any) -> float | None:
    """A number from a number or its text; None for anything else, and for one that no setting has."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value) if not isinstance(value, str) or len(value) <= 64 else math.nan
    except (ValueError, OverflowError):
        return None
    return number if abs(number) <= LARGEST else None  # NaN is not either


def arguments(value: Any) -> dict[str, str] | None:
    """`key=value` words from a list or a text of them; None for anything else."""
    words = value.replace('"', "").replace("'", "").split() if isinstance(value, str) else value
    if isinstance(words, Mapping):
        return {str(name): str(item) for name, item in words.items()}
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return None
    pairs = [word.strip().strip("\"'").partition("=") for word in words if word.strip()]
    return (
        {name.strip(): item.strip().strip("\"'") for name, equals, item in pairs if equals}
        if all(p[1] for p in pairs)
        else None
    )
