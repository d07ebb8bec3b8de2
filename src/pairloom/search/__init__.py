"""Search: a folder of pictures embedded once, then asked by words, by pictures, or by both (docs/search.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from pairloom.model import Model
    from pairloom.search.index import Index

__all__ = ["open"]


def open(where: Path | str, model: Model | None = None, device: str = "auto") -> Index:
    """The index at a folder, ready to be asked. model: where it is loaded already; device: where it is loaded to.

    Mistake where there is no index.
    """
    from pairloom.runtime.devices import resolve_device
    from pairloom.search.index import Index

    return Index(where, model, resolve_device(device))
