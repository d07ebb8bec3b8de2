"""Key-value cache: the past of a layer in storage that is allocated ahead, so that a step copies nothing of it.

B rows, H heads, T new positions, S positions so far, d width of a head.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pairloom.blocks.attention import KeyValue

ROOM = 32  # positions that storage begins with, where nobody says how long the text gets


@dataclass
class KeyValueCache(KeyValue):
    """The past of one layer: views [B H S d] of storage that is allocated ahead, and doubled when it is full.

    `append` is pure, as concatenation would be: it writes into the storage behind the past, which earlier caches do not
    show, and takes storage of its own where another continuation of this past lies there already.
    """

    storage: KeyValue
    used: list[int]  # positions of the storage that hold something; one list for all caches that share it

    @classmethod
    def begin(cls, new: KeyValue, room: int | None = None) -> KeyValueCache:
        """The first positions; room: how many there will be, None where that is not known."""
        rows, heads, length, width = new.keys.shape
        size = rows, heads, max(room or ROOM, length), width
        storage = KeyValue(new.keys.new_empty(size), new.values.new_empty(size))
        return cls._write(storage, [0], 0, new)

    @classmethod
    def _write(cls, storage: KeyValue, used: list[int], first: int, new: KeyValue) -> KeyValueCache:
        last = used[0] = first + new.keys.shape[2]
        storage.keys[:, :, first:last] = new.keys
        storage.values[:, :, first:last] = new.values
        return cls(storage.keys[:, :, :last], storage.values[:, :, :last], storage, used)

    def append(self, new: KeyValue) -> KeyValue:
        """The same rows with later positions added. With gradients it concatenates: they forbid writing in place."""
        if torch.is_grad_enabled() and (new.keys.requires_grad or self.keys.requires_grad):
            pairs = (self.keys, new.keys), (self.values, new.values)
            keys, values = (torch.cat(pair, 2) for pair in pairs)
            whole = KeyValue(keys, values)
            return KeyValueCache(keys, values, whole, [keys.shape[2]])
        length, room = self.keys.shape[2], self.storage.keys.shape[2]
        if self.used[0] == length and length + new.keys.shape[2] <= room:
            return self._write(self.storage, self.used, length, new)
        wide = KeyValueCache.begin(self, max(2 * room, length + new.keys.shape[2]))
        return self._write(wide.storage, wide.used, length, new)

    def select(self, rows: Tensor) -> KeyValueCache:
        """Rows in this order, in storage of as much room."""
        length, room = self.keys.shape[2], self.storage.keys.shape[2]
        if torch.is_grad_enabled() and self.keys.requires_grad:
            keys, values = self.keys[rows], self.values[rows]
            return KeyValueCache(keys, values, KeyValue(keys, values), [length])
        parts = []
        for part in (self.keys, self.values):
            wide = part.new_empty(len(rows), part.shape[1], room, part.shape[3])
            torch.index_select(part, 0, rows, out=wide[:, :, :length])
            parts.append(wide)
        keys, values = (part[:, :, :length] for part in parts)
        return KeyValueCache(keys, values, KeyValue(*parts), [length])
