"""Say which of your names fits each picture best, as JSON lines; nobody needs to have trained for the names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pairloom.cli._lines import Pictures
from pairloom.cli._speed import Speed, at_speed


def command(
    pictures: Pictures,
    model: Annotated[Path, typer.Option(help="A model that embeds: CLIP or BLIP.")],
    classes: Annotated[str, typer.Option(help="A file with one name a line, or names with commas between.")],
    out: Annotated[Path | None, typer.Option(help="A .jsonl file; standard output without it.")] = None,
    template: Annotated[
        str, typer.Option(help="photo, name, imagenet (80 prompts), or your own: 'a sketch of a {}.'")
    ] = "photo",
    top: Annotated[int, typer.Option(help="Names for each picture, best first.")] = 5,
    temperature: Annotated[float, typer.Option(help="Of the softmax over cosines.")] = 0.01,
    speed: Speed = "exact",
    restart: Annotated[bool, typer.Option("--restart", help="Replace an earlier --out.")] = False,
) -> None:
    import pairloom
    from pairloom.cli._lines import answer_all
    from pairloom.errors import Mistake
    from pairloom.tasks.classify import class_embeddings, classify, templates
    from pairloom.verbs import demand

    names, prompts = _names(classes), templates(template)
    if top < 1 or temperature <= 0:
        raise Mistake(
            "These options do not fit.", f"top {top} and temperature {temperature} must be above 0."
        )
    asked = pairloom.load(model).eval()
    demand(asked.system, "embed")
    asked = at_speed(asked, speed)
    space = class_embeddings(asked.system, asked.tokens, names, prompts)

    def answer(images: list[Any], keys: list[str]) -> list[dict[str, Any]]:
        cosines, shares = classify(asked.system, asked.pictures(images), space, temperature)
        best = shares.topk(min(top, len(names)), dim=1).indices.tolist()
        return [
            {
                "classes": [
                    {"name": names[at], "share": float(shares[row, at]), "cosine": float(cosines[row, at])}
                    for at in chosen
                ]
            }
            for row, chosen in enumerate(best)
        ]

    answer_all(
        pictures,
        out,
        restart,
        "classifying",
        {"classes": []},
        answer,
        lambda data: asked.pixels.read(data, scaled=speed == "fast"),
        about={
            "model": model, "classes": ", ".join(names), "template": template, "top": top, "temperature": temperature,
            "speed": speed,
        },
    )  # fmt: skip


def _names(classes: str) -> list[str]:
    """The names, each once. Mistake where there are fewer than two."""
    from pairloom.cli._asked import texts_of
    from pairloom.errors import Mistake

    names = texts_of(classes, "names")
    if len(names) < 2:
        raise Mistake(
            "There is nothing to choose between.", f"{len(names)} name in '{classes}'.", "Give two or more."
        )
    return names
