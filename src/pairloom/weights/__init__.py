"""Published weights: one layout a file, and `load`, which reads a model folder of pairloom or of any published layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pairloom import registry
from pairloom.errors import Mistake, nearest
from pairloom.model.folder import MARK, load_folder, read_json
from pairloom.model.model import Model


def load(where: Path | str, download: bool = False) -> Model:
    """Load a model, in evaluation mode: from its folder, from published weights (docs/weights.md), or from a hub id.

    download: a hub id that is not in the local cache may be downloaded; otherwise the network is not used. Mistake where
    there is no model, with a description of what is there instead.
    """
    name, where = str(where), Path(where)
    if not where.exists():
        from pairloom.weights._hub import find_model

        where = find_model(name, download) or where
    if not where.exists():
        raise Mistake(
            f"There is no model at {where}.",
            "It is no path, and no hub id in the local cache; names are not looked up on the network.",
            "Give the path of a model folder, or: pairloom import NAME --download --out DIR",
        )
    document = read_json(where / "config.json")
    if document.get("system") == "ridge" and MARK in document:
        from pairloom.regression.ridge_model import load_ridge_model

        return load_ridge_model(where)
    if MARK in document and "tower" in document.get("pixels", ()):
        from pairloom.frozen import load_on_tower

        return load_on_tower(where, document)
    if MARK in document:
        return load_folder(where, document)
    for layout in map(find_layout, registry.names("weights")):
        if hasattr(layout, "sniff") and layout.sniff(where):
            model: Model = layout.load(where)
            return model
    from pairloom.weights._no_model import no_model

    raise no_model(where, document)


def with_part(model: Model, part: str, where: Path) -> Model:
    """Initialise one part of a new model, such as "encoder", from published weights.

    Mistake where no layout has that part, or the file does not fit it.
    """
    layouts = {getattr(one, "PART", ""): one for one in map(find_layout, registry.names("weights"))}
    if part not in layouts or not part:
        raise Mistake(
            f"There are no published weights for a part '{part}'.", "", nearest(part, filter(None, layouts))
        )
    started: Model = layouts[part].start(model, where)
    return started


def export(model: Model, out: Path, to: str = "transformers", task: str = "") -> Path:
    """Export a model in the published layout `to`. task: caption or match, where a BLIP has both.

    Mistake where that layout cannot hold the system.
    """
    layouts = [find_layout(name) for name in registry.names("weights")]
    able = {layout.WRITES: layout for layout in layouts if getattr(layout, "SYSTEM", "") == model.name}
    if to not in able:
        known = f"{model.name} can go to {' and '.join(sorted(able))}." if able else "No layout holds it."
        raise Mistake(f"{model.name} cannot be written for '{to}'.", known)
    if task and not hasattr(able[to], "CLASSES"):
        raise Mistake(f"There is no --task for {model.name}.", "Its layout holds all of it.", "Leave it out.")
    able[to].export(model, out, **({"task": task} if task else {}))
    return out


def find_layout(name: str) -> Any:
    """The module of a layout, by its name."""
    return registry.find("weights", name)
