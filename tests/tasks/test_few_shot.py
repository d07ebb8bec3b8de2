"""Few-shot: prompts by hand, the choice of examples, open and closed answers, and the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from pairloom import registry
from pairloom.data.batch import Batch, Texts
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.model import Model, build, save
from pairloom.tasks.decode import Writing
from pairloom.tasks.few_shot import TEMPLATES, Prompting, Shot, choose, few_shot, prompt

ANSWERS = ["red cat", "blue dog", "red dog", "a blue cat", "dog"]
TEXTS = ["red cat blue dog a Output: Question: what is it? Answer: short"] * 4


@pytest.fixture(scope="module")
def model() -> Model:
    made = build("flamingo", Tokens.train(TEXTS, 100), "tiny", ["shots=8"]).eval()
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in made.system.parameters():
            parameter += 0.15 * torch.randn_like(parameter)
        for gated in made.system.gated:
            gated.attend_gate.fill_(1.5)
    return made


@pytest.fixture(scope="module")
def looked(model: Model) -> Batch:
    """Five examples and three questions."""
    images = torch.randn(8, 1, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return model.system.encode_image(Batch(images=images))


SUPPORT = [Shot(at, answer, "what is it?") for at, answer in enumerate(ANSWERS)]
QUERIES = [Shot(at, question="what is it?") for at in (5, 6, 7)]


def words(model: Model, ids: list[int]) -> str:
    return " ".join(model.tokens.tokenizer.id_to_token(at) for at in ids)


def test_prompts_by_hand(model: Model) -> None:
    """ "<image>Output: red cat<EOC><image>Output:"; with no shots two examples without their pictures."""
    ids, pictures = prompt(model.tokens, Prompting(shots=2), SUPPORT[:2], QUERIES[0])
    assert words(model, ids) == (
        "[CLS] <image> output : red cat <|endofchunk|> <image> output : blue dog <|endofchunk|> <image> output :"
    )
    assert pictures == [0, 1, 5]
    ids, pictures = prompt(model.tokens, Prompting(TEMPLATES["question"], 0), SUPPORT[:1], QUERIES[1])
    question = "question : what is it ? answer :"
    assert words(model, ids) == f"[CLS] {question} red cat <|endofchunk|> <image> {question}"
    assert pictures == [6]
    assert words(model, prompt(model.tokens, Prompting("{answer}", 0), [], QUERIES[0])[0]) == "[CLS] <image>"
    spelt = prompt(model.tokens, Prompting("<image> {answer}", 0), [], QUERIES[0])[0]
    assert spelt.count(model.tokens.id("image")) == 1, "a text that spells a mark is text"


def test_the_most_alike_stands_last() -> None:
    support = torch.nn.functional.normalize(torch.tensor([[1.0, 0], [0.6, 0.8], [0, 1.0], [-1.0, 0]]), dim=-1)
    queries = torch.tensor([[1.0, 0.1], [-0.9, 0.2]])
    assert choose(support, queries, Prompting(shots=3)) == [[2, 1, 0], [1, 2, 3]]
    drawn = choose(support, queries, Prompting(shots=3, alike=False, seed=1))
    assert drawn == choose(support, queries, Prompting(shots=3, alike=False, seed=1))
    assert all(len(set(row)) == 3 for row in drawn)
    assert drawn != choose(support, queries, Prompting(shots=3, alike=False, seed=2))
    with pytest.raises(Mistake, match="Every prompt has 6 examples, and there are 4"):
        choose(support, queries, Prompting(shots=6))


@torch.no_grad()
@pytest.mark.parametrize("shots", [0, 1, 4])
def test_choices_have_the_likelihood_of_teacher_forced_texts(model: Model, looked: Batch, shots: int) -> None:
    """Read once and stepped from there, with pictures looked at once, it is what the whole row says at one go."""
    choices = ("red", "a blue cat", "dog")
    asking = Prompting(shots=shots, choices=choices)
    found = few_shot(model, looked, SUPPORT, QUERIES, asking)
    images = torch.randn(8, 1, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    for query, answer in zip(QUERIES, found):
        given = [SUPPORT[at] for at in answer.shots]
        ids, pictures = prompt(model.tokens, asking, given, query)
        expected = []
        for choice in choices:
            tail = [*model.tokens.rows([choice], 20)[0][1:-1], model.tokens.id("end")]
            tokens = torch.tensor([[*ids, *tail]])
            batch = Batch(images=images[pictures].transpose(0, 1), texts=Texts.unpadded(tokens))
            said = model.system.logits(batch).log_softmax(-1)[0, len(ids) - 1 : -1]
            expected.append(float(said.gather(1, torch.tensor(tail)[:, None]).sum()))
        assert answer.log_probability == pytest.approx(max(expected), abs=1e-4)
        assert answer.text == choices[expected.index(max(expected))]


@torch.no_grad()
def test_open_answers_depend_on_their_own_prompt_alone(model: Model, looked: Batch) -> None:
    """Several questions at once, whose prompts are of several lengths, are answered as each is by itself."""
    writing = Writing("greedy", max_length=6, min_length=0)
    together = few_shot(model, looked, SUPPORT, QUERIES, Prompting(shots=2, alike=False, writing=writing))
    for row, query in enumerate(QUERIES):
        support = [SUPPORT[at] for at in together[row].shots]
        ids, pictures = prompt(model.tokens, Prompting(shots=2), support, query)
        batch = model.system.arrange(looked, torch.tensor([pictures]))
        logits, state = model.system.read(model.system.start(batch), torch.tensor([ids]))
        said: list[int] = []
        while len(said) < 6:
            said.append(int(logits.argmax()))
            if said[-1] == model.tokens.id("end"):
                break
            logits, state = model.system.step(state, torch.tensor(said[-1:]))
        ended = said[-1] == model.tokens.id("end")
        assert together[row].text == model.tokens.decode(said[:-1] if ended else said).strip()
    assert len({len(prompt(model.tokens, Prompting(), [SUPPORT[at] for at in one.shots], QUERIES[0])[0]) for one in together}) > 1  # fmt: skip


@torch.no_grad()
def test_orders_are_averaged(model: Model, looked: Batch) -> None:
    choices = ("red", "dog")
    one, several = (
        few_shot(model, looked, SUPPORT, QUERIES, Prompting(shots=3, orders=orders, choices=choices))
        for orders in (1, 6)
    )  # fmt: skip
    assert [answer.shots for answer in one] == [answer.shots for answer in several]
    assert any(
        abs(a.log_probability - b.log_probability) > 1e-4 for a, b in zip(one, several) if a.text == b.text
    )


def test_mistakes(model: Model, looked: Batch) -> None:
    def ask(asking: Prompting) -> None:
        few_shot(model, looked, SUPPORT * 4, QUERIES, asking)

    with pytest.raises(Mistake, match="(?s)9 shots are too many.*reads 8, and was trained on rows of 5"):
        ask(Prompting(shots=9))
    with pytest.raises(Mistake, match="tokens is longer than the 64 that the model reads"):
        ask(Prompting("a a a a a a a a a {answer}", shots=6))
    with pytest.raises(ValueError, match="ends with {answer}"):
        Prompting("{answer} is it")
    clip = build("clip", Tokens.train(TEXTS, 100), "tiny")
    with pytest.raises(Mistake, match="cannot be prompted"):
        few_shot(clip, looked, SUPPORT, QUERIES)


def test_the_command(model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(replace(model, about={}), tmp_path / "model")
    for name, count in (("shots", 5), ("asked", 2)):
        (tmp_path / name).mkdir()
        for at in range(count):
            Image.new("RGB", (40, 40), (50 * at, 90, 200 - 40 * at)).save(tmp_path / name / f"{at}.png")
            (tmp_path / name / f"{at}.txt").write_text(ANSWERS[at])
    command = registry.find("cli", "prompt").command
    told = dict(model=tmp_path / "model", examples=tmp_path / "shots", question="", orders=1, beams=2, max_length=4, seed=0)  # fmt: skip
    for choices in ("", "red,blue dog"):
        out = tmp_path / f"answers{len(choices)}.jsonl"
        command(
            tmp_path / "asked", **told, shots=2, template="caption", choices=choices, draw=False, out=out, restart=False
        )  # fmt: skip
        lines = [json.loads(line) for line in out.read_text().splitlines()]
        assert [line["name"] for line in lines] == ["0", "1"] and all(
            len(line["examples"]) == 2 for line in lines
        )
        assert not choices or {line["answer"] for line in lines} <= {"red", "blue dog"}
        assert lines[0]["examples"][-1] == "red cat", "the same picture is the most alike"
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    with pytest.raises(Mistake, match="cannot be read"):
        command(
            tmp_path / "asked", **told, shots=2, template="caption", choices=str(tmp_path / "latin.txt"), draw=False,
            out=None, restart=False,
        )  # fmt: skip
    with pytest.raises(Mistake, match="asks a question"):
        command(
            tmp_path / "asked",
            **told,
            shots=2,
            template="short",
            choices="",
            draw=False,
            out=None,
            restart=False,
        )
    capsys.readouterr()
