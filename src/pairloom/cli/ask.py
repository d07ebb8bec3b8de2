"""Ask a question about a picture, a folder of pictures or a set; or all questions of an annotation file.

pairloom ask photo.jpg "How many dogs are there?" --model MODEL

pairloom ask VQA_FOLDER --model MODEL --answers answers.txt: every question of the set, and VQA's accuracy.

Answers come as JSON lines; one question about one picture as a table, or with --json as JSON. Goes on where it was stopped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from pairloom.cli._options import Device, LinesOut, Regions, ReplaceOut


def command(
    pictures: Annotated[Path, Argument(help="A picture, a set, questions, - for names to be read.")],
    question: Annotated[str, Argument(help="What to ask of each picture; left out: the set's own.")] = "",
    *,
    model: Annotated[Path, Option(help="A model that answers questions (blip_vqa, lxmert).")],
    answers: Annotated[
        str, Option(help="To choose from: a file with one a line, or texts with commas.")
    ] = "",
    first: Annotated[
        int, Option(help="Of a list, read only answers with the likeliest beginnings, this many; 0: all.")
    ] = 128,
    several: Annotated[int, Option(help="Answers to each question.")] = 1,
    beams: Annotated[int, Option(help="Width of the beam that writes.")] = 3,
    max_length: Annotated[int, Option(help="Most tokens of a written answer.")] = 10,
    boxes: Annotated[bool, Option("--boxes", help="The regions that are meant, or answer.")] = False,
    out: LinesOut = None,
    regions: Regions = None,
    device: Device = "auto",
    restart: ReplaceOut = False,
    json: Annotated[bool, Option("--json", help="One question, one picture: as JSON.")] = False,
) -> None:
    import pairloom
    from pairloom.api.inputs import listed_texts
    from pairloom.api.lines import is_picture_file
    from pairloom.cli import _show

    choices = listed_texts(answers, "answers") if answers else []
    options: dict[str, Any] = dict(choices=choices, first=first, several=several)
    options |= dict(beams=beams, max_length=max_length)
    loaded = pairloom.load(model, device, regions=regions)
    if boxes:
        best = loaded.boxes(pictures, question)
        listed = {"boxes": [vars(one) for one in best]}
        _show.facts(question, listed if json else {str(one): one.score for one in best}, json)
    elif question and out is None and is_picture_file(pictures):
        results = loaded.answer(pictures, question, **options)
        rows = [vars(one) for one in (results if several > 1 else [results])]
        facts = {"picture": str(pictures), "question": question, "answers": rows}
        _show.facts(question, facts if json else {one["text"]: one["score"] for one in rows}, json)
    else:
        lines = loaded.lines("answer", pictures, out, restart=restart, question=question, **options)
        _show.write_lines(lines)
