"""Ask a model a task that it never learned, told by a few examples in the prompt; JSON lines, going on where it was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pairloom.cli._lines import Pictures


def command(
    pictures: Pictures,
    model: Annotated[Path, typer.Option(help="A Flamingo.")],
    examples: Annotated[
        Path, typer.Option(help="A set of pairs: the pictures and answers that prompts are made of.")
    ],
    shots: Annotated[int, typer.Option(help="Examples in a prompt, 0 to 32; 0: two without pictures.")] = 4,
    template: Annotated[
        str, typer.Option(help="caption, name, question, short, or your own: 'this is a {answer}'.")
    ] = "caption",
    question: Annotated[str, typer.Option(help="What goes in for {question}.")] = "",
    choices: Annotated[
        str, typer.Option(help="Closed answers: a file with one a line, or answers with commas between.")
    ] = "",
    draw: Annotated[
        bool, typer.Option("--draw", help="Draw the examples; without it, those that look most alike.")
    ] = False,
    orders: Annotated[int, typer.Option(help="Orders of the examples that choices are averaged over.")] = 1,
    beams: Annotated[int, typer.Option(help="Width of the beam for open answers.")] = 3,
    max_length: Annotated[int, typer.Option(help="Most tokens of an open answer.")] = 20,
    out: Annotated[Path | None, typer.Option(help="A .jsonl file; standard output without it.")] = None,
    seed: Annotated[int, typer.Option(help="Of drawn examples and of orders.")] = 0,
    restart: Annotated[bool, typer.Option("--restart", help="Replace an earlier --out.")] = False,
) -> None:
    import pairloom
    from pairloom.cli._asked import texts_of
    from pairloom.cli._lines import answer_all
    from pairloom.data.batch import Batch
    from pairloom.errors import Mistake
    from pairloom.tasks.decode import Writing
    from pairloom.tasks.few_shot import TEMPLATES, Asking, Shot, few_shot
    from pairloom.verbs import demand

    asked = pairloom.load(model).eval()
    demand(asked.system, "prompt")
    try:
        asking = Asking(TEMPLATES.get(template, template), shots, not draw, orders, seed)
        writing = Writing("beam", beams, max_length, 0)
    except ValueError as error:
        raise Mistake("These options do not fit.", str(error)) from error
    if "{question}" in asking.template and not question:
        raise Mistake("The template asks a question.", f"'{asking.template}'", "Give it by --question.")
    support, pixels = _examples(asked, examples, question)
    closed, known = texts_of(choices, "choices") if choices else [], _looked(asked, pixels).encoded

    def answer(images: list[Any], keys: list[str]) -> list[dict[str, Any]]:
        looked = known.beside(_looked(asked, images).encoded)
        queries = [Shot(len(support) + row, question=question) for row in range(len(images))]
        found = few_shot(
            asked.system, asked.tokens, Batch(encoded=looked), support, queries, asking, writing, closed
        )
        return [
            {"answer": one.text, "log_probability": one.log_probability, "examples": [support[at].answer for at in one.shots]}
            for one in found
        ]  # fmt: skip

    about = {
        "model": model,
        "examples": examples,
        **vars(asking),
        "question": question,
        "choices": choices,
        **vars(writing),
    }
    answer_all(pictures, out, restart, "prompting", {"answer": ""}, answer, about=about)


def _looked(asked: Any, images: Any) -> Any:
    import torch

    from pairloom.data.batch import Batch

    with torch.no_grad():
        return asked.system.encode_image(Batch(images=asked.pictures(images)[:, None]))


def _examples(asked: Any, where: Path, question: str) -> tuple[list[Any], list[Any]]:
    """The first text of every pair whose picture can be read, and the pictures."""
    from pairloom.data.pixels import Unreadable, open_image
    from pairloom.data.shards import open_set
    from pairloom.errors import Mistake
    from pairloom.tasks.few_shot import Shot

    support: list[Any] = []
    pixels: list[Any] = []
    for pair in open_set(where).pairs():
        if pair.problem or not pair.texts:
            continue
        try:
            pixels.append(open_image(pair.image.read()))
        except (OSError, Unreadable):
            continue
        support.append(Shot(len(support), pair.texts[0].text, question))
    if not support:
        raise Mistake(f"{where} has no examples.", "No pair with a readable picture and a text.", "")
    return support, pixels
