"""ask, reason, dialog: on one picture, on sets, again after a stop, and with what they cannot use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from pairloom.api.inputs import listed_texts
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.model import build, save
from pairloom.world import World
from pairloom.world.asked import write_examples

KINDS = {"questions": "blip_vqa", "statements": "blip_nlvr", "dialogs": "blip_visdial"}


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set and a model of every kind, one picture, a folder of pictures, and a plain BLIP."""
    root = tmp_path_factory.mktemp("asked")
    words = []
    for kind in KINDS:
        write_examples(World(4, seed=3, level="simple", size=32), root / kind, kind)
        words += (root / kind / f"{kind}.jsonl").read_text().split()
    tokens = Tokens.train([" ".join(words)], 300)
    for system in KINDS.values():
        save(build(system, tokens, "tiny"), root / system)
    save(build("blip", tokens, "tiny"), root / "blip")
    (root / "pictures").mkdir()
    for name in "ab":
        Image.new("RGB", (40, 30), name == "a" and "red" or "blue").save(root / "pictures" / f"{name}.png")
        (root / "pictures" / f"{name}.txt").write_text(f"picture {name}")
    (root / "answers.txt").write_text("red\nblue\nyes\n\nno\nred\n")
    return root


def rows(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_lists_of_texts(tmp_path: Path) -> None:
    """A file with a byte order mark, a JSON list, and more names than the name of a file may be long."""
    file = tmp_path / "names.txt"
    file.write_bytes(b"\xef\xbb\xbfcat\r\n\r\ndog\r\ncat\r\n")
    assert listed_texts(str(file), "names") == ["cat", "dog"]
    file.write_text('["a, b", 3]')
    assert listed_texts(str(file), "names") == ["a, b", "3"]
    many = [f"name {at}" for at in range(999)]
    assert listed_texts(",".join(many), "names") == listed_texts(" ,".join(many), "names") == many
    file.write_bytes("café".encode("latin-1"))
    with pytest.raises(Mistake, match="cannot be read"):
        listed_texts(str(file), "names")


def test_one_question_about_one_picture(call, there: Path) -> None:
    words = ("ask", there / "pictures" / "a.png", "What colour is it?", "--model", there / "blip_vqa")
    code, out, _ = call(
        *words, "--answers", there / "answers.txt", "--several", "9", "--first", "0", "--json"
    )
    told = json.loads(out)
    assert code == 0 and sorted(one["text"] for one in told["answers"]) == ["blue", "no", "red", "yes"]
    scores = [one["score"] for one in told["answers"]]
    assert scores == sorted(scores, reverse=True) and scores[0] < 0
    code, out, _ = call(*words, "--answers", "red,blue", "--several", "2")
    assert code == 0 and {line.split("\t")[0] for line in out.splitlines()[1:]} == {"red", "blue"}
    assert call(*words)[0] == 0


def test_one_question_about_a_folder(call, there: Path, tmp_path: Path) -> None:
    words = ("ask", there / "pictures", "What is it?", "--model", there / "blip_vqa", "--answers", "red,blue")
    code, out, _ = call(*words)
    assert code == 0 and [row["name"] for row in rows(out)] == ["a", "b"]
    assert all(row["question"] == "What is it?" and len(row["answers"]) == 1 for row in rows(out))


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_set_and_again_after_a_stop(call, there: Path, tmp_path: Path, kind: str) -> None:
    name = {"questions": "ask", "statements": "reason", "dialogs": "dialog"}[kind]
    words = (name, there / kind, "--model", there / KINDS[kind], "--out", tmp_path / "out.jsonl")
    words += ("--answers", there / "answers.txt") if name == "ask" else ()
    code, _, told = call(*words)
    whole = (tmp_path / "out.jsonl").read_bytes()
    expected = rows((there / kind / f"{kind}.jsonl").read_text())
    assert code == 0 and len(rows(whole.decode())) == len(expected) > 3
    (tmp_path / "out.jsonl").write_bytes(whole[: len(whole) // 2])
    code, _, again = call(*words)
    assert code == 0 and "already done" in again and again.splitlines()[-1] == told.splitlines()[-1]
    redone = rows((tmp_path / "out.jsonl").read_text())
    for before, after in zip(rows(whole.decode()), redone):
        assert before.keys() == after.keys() and before["name"] == after["name"]
    lines = rows(whole.decode())
    if kind == "questions":
        asked = {str(row["id"]): row["answers"][0] for row in expected}
        right = [line["answers"][0]["text"] == asked[line["name"]] for line in lines]
        assert [line["exact"] for line in lines] == right  # one person's answer each
        assert f"exact {sum(right) / len(right):.4f}" in told
    if kind == "statements":
        right = [line["true"] == row["label"] for line, row in zip(lines, expected)]
        assert f"accuracy {sum(right) / len(right):.4f}" in told and "consistency" in told
    if kind == "dialogs":
        for line, row in zip(lines, expected):
            for turn, asked in zip(line["rounds"], row["rounds"]):
                place = sorted(turn["scores"], reverse=True).index(
                    turn["scores"][asked["choices"].index(asked["answer"])]
                )
                assert turn["mean rank"] == place + 1 and turn["MRR"] == pytest.approx(1 / (place + 1))
        assert "MRR 0." in told and "R@10 1.0000" in told


def test_one_statement_and_one_round(call, there: Path) -> None:
    left, right = there / "pictures" / "a.png", there / "pictures" / "b.png"
    code, out, _ = call("reason", left, right, "Both are red.", "--model", there / "blip_nlvr", "--json")
    told = json.loads(out)
    assert code == 0 and told["true"] == (told["chance"] > 0.5) and told["statement"] == "Both are red."
    turned = json.loads(
        call("reason", right, left, "Both are red.", "--model", there / "blip_nlvr", "--json")[1]
    )
    assert turned["chance"] != told["chance"]
    words = (
        "dialog",
        left,
        "Is it red?",
        "--model",
        there / "blip_visdial",
        "--candidates",
        "yes,no,red",
        "--json",
    )
    bare = json.loads(call(*words)[1])
    after = json.loads(call(*words, "--caption", "a red picture", "--history", "Is it big? no")[1])
    assert len(bare["answers"]) == len(after["answers"]) == 3 and not after["shortened"]
    assert {one["score"] for one in bare["answers"]} != {one["score"] for one in after["answers"]}
    long = call(*words, *("--history", "Is it big and what colour is it on the left? no") * 4)
    assert json.loads(long[1])["shortened"] and "oldest words were left out" in long[2]


def test_an_example_without_its_picture_is_a_row_with_a_problem(call, there: Path, tmp_path: Path) -> None:
    lines = (there / "questions" / "questions.jsonl").read_text().splitlines()[:3]
    (tmp_path / "own.jsonl").write_text("\n".join(lines))
    (tmp_path / "000000.jpg").write_bytes(b"not a picture")
    code, out, told = call("ask", tmp_path, "--model", there / "blip_vqa", "--answers", "yes,no")
    assert code == 0 and all("not an image" in row["problem"] for row in rows(out)) and "3 bad" in told
    (tmp_path / "000000.jpg").unlink()
    code, out, _ = call("ask", tmp_path, "--model", there / "blip_vqa", "--answers", "yes,no")
    assert code == 0 and all("is not there" in row["problem"] for row in rows(out))


def test_a_question_with_a_line_separator_is_one_line(call, there: Path, tmp_path: Path) -> None:
    picture = str(there / "pictures" / "a.png")
    row = {"image": picture, "question": "What\u2028is it?", "answers": ["red"]}
    (tmp_path / "own.jsonl").write_text(json.dumps(row, ensure_ascii=False) + "\n", "utf-8")
    words = ("ask", tmp_path / "own.jsonl", "--model", there / "blip_vqa", "--answers", "red,blue")
    for _ in range(2):
        code, _, told = call(*words, "--out", tmp_path / "answers" / "out.jsonl")
        assert code == 0 and "1 questions" in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("ask", "pictures/a.png", "What?", "--model", "blip"), "cannot answer questions"),
        (("reason", "pictures/a.png", "pictures/b.png", "So?", "--model", "blip_vqa"), "cannot judge statements"),
        (("dialog", "dialogs", "--model", "blip_nlvr"), "cannot follow a dialog"),
        (("ask", "pictures/a.png", "What?", "--model", "blip_vqa", "--answers", "empty.txt"), "no answers in"),
        (("ask", "pictures/a.png", "what " * 40, "--model", "blip_vqa"), "longer than the 12 tokens"),
        (("ask", "pictures/a.png", "What?", "--model", "blip_vqa", "--max-length", "1"), "nothing to write"),
        (("ask", "pictures", "--model", "blip_vqa"), "is not a set of questions"),
        (("ask", "statements", "--model", "blip_vqa"), "It holds statements"),
        (("reason", "pictures/a.png", "It is red.", "--model", "blip_nlvr"), "2 pictures, not 1"),
        (("reason", "pictures/a.png", "x", "y", "It is red.", "--model", "blip_nlvr"), "pictures, not 3"),
        (("reason", "pictures/a.png", "gone.png", "It is red.", "--model", "blip_nlvr"), "cannot be read"),
        (("reason", "gone", "--model", "blip_nlvr"), "nothing at"),
        (("dialog", "pictures/a.png", "So?", "--model", "blip_visdial"), "no candidates"),
        (("dialog", "pictures/a.png", "So?", "--candidates", "a", "--history", "no", "--model", "blip_visdial"), "is not a round"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(call, there: Path, words, said, monkeypatch) -> None:
    monkeypatch.chdir(there)
    (there / "empty.txt").write_text("\n \n")
    code, _, told = call(*words)
    assert code == 2 and said in " ".join(told.split())


def test_statements_about_one_picture_meet_a_model_of_two(call, there: Path, tmp_path: Path) -> None:
    Image.new("RGB", (20, 20), "red").save(tmp_path / "a.png")
    (tmp_path / "own.jsonl").write_text(
        json.dumps({"image": "a.png", "statement": "It is red.", "label": True})
    )
    code, _, told = call("reason", tmp_path, "--model", there / "blip_nlvr")
    assert code == 2 and "about 1 picture, the system takes 2" in " ".join(told.split())
