"""The one exception that users see. API misuse raises ValueError, a programmer's slip asserts."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class Mistake(Exception):
    """Something a user can mend: what is wrong, why, and what to do about it."""

    def __init__(self, what: str, why: str = "", do: str = "") -> None:
        self.what, self.why, self.do = what, why, do
        super().__init__(what, why, do)

    def __str__(self) -> str:
        return "\n".join(part for part in (self.what, self.why, self.do) if part)


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint for a misspelt name: "Did you mean 'x'?" or the list of known names."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"Did you mean '{close[0]}'?" if close else "Known: " + ", ".join(known) + "."
