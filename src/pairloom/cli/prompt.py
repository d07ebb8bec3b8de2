"""Ask a model a task that it never learned, told by a few examples in the prompt; JSON lines, going on where it was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from pairloom.cli._options import Device, LinesOut, Pictures, ReplaceOut


def command(
    pictures: Pictures,
    model: Annotated[Path, Option(help="A Flamingo.")],
    examples: Annotated[Path, Option(help="A set of pairs: pictures and answers that prompts are made of.")],
    shots: Annotated[int, Option(help="Examples in a prompt, 0 to 32; 0: two without pictures.")] = 4,
    template: Annotated[
        str, Option(help="caption, name, question, short, or your own: 'this is a {answer}'.")
    ] = "caption",
    question: Annotated[str, Option(help="What goes in for {question}.")] = "",
    choices: Annotated[
        str, Option(help="Closed answers: a file with one a line, or answers with commas between.")
    ] = "",
    draw: Annotated[
        bool, Option("--draw", help="Draw the examples; without it, those that look most alike.")
    ] = False,
    orders: Annotated[int, Option(help="Orders of the examples that choices are averaged over.")] = 1,
    beams: Annotated[int, Option(help="Width of the beam for open answers.")] = 3,
    max_length: Annotated[int, Option(help="Most tokens of an open answer.")] = 20,
    out: LinesOut = None,
    seed: Annotated[int, Option(help="Of drawn examples and of orders.")] = 0,
    device: Device = "auto",
    restart: ReplaceOut = False,
) -> None:
    import pairloom
    from pairloom.api.inputs import listed_texts
    from pairloom.cli import _show

    closed = listed_texts(choices, "choices") if choices else []
    lines = pairloom.load(model, device).lines(
        "prompt", pictures, out, restart=restart, examples=examples, question=question, template=template, shots=shots,
        alike=not draw, orders=orders, beams=beams, max_length=max_length, choices=closed, seed=seed,
    )  # fmt: skip
    _show.write_lines(lines)
