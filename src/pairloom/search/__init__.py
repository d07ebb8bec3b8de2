"""Search: an index of a set's pictures, queried by words, by pictures, or by both (docs/search.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from pairloom.model import Model
    from pairloom.search.index import Index

__all__ = ["open"]


def open(where: Path | str, model: Model | None = None, device: str = "auto") -> Index:
    """Open the index of a folder for queries. model: the index's model, where it is loaded already; device: where to load it
    otherwise.

    Mistake where there is no index.
    """
    from pairloom.runtime.devices import resolve_device
    from pairloom.search.index import Index

    return Index(where, model, resolve_device(device))
