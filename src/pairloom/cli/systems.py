"""List the systems, their papers and what each can be asked."""

from __future__ import annotations

from pairloom.cli._options import Json

NEEDS = False


def command(json: Json = False) -> None:
    from dataclasses import asdict

    import pairloom
    from pairloom.cli import _show

    rows = pairloom.systems()
    if json:
        _show.say_json([{"system": one.name, **asdict(one), "can": one.can} for one in rows])
        return
    lines = [[one.name, one.paper, one.needs or ", ".join(one.can), ", ".join(one.presets)] for one in rows]
    _show.table("Systems", ["system", "paper", "it can", "presets"], lines)
