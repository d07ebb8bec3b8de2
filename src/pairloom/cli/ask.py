"""Ask a question about a picture, a folder of pictures or a set; or all questions of an annotation file.

pairloom ask photo.jpg "How many dogs are there?" --model MODEL

pairloom ask VQA_FOLDER --model MODEL --answers answers.txt: every question of the set, and VQA's accuracy.

Answers come as JSON lines; one question about one picture as a table, or with --json as JSON. Goes on where it was stopped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def command(
    pictures: Annotated[
        Path,
        typer.Argument(
            help="A picture, any set that pairloom reads, - for file names from standard input, or a set of questions."
        ),
    ],
    question: Annotated[
        str, typer.Argument(help="What to ask of each picture; left out: the set's own.")
    ] = "",
    *,
    model: Annotated[Path, typer.Option(help="A model that answers questions (blip_vqa).")],
    answers: Annotated[
        str,
        typer.Option(help="Choose from these: a file with one a line, or texts with commas. Else: write."),
    ] = "",
    first: Annotated[
        int,
        typer.Option(help="Of a list, read only answers with the likeliest beginnings, this many; 0: all."),
    ] = 128,
    several: Annotated[int, typer.Option(help="Answers to each question.")] = 1,
    beams: Annotated[int, typer.Option(help="Width of the beam that writes.")] = 3,
    max_length: Annotated[int, typer.Option(help="Most tokens of a written answer.")] = 10,
    out: Annotated[Path | None, typer.Option(help="A .jsonl file; standard output without it.")] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Replace an earlier --out.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One question, one picture: as JSON.")] = False,
) -> None:
    from pairloom.cli import _asked, _lines
    from pairloom.errors import Mistake
    from pairloom.tasks import answer as asking
    from pairloom.tasks.decode import Writing

    listed = _asked.texts_of(answers, "answers") if answers else []
    asked = _asked.model_for("answer", model)
    choices = asking.Choices(asked.tokens, listed, asked.config.answer_length) if listed else None
    if max_length < 2:
        raise Mistake(
            f"--max-length {max_length} leaves nothing to write.", "The first token counts.", "Give 10."
        )
    try:
        writing = Writing("beam", max(beams, several), max_length, 1, several=several)
    except ValueError as error:
        raise Mistake("These options do not fit.", str(error)) from error
    if question:
        asking.demand_short("question", asking.plain(question), asked.tokens, asked.config.length)

    def said(images: list[Any], questions: list[str], of: list[int]) -> list[dict[str, Any]]:
        batch = asking.questions_batch(asked.pictures(images), questions, asked.tokens, asked.config, of)
        if choices is not None:
            found = asking.choose(asked.system, batch, choices, several, first)
        else:
            found = asking.answer(asked.system, asked.tokens, batch, writing)
        return [{"answers": [vars(one) for one in row]} for row in found]

    about = {
        "model": model,
        "question": question,
        "answers": ", ".join(listed),
        "first": first,
        **vars(writing),
    }
    if not question:
        _whole(pictures, out, restart, said, about)
    elif pictures.is_file() and pictures.suffix.lower() in _lines.PICTURES and out is None:
        row = said([_asked.read_picture(pictures)], [question], [0])[0]["answers"]
        facts = {"picture": str(pictures), "question": question, "answers": row}
        _asked.tell(question, facts if json else {one["text"]: one["score"] for one in row}, json)
    else:
        empty = {"question": question, "answers": []}
        _lines.answer_all(
            pictures, out, restart, "asking", empty,
            lambda images, _: [
                {"question": question, **row} for row in said(images, [question] * len(images), [*range(len(images))])
            ],
            about=about,
        )  # fmt: skip


def _whole(path: Path, out: Path | None, restart: bool, said: Any, about: dict[str, Any]) -> None:
    """Every question of a set; VQA's accuracy where several people answered, exact matches where one did."""
    from pairloom.cli import _asked
    from pairloom.metrics.answers import means, plain, vqa_accuracy

    def answer(examples: list[Any], images: list[list[Any]]) -> list[dict[str, Any]]:
        keys = list(dict.fromkeys(example.image_keys[0] for example in examples))  # each picture is seen once
        shown = {example.image_keys[0]: image[0] for example, image in zip(examples, images)}
        of = [keys.index(example.image_keys[0]) for example in examples]
        found = said([shown[key] for key in keys], [example.question for example in examples], of)
        return [_row(example, row) for example, row in zip(examples, found)]

    def _row(example: Any, row: dict[str, Any]) -> dict[str, Any]:
        told = {"question": example.question, **row}
        text = row["answers"][0]["text"]
        if len(example.answers) == 1:  # nobody is left once he is left out
            told["exact"] = float(plain(text) == plain(example.answers[0]))
        elif example.answers:
            told["accuracy"] = vqa_accuracy(text, example.answers)
        return told

    lines = _asked.answer_examples(
        path, "questions", out, restart, "asking", {"question": "", "answers": []}, answer, about
    )
    known: list[dict[str, float]] = [
        {name: line[name] for name in ("accuracy", "exact") if name in line} for line in lines
    ]
    bad = sum("problem" in line for line in lines)
    _asked.told_apart({"questions": len(lines), **({"bad": bad} if bad else {}), **means(known)})
