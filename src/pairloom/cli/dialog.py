"""Rank the candidate answers to a question about a picture, after all that was said; or every round of a set of dialogs.

pairloom dialog photo.jpg "Is it big?" --candidates "yes,no,I cannot tell" --caption "a dog in a park"
--history "What colour is the dog? brown" --model MODEL

pairloom dialog VISDIAL_FOLDER --model MODEL: every round of the set; MRR, R@1, R@5, R@10, mean rank, NDCG.

A set's answers come as JSON lines, one a dialog. Goes on where it was stopped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def command(
    pictures: Annotated[Path, typer.Argument(help="A picture, or a set of dialogs.")],
    question: Annotated[str, typer.Argument(help="What is asked now.")] = "",
    *,
    model: Annotated[Path, typer.Option(help="A model that follows dialogs (blip_visdial).")],
    candidates: Annotated[
        str, typer.Option(help="A file with one answer a line, or answers with commas.")
    ] = "",
    caption: Annotated[str, typer.Option(help="What was said of the picture first.")] = "",
    history: Annotated[
        list[str] | None, typer.Option(help='An earlier round, "question? answer"; once for each, in order.')
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A .jsonl file; standard output without it.")] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Replace an earlier --out.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One question: as JSON.")] = False,
) -> None:
    from pairloom.cli import _asked, _show
    from pairloom.tasks import dialog as talking

    if not question:
        _whole(pictures, out, restart, _asked.model_for("dialog", model), model)
        return
    listed = _asked.texts_of(candidates, "candidates")
    said = [_round(one) for one in history or ()]
    asked = _asked.model_for("dialog", model)
    image = asked.pictures([_asked.read_picture(pictures)])[0]
    seen = talking.encode_image(asked.system, asked.tokens, image, caption)
    scores = talking.rank_answers(asked.system, asked.tokens, seen, said, question, listed).tolist()
    cut = talking.shortened(asked.tokens, said, question, asked.config.length)
    if cut:
        _show.console.print(
            f"The dialog is longer than {asked.config.length} tokens: its oldest words were left out."
        )
    rows = sorted(zip(listed, scores), key=lambda row: -row[1])
    facts = {"picture": str(pictures), "question": question, "shortened": cut, "answers": [
        {"text": text, "score": score} for text, score in rows
    ]}  # fmt: skip
    _asked.tell(question, facts if json else dict(rows), json)


def _round(said: str) -> Any:
    from pairloom.data.pair import Round
    from pairloom.errors import Mistake

    question, mark, answer = said.partition("?")
    if not mark or not question.strip() or not answer.strip():
        raise Mistake(
            f"'{said}' is not a round.", 'A round is "question? answer".', 'Write --history "Is it big? yes".'
        )
    return Round(f"{question.strip()}?", answer.strip())


def _whole(path: Path, out: Path | None, restart: bool, asked: Any, model: Path) -> None:
    """Every round of a set, after its true history."""
    from pairloom.cli import _asked
    from pairloom.metrics.answers import means
    from pairloom.tasks import dialog as talking

    def answer(examples: list[Any], images: list[list[Any]]) -> list[dict[str, Any]]:
        return [_dialog(example, asked.pictures(row)[0]) for example, row in zip(examples, images)]

    def _dialog(example: Any, image: Any) -> dict[str, Any]:
        seen = talking.encode_image(asked.system, asked.tokens, image, example.caption)
        rounds = []
        for at, turn in enumerate(example.rounds):
            if not turn.choices:
                continue
            before = example.rounds[:at]
            scores = talking.rank_answers(
                asked.system, asked.tokens, seen, before, turn.question, turn.choices
            ).tolist()
            best = turn.choices[max(range(len(scores)), key=scores.__getitem__)]
            worth = talking.worth(scores, turn.right, turn.relevance)
            rounds.append({"question": turn.question, "answer": best, "scores": scores, **worth})
        return {"rounds": rounds}

    lines = _asked.answer_examples(
        path, "dialogs", out, restart, "following", {"rounds": []}, answer, {"model": model}
    )
    rounds = [turn for line in lines for turn in line["rounds"]]
    names = ("MRR", "R@1", "R@5", "R@10", "mean rank", "NDCG")
    numbers = means([{name: turn[name] for name in names if name in turn} for turn in rounds])
    bad = sum("problem" in line for line in lines)
    _asked.told_apart(
        {"dialogs": len(lines), **({"bad": bad} if bad else {}), "rounds": len(rounds), **numbers}
    )
