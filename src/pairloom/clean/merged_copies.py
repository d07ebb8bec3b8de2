"""Merging of copies: of each group of copied pictures the best one takes over the texts of the others, which are dropped.

A mirrored or turned copy is left alone, since left and right are others in its texts. Every text that moves is judged with the
picture that takes it over.

Does not know: files, scores, how copies are found.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pairloom.clean.audit import SCHEMA
from pairloom.clean.duplicates import KINDS, Groups

CODE = "merged_copy"
MERGED = tuple(KINDS.index(kind) for kind in ("same file", "near"))
COLUMNS = "texts", "sources", "originals"  # of the audit that a text has


@dataclass
class MergedCopies:
    """Which pairs of a set are merged, and the texts that move: group -> (text, source, original, faults) of each."""

    groups: Groups
    merged: NDArray[np.bool_]
    texts: dict[int, list[tuple[str, str, str | None, list[str]]]] = field(default_factory=dict)

    @classmethod
    def choose(cls, groups: Groups, bad: NDArray[np.bool_]) -> MergedCopies:
        """Copies that are merged: those without a bad fault [n] in groups whose best pair has none."""
        takes = np.zeros(len(groups) + 1, bool)  # the last for -1
        takes[groups.group_of[groups.best & ~bad & (groups.group_of >= 0)]] = True
        return cls(groups, takes[groups.group_of] & ~bad & ~groups.best & np.isin(groups.kind, MERGED))

    def collect(self, first: int, table: pa.Table, own_faults: list[list[list[str]]]) -> None:
        """Remember the texts of the merged pairs of a shard, whose pairs are first, first + 1 ... of the set."""
        columns = [table.column(name).to_pylist() for name in COLUMNS]
        for row in np.flatnonzero(self.merged[first : first + len(table)]).tolist():
            moved = zip(*(column[row] for column in columns), own_faults[row])
            self.texts.setdefault(int(self.groups.group_of[first + row]), []).extend(moved)

    def apply(
        self, first: int, table: pa.Table, image_faults: list[list[str]], own_faults: list[list[list[str]]]
    ) -> pa.Table:
        """The audit's part of a shard with the texts that move to its pairs; the faults, in place, with theirs and with CODE."""
        columns: list[list[list[Any]]] = [table.column(name).to_pylist() for name in COLUMNS]
        for row in range(len(table)):
            if self.merged[first + row]:
                image_faults[row].append(CODE)
            elif self.groups.best[first + row]:
                self._take(int(self.groups.group_of[first + row]), [c[row] for c in columns], own_faults[row])
        for name, values in zip(COLUMNS, columns):
            at = table.schema.get_field_index(name)
            table = table.set_column(at, name, pa.array(values, SCHEMA.field(name).type))
        return table

    def _take(self, group: int, own: list[list[Any]], own_faults: list[list[str]]) -> None:
        """Add the texts that move to a pair, those that it does not have, in place."""
        held = {text.strip().lower() for text in own[0]}
        for text, source, original, faults in self.texts.get(group, ()):
            if (plain := text.strip().lower()) not in held:
                held.add(plain)
                own_faults.append(faults)
                for column, value in zip(own, (text, source, original)):
                    column.append(value)
