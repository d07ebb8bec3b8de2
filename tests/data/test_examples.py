"""Annotation files as they were published, small: what is read, what is a problem, what is refused."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pairloom import registry
from pairloom.data.asked import kind_of, open_examples
from pairloom.data.pair import Round
from pairloom.data.shards import open_set
from pairloom.errors import Mistake


def picture(where: Path, shade: int = 0) -> None:
    where.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (shade, 2 * shade % 256, 90)).save(where)


def lines(where: Path, rows: list[dict[str, Any]]) -> None:
    where.parent.mkdir(parents=True, exist_ok=True)
    where.write_text("".join(json.dumps(row) + "\n" for row in rows))


def vqa(root: Path) -> None:
    """Two splits side by side, pictures in folders of their own, one missing."""
    for split, numbers in (("train", (9, 25)), ("val", (42,))):
        for number in numbers:
            picture(root / f"{split}2014" / f"COCO_{split}2014_{number:012d}.jpg", number)
        asked = [
            {"image_id": number, "question": f"What is {number}?", "question_id": 1000 * number}
            for number in (*numbers, *((7,) if split == "val" else ()))
        ]
        people = [{"answer": "a dog", "answer_confidence": "yes", "answer_id": n} for n in range(1, 8)]
        people += [{"answer": "cat", "answer_confidence": "maybe", "answer_id": n} for n in range(8, 11)]
        told = [
            {"question_id": row["question_id"], "image_id": row["image_id"], "answers": people,
             "answer_type": "other", "question_type": "what is", "multiple_choice_answer": "a dog"}
            for row in asked
        ]  # fmt: skip
        head = {"info": {"year": 2014}, "data_type": "mscoco", "data_subtype": f"{split}2014", "license": {}}
        (root / f"v2_OpenEnded_mscoco_{split}2014_questions.json").write_text(
            json.dumps({**head, "questions": asked})
        )
        (root / f"v2_mscoco_{split}2014_annotations.json").write_text(
            json.dumps({**head, "annotations": told})
        )


def test_vqa(tmp_path: Path) -> None:
    vqa(tmp_path)
    assert kind_of(tmp_path) == ("questions", "vqa")
    found = {one.name: one for one in open_examples(tmp_path, "questions")}
    assert sorted(found) == ["25000", "42000", "7000", "9000"]
    one = found["25000"]
    assert one.question == "What is 25?" and one.answers == ("a dog",) * 7 + ("cat",) * 3 and not one.problem
    assert one.weights == {"a dog": pytest.approx(0.7), "cat": pytest.approx(0.3)}
    assert one.images[0].path == tmp_path / "train2014" / "COCO_train2014_000000000025.jpg"
    assert one.meta["answer_type"] == "other" and len(set(one.key for one in found.values())) == 4
    assert "is not there" in found["7000"].problem
    alone = tmp_path / "v2_OpenEnded_mscoco_val2014_questions.json"
    assert [one.name for one in open_examples(alone, "questions")] == ["42000", "7000"]
    (tmp_path / "v2_mscoco_val2014_annotations.json").unlink()
    assert [one.answers for one in open_examples(alone, "questions")] == [(), ()]


def test_nlvr2(tmp_path: Path) -> None:
    rows = []
    for number, label in ((0, "True"), (1, "False")):
        for side in (0, 1):
            picture(
                tmp_path / "images" / "train" / "44" / f"train-10171-{number}-img{side}.png",
                20 * number + side,
            )
        rows.append({
            "sentence": "An image shows one leather pencil case.", "label": label, "directory": 44,
            "identifier": f"train-10171-{number}-0", "left_url": "https://a/b.jpg", "right_url": "https://a/c.jpg",
        })  # fmt: skip
    rows.append({**rows[0], "identifier": "train-1-0-0"})
    lines(tmp_path / "train.json", rows)
    assert kind_of(tmp_path) == ("statements", "nlvr2")
    one, two, gone = open_examples(tmp_path, "statements")
    assert [blob.path.name for blob in one.images] == ["train-10171-0-img0.png", "train-10171-0-img1.png"]
    assert (one.true, two.true) == (True, False) and one.group == two.group and one.key != two.key
    assert one.image_keys[0] != one.image_keys[1] and "is not there" in gone.problem


def nlvr_rows() -> list[dict[str, Any]]:
    about = {"structured_rep": [[{"type": "circle"}], []], "directory": "7"}
    return [
        {"sentence": "There is a circle.", "label": "true", "identifier": "12-0", **about},
        {"sentence": "There is a circle.", "label": "false", "identifier": "12-1", **about},
    ]


def test_nlvr_unpacked_and_in_a_tar(tmp_path: Path) -> None:
    root = tmp_path / "nlvr" / "dev"
    lines(root / "dev.json", nlvr_rows())
    for name, orders in (("12-0", range(6)), ("12-1", (3,))):
        for order in orders:
            picture(root / "images" / "7" / f"dev-{name}-{order}.png", order + 10 * (name == "12-1"))
    packed = tmp_path / "nlvr-dev.tar"
    with tarfile.open(packed, "w") as tar:
        tar.add(tmp_path / "nlvr", "nlvr")
    found = [list(open_examples(where, "statements")) for where in (tmp_path / "nlvr", packed)]
    for rows in found:
        assert [row.name for row in rows] == [f"12-0-{order}" for order in range(6)] + ["12-1-3"]
        assert [row.true for row in rows] == [True] * 6 + [False] and not [row for row in rows if row.problem]
        assert {row.group for row in rows} == {"There is a circle."} and len(rows[0].images) == 1
    assert [row.key for row in found[0]] == [row.key for row in found[1]]
    assert [row.images[0].read() for row in found[0]] == [row.images[0].read() for row in found[1]]
    for file in (root / "images" / "7").glob("dev-12-1-*"):
        file.unlink()
    last = list(open_examples(tmp_path / "nlvr", "statements"))[-1]
    assert last.name == "12-1-0" and "is not there" in last.problem
    packed.write_bytes(packed.read_bytes().rstrip(b"\0")[:-700])
    with pytest.raises(Mistake, match="is not whole"):
        list(open_examples(packed, "statements"))


def test_nlvr_as_it_lies_here(real_data: Path) -> None:
    """989 examples in six orders, of which 5,934 pictures (README of the sets)."""
    found = list(open_examples(real_data / "nlvr-dev.tar", "statements"))
    assert len(found) == 5934 and len({one.name.rpartition("-")[0] for one in found}) == 989
    assert not [one for one in found if one.problem or one.true is None]
    assert round(100 * sum(one.true for one in found) / len(found), 1) == 55.3  # the published majority


def visdial(root: Path) -> None:
    picture(root / "VisualDialog_val2018" / "VisualDialog_val2018_000000000061.jpg", 61)
    choices = list(range(100))
    rounds = [
        {"question": n % 3, "answer": 5 + n, "gt_index": 5 + n, "answer_options": choices} for n in range(10)
    ]
    broken = [{"question": 0, "answer": 1, "gt_index": 1, "answer_options": [500]}]
    data = {
        "questions": ["is it big", "is it red", "how many"], "answers": [f"answer {n}" for n in range(100)],
        "dialogs": [
            {"image_id": 61, "caption": "a dog on a lawn", "dialog": rounds},
            {"image_id": 62, "caption": "a cat", "dialog": broken},
        ],
    }  # fmt: skip
    file = {"data": data, "split": "val", "version": "1.0"}
    (root / "visdial_1.0_val.json").write_text(json.dumps(file))
    judged = [{"image_id": 61, "round_id": 2, "gt_relevance": [1.0, 0.5] + [0.0] * 98}]
    (root / "visdial_1.0_val_dense_annotations.json").write_text(json.dumps(judged))


def test_visdial(tmp_path: Path) -> None:
    visdial(tmp_path)
    assert kind_of(tmp_path) == ("dialogs", "visdial")
    one, broken = open_examples(tmp_path, "dialogs")
    assert one.caption == "a dog on a lawn" and len(one.rounds) == 10 and not one.problem
    assert one.rounds[4] == Round("is it red", "answer 9", tuple(f"answer {n}" for n in range(100)), 9)
    assert one.rounds[1].relevance[:3] == (1.0, 0.5, 0.0) and one.rounds[0].relevance == ()
    assert "points nowhere" in broken.problem


def test_own_rows_and_salesforces(tmp_path: Path) -> None:
    picture(tmp_path / "val2014" / "a.png", 1)
    picture(tmp_path / "b.png", 2)
    files: dict[str, list[dict[str, Any]]] = {
        "vqa_train.json": [
            {"question_id": 3, "question": "what", "answer": ["red", "red", "blue"], "image": "val2014/a.png",
             "dataset": "vqa"},
            {"question": "who", "answer": "he", "image": "b.png", "dataset": "vg"},
        ],
        "nlvr_dev.json": [{"sentence": "So.", "label": "True", "images": ["val2014/a.png", "b.png"]}],
        "talk.json": [{"image": "b.png", "caption": "c", "rounds": [
            {"question": "q", "answer": "x", "choices": ["x", "y"]}, {"question": "r", "choices": ["x"], "right": 7}]}],
    }  # fmt: skip
    for name, rows in files.items():
        (tmp_path / name).write_text(json.dumps(rows))
    questions = list(open_examples(tmp_path / "vqa_train.json", "questions"))
    assert [one.weights for one in questions] == [
        {"red": pytest.approx(2 / 3), "blue": pytest.approx(1 / 3)}, {"he": pytest.approx(0.2)}
    ]  # fmt: skip
    (statement,) = open_examples(tmp_path / "nlvr_dev.json", "statements")
    assert statement.true is True and len(statement.images) == 2 and not statement.problem
    (dialog,) = open_examples(tmp_path / "talk.json", "dialogs")
    assert [turn.right for turn in dialog.rounds] == [0, None]


def test_nocaps_is_coco_with_domains(tmp_path: Path) -> None:
    """https://nocaps.org: open images, named by file_name; each tells its domain."""
    picture(tmp_path / "images" / "0013ea2087020901.jpg", 5)
    told = {
        "licenses": [], "info": {}, "images": [{"id": 0, "open_images_id": "0013ea2087020901", "height": 6, "width": 8,
        "coco_url": "https://x/0.jpg", "file_name": "0013ea2087020901.jpg", "license": 0, "domain": "near-domain"}],
        "annotations": [{"image_id": 0, "id": n, "caption": f"caption {n}"} for n in range(10)],
    }  # fmt: skip
    (tmp_path / "nocaps_val_4500_captions.json").write_text(json.dumps(told))
    (pair,) = open_set(tmp_path).pairs()
    assert len(pair.texts) == 10 and pair.meta["domain"] == "near-domain" and not pair.problem


MAKERS = {"vqa": vqa, "visdial": visdial}


@pytest.mark.parametrize("name", registry.names("data.examples"))
def test_every_layout_says_what_it_is(name: str, tmp_path: Path) -> None:
    module = registry.find("data.examples", name)
    assert module.CLAIM and "\n" not in module.CLAIM
    assert module.sniff(tmp_path) == "" and module.sniff(tmp_path / "none") == ""


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("left", [0.9, 0.5, 0.05])
def test_a_broken_file_is_named(name: str, left: float, tmp_path: Path) -> None:
    MAKERS[name](tmp_path)
    kind = registry.find("data.examples", name).sniff(tmp_path)
    files = [file for file in tmp_path.glob("*.json") if "questions" in file.name or name == "visdial"]
    broken = next(file for file in sorted(files) if "dense" not in file.name)
    broken.write_bytes(broken.read_bytes()[: int(left * broken.stat().st_size)])
    with pytest.raises(Mistake) as caught:
        for one in open_examples(broken, kind):
            assert one.key
    assert broken.name in str(caught.value)


def test_what_is_no_set_of_examples_is_said(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    with pytest.raises(Mistake, match="is not a set of questions") as caught:
        open_examples(tmp_path, "questions")
    assert "VQA v2" in str(caught.value)
    vqa(tmp_path)
    with pytest.raises(Mistake, match="It holds questions"):
        open_examples(tmp_path, "dialogs")
    visdial(tmp_path)
    with pytest.raises(Mistake, match="fits several layouts: visdial, vqa"):
        kind_of(tmp_path)
    (tmp_path / "own.jsonl").write_bytes(b'{"image": "a.png", "question": "so"}\n{"image": \n')
    with pytest.raises(Mistake, match="Line 2"):
        list(open_examples(tmp_path / "own.jsonl", "questions"))
    (tmp_path / "own.jsonl").write_bytes(b'{"image": "a.png", "question": "so"}\n[3]\n')
    with pytest.raises(Mistake, match="Row 2 is no JSON object"):
        list(open_examples(tmp_path / "own.jsonl", "questions"))
