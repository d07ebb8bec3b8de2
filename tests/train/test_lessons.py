"""Training on more than pairs: questions, statements and dialogs become models by the same command."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
import typer
from typer.testing import CliRunner

import pairloom
from pairloom import registry
from pairloom.cli import train as command
from pairloom.data.order import Plan
from pairloom.data.tokens import Tokens
from pairloom.data.transform import Transform
from pairloom.errors import Mistake
from pairloom.world import World
from pairloom.world.asked import write_examples

KINDS = {"questions": "blip_vqa", "statements": "blip_nlvr", "dialogs": "blip_visdial"}
FAST = ["batch=8", "steps=4", "lr=1e-3", "save_every=2", "log_every=1"]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("asked")
    for kind in KINDS:
        write_examples(World(16, seed=3, level="simple", size=32), root / kind, kind)
    return root


def train(system: str, data: Path, out: Path, *words: str) -> dict[str, Any]:
    told = [system, "--data", str(data), "--out", str(out), "--preset", "tiny", "--held-out", "0.3", "--json"]
    app = typer.Typer()
    app.command()(command.command)
    done = CliRunner().invoke(app, [*told, *FAST, *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    made: dict[str, Any] = json.loads(done.stdout)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_a_set_of_examples_becomes_a_model(kind: str, sets: Path, tmp_path: Path) -> None:
    """And a run cut short ends with the same bytes as one that was not."""
    told = train(KINDS[kind], sets / kind, tmp_path / "one")
    assert told["step"] == 4 and told["held out"] > 1 and math.isfinite(told["held out/loss"])
    assert pairloom.load(tmp_path / "one").name == KINDS[kind]
    assert (0 <= told.get("held out/accuracy", -1) <= 1) == (kind != "questions")
    last = sorted((tmp_path / "one" / "checkpoints").iterdir())[-1]
    before = (tmp_path / "one" / "model.safetensors").read_bytes()
    for file in last.iterdir():
        file.unlink()
    last.rmdir()
    again = train(KINDS[kind], sets / kind, tmp_path / "one", "--workers", "0")
    assert again["resumed"] == 2 and (tmp_path / "one" / "model.safetensors").read_bytes() == before


def loader(kind: str, data: Path, training: bool = True, **config: Any) -> tuple[Any, Tokens, Any]:
    lesson = registry.find("data.datasets", kind).Dataset(data, None)
    tokens = Tokens.train((word for group in lesson.words() for word in group), 400)
    known = dict(length=40, answer_length=8, caption_length=20, pictures=2) | config
    settings = type("Settings", (), known)
    rows = numpy.arange(len(lesson.shows))
    return lesson, tokens, lesson.loader(tokens, settings, Transform(32), rows, training, 0)


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_questions_come_with_every_answer_and_its_weight(tmp_path: Path, sets: Path) -> None:
    (tmp_path / "000000.jpg").write_bytes((sets / "questions" / "000000.jpg").read_bytes())
    asked = [
        {"image": "000000.jpg", "question": "What is it?", "answers": ["cat"] * 6 + ["dog"] * 3 + ["a cat"]},
        {"image": "000000.jpg", "question": "How many?", "answer": "two", "dataset": "vg"},
        {"image": "000000.jpg", "question": "Nobody knows?", "answers": []},
        {"image": "gone.jpg", "question": "Where?", "answers": ["here"]},
    ]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    lesson, tokens, made = loader("questions", tmp_path)
    assert lesson.index.skipped == {"no answers": 1, "no image": 1} and len(lesson.index) == 1
    batch = next(made.read(Plan(2), 0))[0]
    found = {}
    for answer, weight, owner in zip(batch.texts.ids, batch.weights.tolist(), batch.image_of.tolist()):
        found[tokens.decode(batch.question.texts.ids[owner]), tokens.decode(answer)] = round(weight, 6)
    assert found == {
        ("what is it?", "cat"): 0.6, ("what is it?", "dog"): 0.3, ("what is it?", "a cat"): 0.1,
        ("how many?", "two"): 0.2,
    }  # fmt: skip
    assert batch.images.shape == (2, 1, 3, 32, 32) and torch.equal(batch.image_ids, torch.zeros(2).long())


def test_exchanged_pictures_take_their_words_with_them(sets: Path) -> None:
    """In training half of the statements come with left and right exchanged in picture and word; else none."""
    module = registry.find("data.datasets", "statements")
    for training in (True, False):
        lesson, tokens, made = loader("statements", sets / "statements", training)
        pixels = {}
        for number in range(len(lesson.index)):
            pixels[number] = made.columns[0].pictures.look(
                numpy.array([number]), torch.rand(1, 4), torch.zeros(1).bool()
            )[0][0]
        turned = 0
        for part in (part for parts in made.read(Plan(6), 0) for part in parts):
            for row in range(6):
                left, right = (
                    next(n for n, one in pixels.items() if torch.equal(one, part.images[row, k]))
                    for k in (0, 1)
                )
                fits = [
                    m
                    for m, pair in enumerate(lesson.shows.tolist())
                    if pair in ([left, right], [right, left])
                ]
                said = tokens.decode(part.texts.ids[row])
                exchanged = [left, right] != lesson.shows[fits[0]].tolist()
                texts = [(module.plain(lesson.examples[m].text), lesson.examples[m].true) for m in fits]
                texts = [(module.mirrored(text) if exchanged else text, true) for text, true in texts]
                spelt = [(tokens.decode(tokens.rows([text], 40)[0]), true) for text, true in texts]
                assert (said, bool(part.labels[row])) in spelt
                turned += exchanged
        assert (turned > 5) == training and (turned > 0) == training


def test_a_round_comes_with_a_right_and_a_wrong_answer(sets: Path) -> None:
    lesson, tokens, made = loader("dialogs", sets / "dialogs")
    right, wrong = set(), set()
    for epoch in range(3):
        for part in (part for parts in made.read(Plan(8), epoch) for part in parts):
            assert part.texts.ids.shape[0] == 16 and part.labels.tolist() == [1] * 8 + [0] * 8
            for row, said in enumerate(part.texts.ids.tolist()):
                (right if row < 8 else wrong).add(tuple(one for one in said if one != tokens.pad))
    expected: dict[bool, set] = {True: set(), False: set()}
    module = registry.find("data.datasets", "dialogs")
    for one in lesson.examples:
        for said, turn in zip(module.spoken(tokens, one.rounds), one.rounds):
            for choice in turn.choices:
                ids = tokens.rows([choice], 20)[0][1:-1]
                expected[choice == turn.answer].add(tuple(module.framed(tokens, said, ids, 40)))
    assert right <= expected[True] and wrong <= expected[False]
    assert len(wrong) > len(right) > 30


def test_the_oldest_words_of_a_dialog_go_first() -> None:
    framed = registry.find("data.datasets", "dialogs").framed
    tokens = Tokens.train(["some words"] * 2, 64)
    first, last = tokens.cls, tokens.sep
    assert framed(tokens, [10, 11, 12], [20, 21], 7) == [first, 10, 11, 12, 20, 21, last]
    assert framed(tokens, [10, 11, 12], [20, 21], 5) == [first, 12, 20, 21, last]
    assert framed(tokens, [10, 11, 12], [20, 21, 22, 23], 5) == [first, 20, 21, 22, last]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_learn_what_one_does(kind: str, sets: Path, tmp_path: Path) -> None:
    from test_ranks import MAIN, TORCHRUN, run, same

    words = [
        "train",
        KINDS[kind],
        "--data",
        str(sets / kind),
        "--preset",
        "tiny",
        "--held-out",
        "0.3",
        "--json",
        *FAST,
    ]
    for out, start in (("one", [sys.executable]), ("two", [*TORCHRUN, "--no-python", sys.executable])):
        run([*start, "-c", MAIN, *words, "--out", str(tmp_path / out)])
    same(tmp_path / "one", tmp_path / "two", 1e-5)


def near(one: torch.Tensor, other: torch.Tensor) -> bool:
    return float((one - other).abs().max()) < 1e-6


def test_a_task_begins_with_a_pretrained_blip(sets: Path, tmp_path: Path) -> None:
    """Towers are carried over part by part; what the task adds begins afresh and is told."""
    from pairloom.model import build, save

    words = [row["statement"] for row in rows_of(sets / "statements" / "statements.jsonl")]
    begun = build("blip", Tokens.train(words, 300), "tiny", ["image_size=64", "positions=32"])
    save(begun, tmp_path / "blip")
    theirs = begun.system.state_dict()
    for kind, system in KINDS.items():
        train(
            system,
            sets / kind,
            tmp_path / kind,
            "--init",
            str(tmp_path / "blip"),
            "steps=1",
            "lr=1e-9",
            "min_lr=0",
        )
        model = pairloom.load(tmp_path / kind)
        ours = model.system.state_dict()
        layer = "stack.layers.1."
        assert near(
            ours["image.stack.layers.0.attend.0.fn.key.weight"],
            theirs["towers.image.stack.layers.0.attend.0.fn.key.weight"],
        )
        read, write = (theirs[f"towers.text.{layer}attend.{way}.fn.query.weight"] for way in (0, 1))
        assert not near(read, write)
        text = {"questions": "question.", "statements": "text.", "dialogs": "text."}[kind]
        assert near(ours[f"{text}{layer}attend.0.fn.query.weight"], read)
        if kind == "questions":
            assert near(ours[f"answer.{layer}attend.0.fn.query.weight"], write)
            assert model.about["begun afresh"] == "nothing"
        if kind == "statements":
            for side in (0, 1):
                assert near(
                    ours[f"text.{layer}cross.0.fn.each.{side}.out.weight"],
                    theirs[f"towers.text.{layer}cross.0.fn.out.weight"],
                )
            assert (
                "cross.0.fn.merge.weight" in model.about["begun afresh"]
                and "head.0.weight" in model.about["begun afresh"]
            )
    with pytest.raises(Mistake, match="is a blip_vqa, not a blip_nlvr"):
        train("blip_nlvr", sets / "statements", tmp_path / "x", "--init", str(tmp_path / "questions"))


@pytest.mark.parametrize(
    ("system", "kind", "words", "said"),
    [
        ("blip_vqa", "statements", (), "is not a set of questions"),
        ("blip_nlvr", "questions", (), "It holds questions"),
        ("blip_visdial", "none", (), "nothing at"),
        ("blip_nlvr", "statements", ("model.pictures=3",), "about 2 pictures, the system takes 3"),
        ("blip_visdial", "dialogs", ("model.width=64",), "must be equal"),
        ("blip_visdial", "dialogs", ("model.length=99",), "more than the 32 positions"),
    ],
)
def test_what_does_not_fit_is_said(
    system: str, kind: str, words: tuple[str, ...], said: str, sets: Path, tmp_path: Path
) -> None:
    with pytest.raises(Mistake) as caught:
        train(system, sets / kind, tmp_path / "out", *words)
    assert said in str(caught.value)
    assert not list((tmp_path / "out").glob("*"))
