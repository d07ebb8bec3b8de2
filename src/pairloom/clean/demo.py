"""Demo: the main job on a drawn world with known truth, offline, in minutes. It draws a set with noise, cleans it, and compares
the ledger with the truth.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pairloom.clean.plan import CleanSettings
from pairloom.clean.result import CleanResult
from pairloom.clean.rounds import Tell, silent
from pairloom.clean.run import clean
from pairloom.clean.truth import measure
from pairloom.errors import Mistake
from pairloom.scale import Execution
from pairloom.world import World, write_folder
from pairloom.world.world import truth_line

PAIRS, HELD_OUT, NOISE = 4000, 500, 0.3


def demo(
    out: Path,
    pairs: int = PAIRS,
    settings: CleanSettings = CleanSettings(),
    execution: Execution = Execution(),
    tell: Tell = silent,
) -> CleanResult:
    """Run the demo: draw `pairs` pairs, 30 % of them with bad texts of seven kinds, and clean them: out/raw -> out/clean.

    The proof uses a held-out set without noise (out/test). A stopped demo is resumed as in `clean`.
    """
    world = World(
        pairs, seed=settings.seed, level="simple", size=settings.size, styles=("terse", "full"), noise=NOISE
    )
    test = World(
        max(50, pairs * HELD_OUT // PAIRS),
        seed=settings.seed + 1,
        level="simple",
        size=settings.size,
        styles=("terse", "full"),
    )
    for drawn, name in ((world, "raw"), (test, "test")):
        if (out / name).exists():
            _demand_same(drawn, out / name)
        else:
            tell(f"draw {name}", 0, drawn.count)
            out.mkdir(parents=True, exist_ok=True)
            (out / f"{name}.truth.jsonl").unlink(
                missing_ok=True
            )  # ours, of a run that was killed between the two
            write_folder(drawn, out / name)
    proving = replace(settings, prove=True, test=str(out / "test"))
    return clean(
        out / "raw",
        out / "clean",
        proving,
        execution=execution,
        truth=lambda table: measure(table, world),
        tell=tell,
    )


def _demand_same(world: World, drawn: Path) -> None:
    """Raise Mistake where a folder does not hold this world, since the truth would be wrong."""
    try:
        truth = drawn.with_name(f"{drawn.name}.truth.jsonl").read_text("utf-8", "replace")
    except OSError:
        truth = ""
    if truth.count("\n") != world.count or not truth.startswith(truth_line(world.row(0))):
        raise Mistake(
            f"{drawn} was not drawn with these numbers.",
            "The demo draws its own sets, by --pairs and --seed, and never over what is there.",
            "Name another --out, or give the same numbers to resume that demo.",
        )
