"""What can be asked of every picture of a source, or of every example of a set: see `lines.LineTask`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from pairloom import verbs
from pairloom.api.inputs import distinct
from pairloom.api.lines import Line, LineTask, Reader, decoded
from pairloom.api.pairs import example_pairs
from pairloom.data.datasets.statements import demand_pictures
from pairloom.data.datasets.statements import plain as plain_statement
from pairloom.data.pair import seed_of
from pairloom.data.transform import Transform
from pairloom.errors import Mistake, nearest
from pairloom.metrics.answers import means, plain, vqa_accuracy
from pairloom.model import Model
from pairloom.model.fingerprint import fingerprint
from pairloom.model.pictures import demand_source, look
from pairloom.runtime.speeds import SCALED, described_speed, speed_of
from pairloom.tasks import answer as answering
from pairloom.tasks import dialog as talking
from pairloom.tasks import few_shot
from pairloom.tasks.caption import Captioning, caption
from pairloom.tasks.classify import Classifier, Classifying
from pairloom.tasks.reason import reason, verdicts

ROUNDS = ("MRR", "R@1", "R@5", "R@10", "mean rank", "NDCG")  # what a round of a dialog is worth


def captions(model: Model, where: str, seed: int = 0, **options: Any) -> LineTask:
    """Captions of every picture."""
    verbs.demand(model.system, "caption")
    chosen = Captioning.checked(model, **options)

    def write(images: list[Any], keys: list[str]) -> list[Line]:
        seeds = [seed_of(key, "caption", seed) for key in keys]
        rows = caption(model, images, chosen, seeds)
        return [
            {
                "captions": [
                    {name: vars(one)[name] for name in ("text", "log_probability", "per_token")}
                    for one in row
                ]
            }
            for row in rows
        ]

    about = {"model": where, **vars(chosen), "seed": seed, "speed": described_speed(model.system)}
    return LineTask("captioning", {"captions": []}, about, write, read=_reader(model))


def labels(model: Model, where: str, classes: Sequence[str], **options: Any) -> LineTask:
    """The classes of every picture, best first."""
    verbs.demand(model.system, "embed")
    chosen, names = Classifying(**options), distinct(classes)
    classifier = Classifier(model, names, chosen)

    def label(images: list[Any], keys: list[str]) -> list[Line]:
        return [{"classes": [vars(one) for one in row]} for row in classifier.labels(images)]

    about = {
        "model": where,
        "classes": ", ".join(names),
        **vars(chosen),
        "speed": described_speed(model.system),
    }
    return LineTask("classifying", {"classes": []}, about, label, read=_reader(model), cut=classifier.cut)


def answers(model: Model, where: str, question: str = "", **options: Any) -> LineTask:
    """One question about every picture; without a question, every question of a set and VQA's accuracy."""
    verbs.demand(model.system, "choose" if verbs.able(model.system, "choose") else "answer")
    chosen = answering.Answering.checked(model, **options)
    listed = chosen.choices.texts if chosen.choices else []
    about = {
        "model": where, "question": question, "answers": ", ".join(listed), "first": chosen.first, **vars(chosen.writing),
    }  # fmt: skip
    empty = {"question": question, "answers": []}

    def rows(images: list[Any], questions: list[str], of: list[int]) -> list[Line]:
        results = answering.answer(model, images, questions, chosen, of)
        return [
            {"question": text, "answers": [vars(one) for one in row], **_cut(model, plain(text))}
            for text, row in zip(questions, results)
        ]

    def of_pictures(images: list[Any], keys: list[str]) -> list[Line]:
        return rows(images, [question] * len(images), list(range(len(images))))

    def of_questions(examples: list[Any], images: list[list[Any]]) -> list[Line]:
        keys = list(
            dict.fromkeys(example.image_keys[0] for example in examples)
        )  # each picture is encoded once
        shown = {example.image_keys[0]: image[0] for example, image in zip(examples, images)}
        of = [keys.index(example.image_keys[0]) for example in examples]
        results = rows([shown[key] for key in keys], [example.question for example in examples], of)
        return [
            {**row, **_right(example, row["answers"][0]["text"])} for example, row in zip(examples, results)
        ]

    if question:
        answering.demand_short("question", answering.plain(question), model.tokens, model.config.length)
        return LineTask("asking", empty, about, of_pictures, read=_reader(model))
    return LineTask("asking", empty, about, of_questions, "questions", _example_reader(model), _accuracy)


def _right(example: Any, text: str) -> dict[str, float]:
    """VQA's accuracy where several people answered, an exact match where one did."""
    if len(example.answers) == 1:  # nobody is left once he is left out
        return {"exact": float(plain(text) == plain(example.answers[0]))}
    return {"accuracy": vqa_accuracy(text, example.answers)} if example.answers else {}


def _accuracy(lines: list[Line]) -> Line:
    known: list[dict[str, float]] = [
        {name: line[name] for name in ("accuracy", "exact") if name in line} for line in lines
    ]
    return {**means(known), **_were_cut(lines, "questions")}


def _were_cut(lines: list[Line], what: str) -> Line:
    """How many of a set's texts were cut, where any was."""
    count = sum("cut" in line for line in lines)
    return {f"{what} that were cut": count} if count else {}


def statements(model: Model, where: str) -> LineTask:
    """Every statement of a set: true or not, accuracy and consistency where the truth is known."""
    verbs.demand(model.system, "reason")

    def judge(examples: list[Any], images: list[list[Any]]) -> list[Line]:
        for row in images:
            demand_pictures(len(row), model.config)
        results = reason(model, images, [example.text for example in examples])
        return [
            {
                "statement": example.text,
                **vars(one),
                **_truth(example),
                **_cut(model, plain_statement(example.text)),
            }
            for example, one in zip(examples, results)
        ]

    empty = {"statement": "", "true": None, "chance": None}
    return LineTask(
        "reasoning", empty, {"model": where}, judge, "statements", _example_reader(model), _verdicts
    )


def _cut(model: Model, text: str) -> Line:
    """{"cut": True} for a text of which the model reads only the beginning."""
    return {"cut": True} if model.tokens.too_long(text, model.config.length) else {}


def _truth(example: Any) -> Line:
    return {} if example.true is None else {"label": example.true, "group": example.group}


def _verdicts(lines: list[Line]) -> Line:
    known = [line for line in lines if "label" in line]
    lengths = _were_cut(lines, "statements")
    if not known:
        return lengths
    columns = [[line[name] for line in known] for name in ("chance", "label", "group")]
    return {**verdicts(columns[0], columns[1], columns[2]), **lengths}


def dialogs(model: Model, where: str) -> LineTask:
    """Every round of a set of dialogs, after its true history."""
    verbs.demand(model.system, "dialog")

    def follow(examples: list[Any], images: list[list[Any]]) -> list[Line]:
        return [{"rounds": list(_rounds(model, one, row[0]))} for one, row in zip(examples, images)]

    return LineTask("following", {"rounds": []}, {"model": where}, follow, "dialogs", totals=_worth)


def _rounds(model: Model, example: Any, image: Any) -> Any:
    encoded = talking.encode(model, image, example.caption)
    for at, turn in enumerate(example.rounds):
        if turn.choices:
            before = example.rounds[:at]
            scores = talking.rank_answers(model, encoded, before, turn.question, turn.choices).tolist()
            best = turn.choices[max(range(len(scores)), key=scores.__getitem__)]
            worth = talking.worth(scores, turn.right, turn.relevance)
            yield {"question": turn.question, "answer": best, "scores": scores, **worth}


def _worth(lines: list[Line]) -> Line:
    rounds = [turn for line in lines for turn in line["rounds"]]
    numbers = means([{name: turn[name] for name in ROUNDS if name in turn} for turn in rounds])
    return {"rounds": len(rounds), **numbers}


def prompts(
    model: Model, where: str, examples: Any, question: str = "", template: str = "caption", **options: Any
) -> LineTask:
    """An answer about every picture by examples in the prompt."""
    verbs.demand(model.system, "prompt")
    chosen = few_shot.Prompting.checked(template, **options)
    few_shot.demand_question(chosen, question)
    images, texts = example_pairs(examples)
    prompter = few_shot.Prompter(model, images, texts, chosen, question)

    def answer(images: list[Any], keys: list[str]) -> list[Line]:
        return [
            {
                "answer": one.text,
                "log_probability": one.log_probability,
                "examples": [texts[at] for at in one.shots],
            }
            for one in prompter.answer(images)
        ]

    about = {
        "model": where,
        "examples": getattr(examples, "path", examples),
        **vars(chosen),
        "question": question,
    }
    return LineTask("prompting", {"answer": ""}, about, answer)


TASKS: dict[str, Callable[..., LineTask]] = {
    "caption": captions, "classify": labels, "answer": answers, "reason": statements, "dialog": dialogs,
    "prompt": prompts,
}  # fmt: skip


def line_task(model: Model, method: str, where: str, **options: Any) -> LineTask:
    """The task of a Model's method by its name. Mistake for another."""
    if method not in TASKS:
        raise Mistake(f"There is no '{method}' over a whole source.", "", nearest(method, TASKS))
    return TASKS[method](model, f"{where} (weights {fingerprint(model)[:12]})", **options)


def _reader(model: Model) -> Reader:
    """Picture -> as the model sees it; where its speed allows, a JPEG is decoded at a fraction of its size."""
    return partial(look, model, scaled=speed_of(model.system) in SCALED)


def _example_reader(model: Model) -> Reader:
    """Picture of an example -> upright pixels, or its regions where the model reads those. Mistake where it has none to read from."""
    if isinstance(model.feed, Transform):
        return decoded
    demand_source(model)
    return partial(look, model)
