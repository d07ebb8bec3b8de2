"""What `import pairloom` offers. Light: whatever needs torch is imported when it is called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairloom.errors import Mistake

if TYPE_CHECKING:
    from pairloom.api.listing import SystemInfo
    from pairloom.api.model import Model
    from pairloom.api.pairs import PairSet
    from pairloom.clean.calibrated_judge import CalibratedJudge
    from pairloom.clean.result import CleanResult
    from pairloom.model import Model as BareModel


def load(
    where: str | Path, device: str = "auto", download: bool = False, regions: str | Path | None = None
) -> Model:
    """A model ready to be asked, from its folder, published weights (docs/weights.md) or a hub id.

    device: "cpu", "cuda", "cuda:1"; "auto" takes a GPU where there is one. download: a hub id that is not in the local cache
    may be fetched from the network; without it nothing ever is. regions: of the pictures that it will be asked about, for a model
    that reads those (docs/regions.md). Mistake that says what was found instead.
    """
    from pairloom import weights
    from pairloom.api.model import Model
    from pairloom.runtime.devices import resolve_device

    chosen = resolve_device(device)
    _demand_model(where)
    model = weights.load(where, download).to(chosen)
    if regions is not None:
        from pairloom.api.region_source import with_regions

        model = with_regions(model, regions)
    return Model.of(model, str(where))


def _demand_model(where: str | Path) -> None:
    """Raise Mistake for the folder of a judge that is no model."""
    folder = Path(where)
    if (folder / "judge.json").is_file() and not (folder / "config.json").is_file():
        raise Mistake(
            f"{where} is a judge without a model.",
            "It names the model that it judges by, or was written by an earlier version: it scores pairs, and neither embeds nor writes.",
            "pairloom.load_judge(FOLDER), or `pairloom score --model FOLDER`.",
        )


def load_judge(folder: str | Path, device: str = "auto") -> CalibratedJudge:
    """The judge that a run of `clean` saved (out/models/judge): the scores, P(match) and decisions of its ledger.

    Mistake where there is none, or one of another version.
    """
    from pairloom.clean.judges import load_judge
    from pairloom.runtime.devices import resolve_device

    return load_judge(folder, resolve_device(device))


def load_result(folder: str | Path) -> CleanResult:
    """A finished run of `clean`, from its --out folder: ledger, report, judge, `why` and `apply`. Mistake where there is none."""
    from pairloom.clean.result import CleanResult

    return CleanResult.load(folder)


def save(model: BareModel, where: str | Path) -> Path:
    """Write a model as a folder that `load` reads. Mistake where the folder holds something else."""
    from pairloom.model import save

    return save(model, where)


def open(
    where: str | Path | Sequence[str | Path],
    format: str | None = None,
    *,
    text_column: str = "",
    image_column: str = "",
) -> PairSet:
    """The set of pairs at a folder or file; its format is recognised by its content unless named (docs/formats.md).

    where: a pattern such as "{00000..00009}.tar" or "*.tar", or a list of paths, is one set too.
    text_column, image_column: where texts and pictures stand in a table or in JSON, if not where sets have them. The set's
    `notes` say what was not read and what was guessed.
    """
    from pairloom.api.pairs import PairSet
    from pairloom.data.several import open_sets
    from pairloom.data.shards import ColumnNames

    return PairSet.of(open_sets(where, format, ColumnNames(image_column, text_column)))


def systems() -> list[SystemInfo]:
    """Every system: its name, its paper, what it can be asked, its presets."""
    from pairloom.api.listing import systems

    return systems()


def train(
    system: str,
    pairs: PairSet | str | Path,
    out: str | Path,
    *,
    preset: str = "base",
    recipe: str = "",
    init: str | Path | None = None,
    tokens: str | Path | None = None,
    vocabulary: int = 30524,
    held_out: float = 0.05,
    device: str = "auto",
    restart: bool = False,
    image_tower: str | None = None,
    text_tower: str | None = None,
    regions: str | Path | None = None,
    settings: Sequence[str] = (),
    **values: Any,
) -> Model:
    """Train a system on a set and return the model; `out` becomes its folder, and a run that was stopped goes on.

    "ridge" is no system but ridge regression between features, solved in closed form, with the named or installed towers.
    regions: of the pictures (docs/regions.md), for a system that reads those. Settings of docs/training.md are keywords, `epochs=1, batch=16`; those with a dot are texts, settings=["model.depth=4"].
    Mistake for everything that does not fit, before any work.
    """
    from pairloom.api.closed_form import TowerNames
    from pairloom.api.closed_form import train as train_request
    from pairloom.train.order import TrainRequest

    words = (*settings, *(f"{name}={value}" for name, value in values.items()))
    where = getattr(pairs, "path", pairs)
    request = TrainRequest(
        system,
        Path(where),  # type: ignore[arg-type]
        Path(out),
        words,
        preset,
        recipe,
        init=None if init is None else Path(init),
        tokens=None if tokens is None else Path(tokens),
        vocabulary=vocabulary,
        held_out=held_out,
        device=device,
        restart=restart,
        regions=None if regions is None else Path(regions),
    )
    train_request(request, TowerNames(image_tower, text_tower))
    return load(out, device)
