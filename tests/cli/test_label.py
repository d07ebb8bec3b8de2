"""`pairloom label` with answers from a pipe, and `clean --labels`."""

import io
import json
import shutil
from pathlib import Path

import colours
import labelled
import pytest

import pairloom


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A run of tars by an exact judge: out/."""
    root = tmp_path_factory.mktemp("label")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        labelled.run(root)
    return root


@pytest.fixture
def out(root, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(root)
    shutil.copytree(root / "out", tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def ask(call, monkeypatch):
    """ask("y\\nn\\n", "label", ...): a command with these lines as its standard input."""

    def run(lines: str, *words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(lines))
        return call(*words)

    return run


def answers(file: Path) -> list[str]:
    return [json.loads(line)["answer"] for line in file.read_text().splitlines()[1:]]


def test_answers_are_kept_and_the_same_command_goes_on(ask, out) -> None:
    code, said, err = ask("y\nn\n", "label", out, "--count", 6)
    assert code == 0 and answers(out / "labels.jsonl") == ["good", "bad"]
    assert err.count("3 of 6") == 1 and "0 have an answer" in err and "With 2 labels (1 good, 1 bad" in said
    code, said, err = ask(
        "maybe\nskip\nb\nn\nq\n", "label", out, "--count", 6
    )  # an unknown key, and a change of mind
    assert code == 0 and answers(out / "labels.jsonl") == ["good", "bad", "bad"]
    assert "2 have an answer" in err and err.count("Does the text describe its picture?") == 2
    code, said, err = ask("n\nn\nn\n", "label", out, "--count", 6)
    assert code == 0 and answers(out / "labels.jsonl") == ["good", *["bad"] * 5]
    assert "to apply it  pairloom.load_result" in said  # a judge in memory has no command line
    assert "describe" not in ask("", "label", out, "--count", 6)[2]  # nothing is left to ask


def test_what_is_shown_is_the_text_and_its_picture(ask, out, monkeypatch) -> None:
    pictures = []
    monkeypatch.setattr("sys.stdin", io.StringIO())
    sample = pairloom.load_result(out).label_sample(3)
    real = labelled.truths(Path("."))

    def read(prompt: str) -> str:
        line = lines[-2]
        pictures.append(Path(line.split("  ", 1)[1]).read_bytes())
        return "y"

    lines: list[str] = []
    facts = pairloom.load_result(out).label(None, 3, read=read, say=lines.append)
    assert facts["good"] == 3 and len(real) == 120
    assert pictures == [pairloom.load_result(out).picture(text) for text in sample.texts]
    assert [line.strip() for line in lines if line.startswith("    '")] == [
        repr(text.text) for text in sample.texts
    ]


def test_json_is_one_document_and_without_answers_nothing_is_written(ask, out) -> None:
    code, said, _ = ask("", "label", out, "--json")
    assert code == 0 and json.loads(said)["says"] == "No text is labelled good or bad yet."
    assert not (out / "labels.jsonl").exists()
    code, said, _ = ask("s\nn\n", "label", out, "--json", "--labels", out.parent / "mine.jsonl")
    assert (
        code == 0
        and json.loads(said)["skipped"] == 1
        and answers(out.parent / "mine.jsonl") == ["skipped", "bad"]
    )


def test_a_file_of_somebody_else_is_left_alone(ask, out, tmp_path) -> None:
    mine = tmp_path / "notes.txt"
    mine.write_text("my notes\n")
    code, said, err = ask("y\n", "label", out, "--labels", mine)
    assert code == 2 and "is not JSON" in err and mine.read_text() == "my notes\n"
    assert ask("y\n", "label", tmp_path)[0] == 2  # no run


def test_clean_with_labels_decides_again(ask, tmp_path, monkeypatch) -> None:
    """The command that `label` prints applies its labels: the run's own options are in it."""
    monkeypatch.chdir(tmp_path)
    colours.write(tmp_path / "raw", 80)
    colours.model(tmp_path / "model")
    words = ["--model", "model", "--size", 32, "--no-captions", "--false-drop", 0.2]
    assert ask("", "clean", "raw", "--out", "out", *words, "--workers", 1)[0] == 0
    code, said, _ = ask("n\n" * 9, "label", "out", "--count", 9, "--json")
    facts = json.loads(said)
    assert code == 0 and facts["bad"] == 9
    expected = "pairloom clean raw --out out --model model --false-drop 0.2 --no-captions --size 32 --labels out/labels.jsonl"
    assert facts["command"] == expected
    code, said, err = ask("", *expected.split()[1:], "--workers", 1)
    assert code == 0, err
    done = pairloom.load_result("out")
    assert done.facts["labels"]["bad"] == 9 and done.calibration["threshold"] == facts["threshold"]
    assert [line.split()[0].rstrip(":") for line in err.splitlines()] == ["calibrate", "merge", "report"]
    assert "applied already" in ask("", *expected.split()[1:], "--workers", 1)[2]
    code, _, err = ask("", "clean", "raw", "--out", "new", *words, "--labels", "none.jsonl")
    assert code == 2 and "There is no file" in err and not Path("new").exists()
