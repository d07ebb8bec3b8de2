"""Settings: the JSON of a config, read one value at a time as the type that is needed; whatever else stands there is a Mistake
that names the file and the key.

Does not know: what the settings are for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from pairloom.errors import Mistake

LARGEST = 1 << 24  # no width, depth or count of published weights comes near it


@dataclass(frozen=True)
class JsonSettings:
    """The settings of a JSON file, or of a group inside it. A value of null is one that is not there.

    file: for messages. group: the names of the groups that it lies in, each with a dot behind it.
    """

    file: Path
    values: Mapping[str, Any] = field(default_factory=dict)
    group: str = ""

    @classmethod
    def read(cls, file: Path) -> JsonSettings:
        """The object in a JSON file; no settings where there is no file, or no object in it."""
        try:
            document = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            document = {}
        return cls(file, document if isinstance(document, dict) else {})

    def __contains__(self, name: str) -> bool:
        return self.values.get(name) is not None

    def inner(self, name: str) -> JsonSettings:
        """A group of settings; an empty one where it is not there."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, Mapping):
            self.refuse(name, "a group of settings")
        return JsonSettings(self.file, value or {}, f"{self.group}{name}.")

    def over(self, defaults: Mapping[str, Any]) -> JsonSettings:
        """These settings over the defaults of the class that reads them."""
        present = {name: value for name, value in self.values.items() if value is not None}
        return JsonSettings(self.file, {**defaults, **present}, self.group)

    def whole(self, name: str, default: int | None = None, least: int = 1, most: int = LARGEST) -> int:
        """A whole number from `least` to `most`."""
        value = self._value(name, default)
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not number or value != int(value) or not least <= value <= most:
            self.refuse(name, f"a whole number from {least:,} to {most:,}")
        return int(value)

    def number(self, name: str, default: float | None = None, least: float = -math.inf) -> float:
        """A finite number that is not below `least`."""
        value = self._value(name, default)
        if (
            not isinstance(value, int | float)
            or isinstance(value, bool)
            or not math.isfinite(value)
            or value < least
        ):
            self.refuse(name, "a finite number" + f" of at least {least:g}" * (least > -math.inf))
        return float(value)

    def text(self, name: str, default: str | None = None, among: Iterable[str] = ()) -> str:
        """A text; one of `among`, where there are any."""
        value, among = self._value(name, default), tuple(among)
        if not isinstance(value, str) or (among and value not in among):
            self.refuse(name, f"{' or '.join(map(repr, among))}" if among else "a text")
        return str(value)

    def texts(self, name: str) -> tuple[str, ...]:
        """The texts of a list; none where it is not there."""
        entries = self.values.get(name) or []
        if not isinstance(entries, list) or not all(isinstance(one, str) for one in entries):
            self.refuse(name, "a list of texts")
        return tuple(entries)

    def flag(self, name: str, default: bool = False) -> bool:
        """true or false."""
        value = self._value(name, default)
        if not isinstance(value, bool):
            self.refuse(name, "true or false")
        return bool(value)

    def numbers(
        self, name: str, default: Iterable[float] | None = None, count: int | None = None
    ) -> tuple[float, ...]:
        """A list of finite numbers, so many of them where `count` says."""
        value = self._value(name, default)
        entries = list(value) if isinstance(value, list | tuple) else []
        plain = all(
            isinstance(one, int | float) and not isinstance(one, bool) and math.isfinite(one)
            for one in entries
        )
        if not entries or not plain or count not in (None, len(entries)):
            self.refuse(name, f"a list of {count or 'finite'} numbers")
        return tuple(map(float, entries))

    def _value(self, name: str, default: Any) -> Any:
        value = self.values.get(name)
        value = default if value is None else value
        if value is None:
            what = f"{self.file} has no '{self.group}{name}'."
            raise Mistake(
                what, "Without it the model cannot be built.", "Copy the file again, as it was published."
            )
        return value

    def refuse(self, name: str, wanted: str) -> NoReturn:
        """Raise the Mistake about a value that is not what is wanted."""
        value = self.values.get(name)
        text = f"'{value}'" if isinstance(value, str) else json.dumps(value, default=str)
        raise Mistake(
            f"'{self.group}{name}' in {self.file} is {text[:60]}{'...' * (len(text) > 60)}.",
            f"It should be {wanted}.",
            "Copy the file again, as it was published.",
        )
