"""Say whether a statement about pictures is true; or all statements of an annotation file.

pairloom reason left.jpg right.jpg "Both pictures show a dog." --model MODEL

pairloom reason NLVR2_FOLDER --model MODEL: every statement of the set, accuracy and consistency.

Verdicts on a set come as JSON lines. Goes on where it was stopped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def command(
    what: Annotated[
        list[str], typer.Argument(help="Pictures in their order, then a statement; or a set of statements.")
    ],
    model: Annotated[Path, typer.Option(help="A model that judges statements (blip_nlvr).")],
    out: Annotated[Path | None, typer.Option(help="A .jsonl file; standard output without it.")] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Replace an earlier --out.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One statement: as JSON.")] = False,
) -> None:
    import torch

    from pairloom.cli import _asked
    from pairloom.tasks import reason as reasoning
    from pairloom.tasks.answer import demand_short

    asked = _asked.model_for("reason", model)

    def chances(images: list[list[Any]], statements: list[str]) -> list[float]:
        pixels = torch.stack([asked.pictures(pictures) for pictures in images])
        return [float(one) for one in reasoning.reason(asked.system, asked.tokens, pixels, statements)]

    if len(what) == 1:
        _whole(Path(what[0]), asked.config, out, restart, chances, model)
        return
    *pictures, statement = what
    _demand(len(pictures), asked.config)
    demand_short("statement", reasoning.plain(statement), asked.tokens, asked.config.length)
    chance = chances([[_asked.read_picture(Path(picture)) for picture in pictures]], [statement])[0]
    facts = {"pictures": pictures, "statement": statement, "true": chance > 0.5, "chance": chance}
    _asked.tell(statement, facts if json else {"true": chance > 0.5, "chance": chance}, json)


def _demand(there: int, config: Any) -> None:
    from pairloom.errors import Mistake

    if there != config.pictures:
        raise Mistake(
            f"A statement comes with {config.pictures} picture{'s' * (config.pictures != 1)} here, not with {there}.",
            "Each picture of a statement has a cross-attention of its own.",
            "Give them in their order, then the statement in quotes.",
        )


def _whole(path: Path, config: Any, out: Path | None, restart: bool, chances: Any, model: Path) -> None:
    """Every statement of a set; accuracy and consistency where the truth is known."""
    from pairloom.cli import _asked
    from pairloom.data.lessons.statements import demand_pictures
    from pairloom.tasks.reason import verdicts

    def answer(examples: list[Any], images: list[list[Any]]) -> list[dict[str, Any]]:
        for row in images:
            demand_pictures(len(row), config)
        found = chances(images, [example.text for example in examples])
        return [_row(example, chance) for example, chance in zip(examples, found)]

    def _row(example: Any, chance: float) -> dict[str, Any]:
        known = {} if example.true is None else {"label": example.true, "group": example.group}
        return {"statement": example.text, "true": chance > 0.5, "chance": chance, **known}

    empty = {"statement": "", "true": None, "chance": None}
    lines = _asked.answer_examples(
        path, "statements", out, restart, "reasoning", empty, answer, {"model": model}
    )
    known = [line for line in lines if "label" in line]
    bad = sum("problem" in line for line in lines)
    facts: dict[str, Any] = {"statements": len(lines), **({"bad": bad} if bad else {})}
    if known:
        columns = [[line[name] for line in known] for name in ("chance", "label", "group")]
        facts |= verdicts(columns[0], columns[1], columns[2])
    _asked.told_apart(facts)
