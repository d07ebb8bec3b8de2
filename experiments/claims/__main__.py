"""Test a paper's own claims on the drawn world: each with its interval, and whether it holds, fails or is undecided."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    paper: Annotated[str, typer.Argument(help="Whose claims: blip, diffusion, writers ...")],
    settings: Annotated[
        list[str] | None, typer.Argument(help="key=value over the setting: steps=500 pairs=1000.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Results of each condition; a run found there goes on.")] = Path(
        "claims"
    ),
    seeds: Annotated[int, typer.Option(help="Number of seeds; three or more for a verdict.")] = 3,
    steps: Annotated[
        int, typer.Option(help="Training steps of each model; 0: as in the setting.", min=0)
    ] = 0,
    only: Annotated[str, typer.Option(help="One claim by name.")] = "",
    workers: Annotated[int, typer.Option(help="Processes; 0: one for each core.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    from pairloom import registry
    from pairloom.cli import _show
    from pairloom.config import override
    from pairloom.errors import Mistake, nearest
    from pairloom.scale import worker_count

    module = registry.find("claims", paper, "experiments")
    names = [claim.name for claim in module.CLAIMS]
    if only and only not in names:
        raise Mistake(f"{paper} has no claim '{only}'.", "", nearest(only, names))
    if seeds < 1:
        raise Mistake("There is nothing to run.", f"--seeds is {seeds}.", "Give --seeds 3.")
    setting = override(module.Setting(), [*(settings or []), *([f"steps={steps}"] if steps else [])])
    with _show.steps(quiet=json) as tell:
        rows = module.run(
            out / paper,
            setting,
            range(seeds),
            [only] if only else names,
            worker_count(workers, 3 * seeds),
            tell,
        )
    if json:
        _show.say_json(rows)
        return
    columns = ["claim", "new", "old", "measure", "new is", "old is", "difference [95 %]", "paper", "verdict"]
    _show.table(f"Claims of {paper}, {seeds} seeds", columns, [
        [
            row["claim"], row["new"], row["old"], row["measure"], f"{row['new_mean']:.3f}", f"{row['old_mean']:.3f}",
            f"{row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]", row["paper"], row["verdict"],
        ]
        for row in rows
    ])  # fmt: skip


def main() -> None:
    """`python -m experiments.claims PAPER`, run from the repository's root."""
    from pairloom.cli import run

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(help=__doc__, no_args_is_help=True)(command)
    run(lambda: app)


if __name__ == "__main__":
    main()
