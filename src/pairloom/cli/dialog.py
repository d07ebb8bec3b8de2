"""Rank the candidate answers to a question about a picture, after all that was said; or every round of a set of dialogs.

pairloom dialog photo.jpg "Is it big?" --candidates "yes,no,I cannot tell" --caption "a dog in a park"
--history "What colour is the dog? brown" --model MODEL

pairloom dialog VISDIAL_FOLDER --model MODEL: every round of the set; MRR, R@1, R@5, R@10, mean rank, NDCG.

A set's answers come as JSON lines, one a dialog. Goes on where it was stopped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from pairloom.cli._options import Device, LinesOut, ReplaceOut


def command(
    pictures: Annotated[Path, Argument(help="A picture, or a set of dialogs.")],
    question: Annotated[str, Argument(help="What is asked now.")] = "",
    *,
    model: Annotated[Path, Option(help="A model that follows dialogs (blip_visdial).")],
    candidates: Annotated[str, Option(help="A file with one answer a line, or answers with commas.")] = "",
    caption: Annotated[str, Option(help="What was said of the picture first.")] = "",
    history: Annotated[
        list[str] | None, Option(help='An earlier round, "question? answer"; once for each, in order.')
    ] = None,
    out: LinesOut = None,
    device: Device = "auto",
    restart: ReplaceOut = False,
    json: Annotated[bool, Option("--json", help="One question: as JSON.")] = False,
) -> None:
    import pairloom
    from pairloom.api.inputs import dialog_round, listed_texts
    from pairloom.cli import _show

    if not question:
        _show.write_lines(pairloom.load(model, device).lines("dialog", pictures, out, restart=restart))
        return
    listed, rounds = listed_texts(candidates, "candidates"), [dialog_round(one) for one in history or ()]
    loaded = pairloom.load(model, device)
    ranking = loaded.dialog(pictures, question, listed, caption=caption, history=rounds)
    _show.note(ranking.note(loaded))
    facts = {"picture": str(pictures), "question": question, **ranking.to_dict()}
    _show.facts(question, facts if json else dict(zip(ranking.texts, ranking.scores)), json)
