"""The label file: what is written is read, and every fault of a file that was edited by hand is named with its line."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairloom.clean.label_file import ANSWERS, LabelFile, SampledText, SampleOrigin
from pairloom.errors import Mistake

ORIGIN = SampleOrigin("raw", "a" * 40, -0.1234567890123456789, 3)


def text(number: int, **more: object) -> SampledText:
    return replace(SampledText(number, f"{number:05d}", "00000", "k" * 40, 0, "i" * 40, "a red wall"), **more)


def lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text("utf-8").split("\n")[:-1]]


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(st.integers(1, 10**6), st.sampled_from(ANSWERS), max_size=5), st.text(), st.floats(-9, 9)
)
def test_what_is_written_is_read(tmp_path_factory, answers, words, below) -> None:
    file = tmp_path_factory.mktemp("labels") / "labels.jsonl"
    held = LabelFile(replace(ORIGIN, below=below), {text(at, text=words): one for at, one in answers.items()})
    held.save(file)
    assert LabelFile.load(file) == held
    assert [line["number"] for line in lines(file)[1:]] == sorted(answers)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    answers = {text(1): "good", text(2): "bad", text(3): "skipped"}
    LabelFile(ORIGIN, answers).save(tmp_path / "labels.jsonl")
    return tmp_path / "labels.jsonl"


def changed(file: Path, line: int, **more: object) -> Path:
    held = lines(file)
    held[line] |= more
    file.write_text(
        "".join(json.dumps({k: v for k, v in one.items() if v is not ...}) + "\n" for one in held)
    )
    return file


def test_a_file_may_have_blank_lines_any_order_and_a_byte_order_mark(file: Path) -> None:
    before = LabelFile.load(file)
    head, *rest = file.read_text().split("\n")[:-1]
    file.write_text("\ufeff" + "\n\n".join([head, *reversed(rest), rest[0]]), "utf-8")
    assert LabelFile.load(file) == before and before.counts() == {"good": 1, "bad": 1, "skipped": 1}


FAULTS = {
    "an unknown key": (2, {"lable": "good"}, "line 3 has the unknown key 'lable'"),
    "an unknown key of the head": (0, {"seeds": 0}, "line 1 has the unknown key 'seeds'"),
    "a missing key": (1, {"image_key": ...}, "line 2 lacks image_key"),
    "an unknown answer": (1, {"answer": "yes"}, "line 2 has the answer 'yes'"),
    "a number that is a text": (1, {"number": "1"}, "number is '1'"),
    "a number that is true": (1, {"text_id": True}, "text_id is True"),
    "number 0": (1, {"number": 0}, "The first text is 1"),
    "no limit": (0, {"below": float("nan")}, "below is nan"),
    "another version": (0, {"labels": 2}, "has version 2"),
    "two answers": (1, {"number": 2}, "text 2 is bad here and good before"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_faults_are_named_with_their_line(file: Path, case: str) -> None:
    line, change, says = FAULTS[case]
    with pytest.raises(Mistake) as mistake:
        LabelFile.load(changed(file, line, **change))
    assert says in " ".join([mistake.value.what, mistake.value.why])


def test_files_that_are_no_label_files(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    for content, says in ((None, "There is no file"), (b"", "is empty"), (b"\xff\xfe", "cannot be read"), (b"{", "line 1 is not JSON"), (b"[1]", "no JSON object")):  # fmt: skip
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(Mistake, match=says):
            LabelFile.load(file)
