"""Models in published layouts: the one layout that a path is of, found by its content."""

from __future__ import annotations

from pathlib import Path

from pairloom import registry
from pairloom.checkpoints.layout import noting_prefixes
from pairloom.errors import Mistake
from pairloom.model.folder import read_json
from pairloom.model.model import Model
from pairloom.weights import find_layout, single_file


def load_published(where: Path, config: Path | None = None) -> Model:
    """Load a folder or file of another library. config: as in `weights.load`. Mistake where no layout knows it."""
    layouts = map(find_layout, registry.names("weights"))
    layout = next((one for one in layouts if hasattr(one, "sniff") and one.sniff(where)), None)
    if layout is None:
        from pairloom.weights._no_model import no_model

        raise no_model(where, read_json(where / "config.json"))
    if config is not None and layout is not single_file:
        raise Mistake(
            f"{where} has settings of its own.",
            "--config is for a Stable Diffusion in one file.",
            "Leave it out.",
        )
    with noting_prefixes() as prefixes:
        model: Model = layout.load(where, config) if layout is single_file else layout.load(where)
    if prefixes:
        model.about["names"] = f"without the prefix {' and '.join(dict.fromkeys(prefixes))}"
    return model
