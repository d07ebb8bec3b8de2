"""What `import pairloom` offers for making folders of files: the demo, model folders of published weights, regions of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pairloom.api.making_regions import MadeRegions
    from pairloom.clean.result import CleanResult


def demo(
    out: str | Path = "pairloom-demo",
    pairs: int = 4000,
    *,
    workers: int = 0,
    tell: Any = None,
    **settings: Any,
) -> CleanResult:
    """Draw a world whose truth is known (out/raw), clean it (out/clean) and compare with the truth.

    settings: of `clean`, such as seed and effort. Mistake where `out` holds another world.
    """
    from pairloom.api.cleaning import clean_settings
    from pairloom.clean import demo as demos
    from pairloom.clean.rounds import silent
    from pairloom.scale import Execution, worker_count

    execution = Execution(workers=worker_count(workers, 99))
    return demos.demo(Path(out), pairs, clean_settings(**settings), execution, tell or silent)


def import_weights(
    source: str | Path,
    out: str | Path,
    size: int = 0,
    download: bool = False,
    config: str | Path | None = None,
) -> dict[str, Any]:
    """Take published weights into a model folder that needs nothing else; returns what is known of them.

    size: side of the pictures, where another is wanted: positions are resized. config: the folder of a pipeline, for the settings
    and the tokenizer of a Stable Diffusion in one file. Mistake where `out` is not empty.
    """
    from pairloom import model as models
    from pairloom import weights
    from pairloom.data.feed import feed_name
    from pairloom.model.saving import claim_empty

    claim_empty(Path(out))
    model = weights.load(source, download, None if config is None else Path(config))
    if size:
        model = models.at_size(model, size)
    models.save(model, out)
    count = sum(parameter.numel() for parameter in model.system.parameters())
    facts = {"source": str(source), "out": str(out), "system": model.name, "parameters": count}
    kind = feed_name(model.feed)
    reads = (
        {"pixels": model.pixels.size, "reads": f"{model.pixels.size} px"}
        if kind == "pixels"
        else {"reads": kind}
    )
    return {**facts, **reads, **model.about}


def regions(
    pictures: str | Path,
    out: str | Path,
    *,
    detector: str | Path | None = None,
    image_tower: str | None = None,
    grid: bool = False,
    most: int = 36,
    threshold: float = 0.0,
    device: str = "auto",
    restart: bool = False,
    dry_run: bool = False,
    tell: Any = None,
) -> MadeRegions:
    """Make the regions of every picture of a file, folder or set, for models that read those; goes on where it was stopped.

    detector: a folder of transformers with a DETR or an RT-DETR; or, with `grid` or `image_tower`, the cells of a frozen image
    tower. most: surest regions of a picture; threshold: how sure they must be. `load(model, regions=out)` reads them.
    """
    from pairloom.api.making_regions import make_regions, region_maker

    maker = region_maker(detector, image_tower, grid, most, threshold, device)
    return make_regions(Path(pictures), maker, Path(out), restart, dry_run, tell or (lambda done, bad: None))
