"""Say whether a statement about pictures is true; or all statements of an annotation file.

pairloom reason left.jpg right.jpg "Both pictures show a dog." --model MODEL

pairloom reason NLVR2_FOLDER --model MODEL: every statement of the set, accuracy and consistency.

Verdicts on a set come as JSON lines. Goes on where it was stopped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from pairloom.cli._options import Device, LinesOut, Regions, ReplaceOut


def command(
    what: Annotated[list[str], Argument(help="Pictures in their order, then a statement; or statements.")],
    model: Annotated[Path, Option(help="A model that judges statements (blip_nlvr).")],
    out: LinesOut = None,
    regions: Regions = None,
    device: Device = "auto",
    restart: ReplaceOut = False,
    json: Annotated[bool, Option("--json", help="One statement: as JSON.")] = False,
) -> None:
    import pairloom
    from pairloom.cli import _show

    loaded = pairloom.load(model, device, regions=regions)
    if len(what) == 1:
        _show.write_lines(loaded.lines("reason", what[0], out, restart=restart))
        return
    *pictures, statement = what
    verdict = vars(loaded.reason(pictures, statement))
    facts = {"pictures": pictures, "statement": statement, **verdict} if json else verdict
    _show.facts(statement, facts, json)
