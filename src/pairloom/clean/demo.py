"""The demo: the whole main job on a drawn world whose truth is known, offline, in minutes.

Does not know: anything that `clean` does; it plants, runs the job, and compares with the truth.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pairloom.clean.plan import CleanSettings
from pairloom.clean.result import CleanResult
from pairloom.clean.run import Tell, clean, silent
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
    """Draw `pairs` pairs, 30 % of them with bad texts of seven kinds, and clean them: out/raw -> out/clean.

    A held-out set without noise (out/test) serves the proof. Going on after a kill works as in `clean`.
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
    """Mistake where a folder is not this world: its truth would be that of another one."""
    try:
        truth = drawn.with_name(f"{drawn.name}.truth.jsonl").read_text("utf-8", "replace")
    except OSError:
        truth = ""
    if truth.count("\n") != world.count or not truth.startswith(truth_line(world.row(0))):
        raise Mistake(
            f"{drawn} was not drawn with these numbers.",
            "The demo draws its own sets, by --pairs and --seed, and never over what is there.",
            "Name another --out, or give the same numbers to go on.",
        )
