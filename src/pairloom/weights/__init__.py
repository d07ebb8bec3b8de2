"""Published weights: one layout a file, and `load`, which reads a model folder of pairloom or of any published layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pairloom import registry
from pairloom.model.folder import MARK, load_folder, read_json
from pairloom.model.model import Model


def load(where: Path | str, download: bool = False, config: Path | None = None) -> Model:
    """Load a model, in evaluation mode: from its folder, from published weights (docs/weights.md), or from a hub id.

    download: a hub id that is not in the local cache may be downloaded; otherwise the network is not used. config: the folder of the
    settings for a Stable Diffusion in one file. Mistake where there is no model, with a description of what is there instead.
    """
    name, where = str(where), Path(where)
    if not where.exists():
        from pairloom.weights._hub import find_model

        where = find_model(name, download) or where
    if not where.exists():
        from pairloom.weights._no_model import nothing_there

        raise nothing_there(where)
    document = read_json(where / "config.json")
    if document.get("system") == "ridge" and MARK in document:
        from pairloom.regression.ridge_model import load_ridge_model

        return load_ridge_model(where)
    pixels = document.get("pixels")
    if MARK in document and isinstance(pixels, dict) and "tower" in pixels:
        from pairloom.frozen import load_on_tower

        return load_on_tower(where, document)
    if MARK in document:
        return load_folder(where, document)
    from pairloom.weights.published import load_published

    return load_published(where, config)


def find_layout(name: str) -> Any:
    """The module of a layout, by its name."""
    return registry.find("weights", name)
