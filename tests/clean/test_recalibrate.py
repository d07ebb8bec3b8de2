"""Deciding again, given labels: the same as a fresh calibration, without a model, and safe at every kill."""

import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import colours
import labelled
import numpy as np
import oracle
import pytest
from kills import die_at, files, states
from PIL import Image

from pairloom.clean import label_sample, plan, recalibrate
from pairloom.clean.calibrate import calibrate
from pairloom.clean.kept_scores import KeptScores
from pairloom.clean.label_file import LabelFile
from pairloom.clean.result import CleanResult
from pairloom.data.shards import open_set
from pairloom.errors import Mistake
from pairloom.scale import Execution

# Python 3.12 warns of a fork beside threads; the child here touches the disk and dies
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """raw/, out/ (a run), labels.jsonl, and again/: the same run, decided again by them."""
    root = tmp_path_factory.mktemp("again")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        result = labelled.run(root)
        labelled.answer(root, result, root / "labels.jsonl", 30)
        shutil.copytree("out", "again", copy_function=os.link)
        CleanResult.load("again").recalibrate("labels.jsonl")
    return root


@pytest.fixture(autouse=True)
def inside(root, monkeypatch) -> None:
    monkeypatch.chdir(root)


def copy(name: str) -> Path:
    shutil.copytree("out", name)
    return Path(name)


def rows(out: str) -> list[dict]:
    return CleanResult.load(out).ledger.table().to_pylist()


def test_it_equals_a_fresh_calibration_with_the_same_labels() -> None:
    before, after = CleanResult.load("out"), CleanResult.load("again")
    kept = KeptScores.read(before.out, before.facts)
    own = np.array(
        [
            row["score"]
            for row in rows("out")
            if row["score"] is not None and row["decision"] in ("keep", "drop", "replace")
        ]
    )
    assert np.array_equal(kept.own, own)
    labels = labels_of(before)
    fresh = calibrate(kept.own, kept.planted, 0.05, kept.owner, labels)
    assert json.loads(json.dumps(fresh.facts)) == after.calibration
    assert after.calibration["labels"] == len(labels.index) and after.facts["labels"]["bad"] > 0
    for row in rows("again"):
        if row["score"] is not None:
            assert row["p_match"] == fresh.p_match(np.array([row["score"]]))[0]
            if row["decision"] in ("keep", "drop", "replace") and not said(row):
                assert (row["decision"] == "keep") == (row["score"] >= fresh.threshold)
    assert after.counts["drop"] + after.counts["replace"] > before.counts["drop"] + before.counts["replace"]


def labels_of(result: CleanResult):
    kept = KeptScores.read(result.out, result.facts)
    held = LabelFile.load(Path("labels.jsonl"))
    return label_sample.labels_of(held, "labels.jsonl", result.ledger.path, kept)


def test_the_kept_scores_are_those_of_the_run() -> None:
    result = CleanResult.load("out")
    alone = KeptScores.read(result.out, result.facts).calibrate(0.05)
    assert json.loads(json.dumps(alone.facts)) == result.calibration


def test_without_labels_the_same_decisions_come_out(monkeypatch) -> None:
    """Only the calibration changes: what the run itself decided comes out again to the last word."""
    out = copy("same")
    result = CleanResult.load(out)
    alone = KeptScores.read(out, result.facts).calibrate(0.05)
    known = {"file": "", "good": 0, "bad": 0, "skipped": 0, "hash": ""}
    monkeypatch.setattr(
        recalibrate,
        "with_labels",
        lambda *_: recalibrate.Recalibration(alone, known, 0, result.calibration, 0, {}),
    )
    result.recalibrate("labels.jsonl")
    assert rows("same") == rows("out")
    assert {name: data for name, data in files("same/pairs").items()} == files("out/pairs")


def test_clean_set_report_and_judge_follow(monkeypatch) -> None:
    result = CleanResult.load("again")
    texts = {pair.name: [text.text for text in pair.texts] for pair in open_set("again/pairs").pairs()}
    kept: dict[str, list[str]] = {}
    for row in rows("again"):
        if row["decision"] in ("keep", "add"):
            kept.setdefault(row["name"], []).append(row["text"])
    assert texts == kept
    assert result.report.stat().st_size > 10_000 and files("again").keys() == files("out").keys()
    assert result.facts["plan"] == CleanResult.load("out").facts["plan"]
    assert result.recalibrate("labels.jsonl").facts == result.facts  # applied already


def test_no_model_is_loaded_and_torch_is_not_needed() -> None:
    copy("light")
    check = (
        "import sys, pairloom; pairloom.load_result('light').recalibrate('labels.jsonl'); "
        "print({'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "set()"
    assert files("light") == files("again")


def test_clean_with_labels_decides_again_or_runs_first(monkeypatch) -> None:
    copy("first")
    assert oracle.run("raw", "first", labels="labels.jsonl").facts["labels"]["good"] >= 0
    assert oracle.run("raw", "whole", labels="labels.jsonl").counts == CleanResult.load("again").counts
    assert files("first") == files("whole") == files("again")
    notes = []
    oracle.run("raw", "first", tell=lambda *_, note="", **more: notes.append(note))
    assert notes == ["this run is finished already"] and files("first") == files("again")


def test_labels_in_the_output_folder_outlive_a_restart() -> None:
    file = copy("anew") / "labels.jsonl"
    shutil.copy("labels.jsonl", file)
    oracle.run("raw", "anew", restart=True, labels=file)
    assert file.read_bytes() == Path("labels.jsonl").read_bytes() and rows("anew") == rows("again")


def test_other_labels_replace_the_first_ones() -> None:
    copy("other")
    result = CleanResult.load("other")
    labelled.answer(Path(), result, Path("few.jsonl"), 12)
    result.recalibrate("few.jsonl")
    CleanResult.load("other").recalibrate("labels.jsonl")
    assert files("other") == files("again")


def test_workers_do_not_change_a_byte() -> None:
    copy("two")
    recalibrate.recalibrate(Path("two"), Path("labels.jsonl"), Execution(workers=2))
    assert files("two") == files("again")


def said(row: dict) -> list[str]:
    """What a person said about a text, in its row of the ledger."""
    return [code for code in row["findings"] if code.startswith("labelled")]


def test_a_text_that_a_person_looked_at_is_decided_by_the_person() -> None:
    out = copy("person")
    result = CleanResult.load(out)
    sample = result.label_sample(12)
    one, two, three, *others = sample.texts
    sample.save("mixed.jsonl", ["good", "skipped", "bad", *["bad"] * len(others)])
    after = result.recalibrate("mixed.jsonl")
    decided = {(row["name"], row["text_id"]): row for row in rows("person")}
    kept, passed, dropped = (decided[text.name, text.text_id] for text in (one, two, three))
    assert (
        kept["decision"] == "keep" and said(kept) == ["labelled_good"] and kept["score"] < sample.origin.below
    )
    assert kept["reason"] == "A person said that this text describes its picture."
    assert dropped["decision"] in ("drop", "replace") and said(dropped) == ["labelled_bad"]
    assert said(passed) == []
    after.recalibrate("labels.jsonl")  # the other labels are forgotten
    assert files("person") == files("again")


def test_a_set_that_has_changed_is_refused(tmp_path) -> None:
    shutil.copytree("raw", tmp_path / "raw")
    (tmp_path / "labels.jsonl").write_bytes(Path("labels.jsonl").read_bytes())
    os.chdir(tmp_path)
    result = oracle.run("raw", "out")
    file = next(Path("raw").iterdir())
    os.utime(file, ns=(1, 1))
    before = files("out")
    with pytest.raises(Mistake, match="another set"):
        result.recalibrate("labels.jsonl")
    assert files("out") == before


def test_a_judge_that_was_saved_has_the_new_calibration() -> None:
    copy("judged")
    place = Path("judged/models/judge")
    place.mkdir(parents=True)
    (place / "judge.json").write_text(json.dumps({"judge": 2, "calibration": {"threshold": 0}}))
    calibration = CleanResult.load("judged").recalibrate("labels.jsonl").calibration
    known = json.loads((place / "judge.json").read_text())
    assert known["judge"] == 2 and known["calibration"]["facts"] == calibration


# kills


def survives(step: int) -> bool:
    """Whether it was killed at that step; checks how it ends."""
    out = copy(f"killed-{step}")
    code = die_at(step, lambda: recalibrate.recalibrate(out, Path("labels.jsonl")))
    ends_well(out)
    return code == 9


def ends_well(out: Path) -> None:
    """A plain `clean` leaves the old result or completes the new one; with the labels it is as if it had not been killed."""
    oracle.run("raw", out)
    assert files(out) in (files("out"), files("again")), out
    oracle.run("raw", out, labels="labels.jsonl")
    assert files(out) == files("again"), out
    shutil.rmtree(out)


@pytest.mark.parametrize("step", [0, 9])
def test_a_kill_while_it_is_written_leaves_the_old_result(step: int) -> None:
    assert survives(step)


def test_a_kill_at_every_commit_point_leaves_no_trace(monkeypatch) -> None:
    """From the moment at which the new result is whole: there is no result or the new one, and the next call goes on."""
    with monkeypatch.context() as patch:
        patch.setattr(plan, "replace_result", lambda out: None)
        recalibrate.recalibrate(copy("whole-result"), Path("labels.jsonl"))
    old, new, states = files("out"), files("again"), []
    for step in range(100):
        out = Path(f"commit-{step}")
        shutil.copytree("whole-result", out, copy_function=os.link)
        killed = die_at(step, partial(plan.replace_result, out)) == 9
        there = {name: data for name, data in files(out).items() if not name.startswith(plan.WORK)}
        states.append("old" if there == old else "new" if there == new else "between")
        assert (states[-1] == "between") == (plan.finished(out) is None)
        if states[-1] == "between" and step % 4 == 1:
            with pytest.raises(Mistake, match="no finished run"):
                CleanResult.load(out)
            oracle.run("raw", out)
        plan.replace_result(out)
        plan.tidy(out)
        assert files(out) == new, f"killed before change {step}"
        if not killed:
            break
    assert states == sorted(states, key=["old", "between", "new"].index) and states.count("between") > 5


@pytest.mark.slow
def test_a_kill_before_every_single_change_leaves_no_trace() -> None:
    live = copy("live")
    left = states(live, lambda: recalibrate.recalibrate(live, Path("labels.jsonl")))
    assert len(left) > 26
    for state in left:
        ends_well(state)


# trusted pairs


def test_a_trusted_set_is_scored_by_the_same_judge_and_kept(tmp_path) -> None:
    """Near duplicates of the set's pictures are left out, but not the very files of the set."""
    raw, good = colours.write(tmp_path / "raw", 130), tmp_path / "good"
    good.mkdir()
    pictures = {path.stem: path.read_bytes() for path in sorted(raw.glob("*.png"))[:100]}
    for name, data in pictures.items():
        if int(name) % 2:  # the same picture, encoded anew
            data = encoded(data)
        (good / f"{name}.png").write_bytes(data)
        (good / f"{name}.txt").write_text(oracle.truth(data))
    settings = replace(oracle.SETTINGS, trusted=str(good), captions=False)
    result = oracle.run(raw, tmp_path / "out", settings)
    kept = KeptScores.read(result.out, result.facts)
    assert kept.trusted is not None and len(kept.trusted) == result.facts["trusted"] == 50
    assert kept.trusted.min() >= 3  # the oracle's score of a right text
    fresh = calibrate(kept.own, kept.planted, 0.05, kept.owner, trusted=kept.trusted)
    assert json.loads(json.dumps(fresh.facts)) == result.calibration


def encoded(data: bytes) -> bytes:
    file = io.BytesIO()
    Image.open(io.BytesIO(data)).save(file, "PNG", compress_level=1)
    return file.getvalue()
