"""Published weights for a part of a new model, and models written in published layouts."""

from __future__ import annotations

from pathlib import Path

from pairloom import registry
from pairloom.errors import Mistake, nearest
from pairloom.model.model import Model
from pairloom.weights import find_layout


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
