"""Show which parts of a picture made each word of a text, or made the two belong together, and whether that is so.

Without a text the model writes one and explains its own words. The map is then tested on the model itself: its first
cells are painted over, and the score should fall further than when other cells are. Regions: the boxes of a text or answer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from pairloom.cli._options import Device, Json, Regions, ReplaceOut


def command(
    picture: Annotated[Path, Argument(help="A picture.")],
    text: Annotated[str, Argument(help="A text; without it the model writes one.")] = "",
    *,
    model: Annotated[Path, Option(help="A model that writes or judges.")],
    out: Annotated[Path | None, Option(help="A .png or .html for the figure: one panel a word.")] = None,
    way: Annotated[str, Option(help="attention, gradient or occlusion; else the best that it can.")] = "",
    by: Annotated[str, Option(help="The score to explain: match, cosine or likelihood.")] = "",
    checks: Annotated[int, Option(help="Random choices of cells to compare with; 0: no test.")] = 20,
    seed: Annotated[int, Option(help="Of the random cells.")] = 0,
    regions: Regions = None,
    device: Device = "auto",
    restart: ReplaceOut = False,
    json: Json = False,
) -> None:
    import pairloom
    from pairloom.api.explanation import demand_figure
    from pairloom.cli import _show

    if out is not None:
        demand_figure(out, restart, picture)
    loaded = pairloom.load(model, device, regions=regions)
    explanation = loaded.explain(picture, text, way=way, by=by, checks=checks, seed=seed)
    if out is not None:
        explanation.save(out, restart)
    if json:
        _show.say_json({**explanation.to_dict(), "figure": str(out or "")})
        return
    _show.out.print(f"{explanation.text}\n{explanation.note}", markup=False)
    if explanation.faithfulness:
        _show.table(
            f"{explanation.by} without some {explanation.parts}", explanation.columns, explanation.rows
        )
    if out is not None:
        _show.out.print(f"figure: {out}", markup=False)
