"""The sample of texts to label, and which label files say something about a run."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import labelled
import numpy as np
import pyarrow.parquet as pq
import pytest

from pairloom.clean.kept_scores import KeptScores
from pairloom.clean.label_file import LabelFile
from pairloom.clean.label_sample import LabelSample, labels_of
from pairloom.clean.result import CleanResult
from pairloom.errors import Mistake


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("sample")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        labelled.run(root)
    return root


@pytest.fixture
def result(root, monkeypatch) -> CleanResult:
    monkeypatch.chdir(root)
    return CleanResult.load("out")


@pytest.fixture
def file(root, result, tmp_path) -> Path:
    return labelled.answer(root, result, tmp_path / "labels.jsonl", 10)


def test_the_sample_is_random_below_the_limit_and_a_longer_one_begins_with_the_shorter(result) -> None:
    ledger = {(row["name"], row["text_id"]): row for row in result.ledger.table().to_pylist()}
    limit = result.calibration["label_limit"]
    low = {row["text"] + row["name"] for row in ledger.values() if row["score"] is not None and row["score"] < limit and row["decision"] not in ("add", "reject")}  # fmt: skip
    some, every = result.label_sample(5), result.label_sample(10_000)
    assert every.texts[:5] == some.texts and every.population == len(every.texts) == len(low) > 10
    assert {text.text + text.name for text in every.texts} == low
    for text in every.texts:
        row = ledger[text.name, text.text_id]
        assert (text.key, text.image_key, text.text) == (row["key"], row["image_key"], row["text"])
    assert [text.number for text in every.texts] == list(range(1, len(low) + 1))
    assert result.label_sample(10_000, seed=1).texts != every.texts


def test_no_picture_changes_the_order_of_the_texts(result) -> None:
    """The order comes from the scores, the limit and the seed alone, so that it is the same on the page and in a terminal."""
    kept = KeptScores.read(result.out, result.facts)
    origin = result.label_sample(1).origin
    first = LabelSample.draw(result.ledger.path, kept, origin, 8)
    population = np.flatnonzero(kept.own < origin.below)
    expected = np.random.default_rng(origin.seed).permutation(population)[:8]
    assert first.index.tolist() == expected.tolist()


def bound(result: CleanResult, file: Path):
    kept = KeptScores.read(result.out, result.facts)
    return labels_of(LabelFile.load(file), "labels.jsonl", result.ledger.path, kept)


def edit(file: Path, change) -> None:
    held = LabelFile.load(file)
    change(held).save(file, replace=True)


def test_skipped_and_passed_over_texts_count_as_good(result, file) -> None:
    before = bound(result, file)
    bad = [number for number, good in enumerate(before.good, 1) if not good]
    assert len(bad) >= 3
    skipped, passed, *_ = bad

    def change(held: LabelFile) -> LabelFile:
        answers = {
            text: "skipped" if text.number == skipped else one
            for text, one in held.answers.items()
            if text.number != passed
        }
        return replace(held, answers=answers)

    edit(file, change)
    after = bound(result, file)
    assert after.index.tolist() == before.index.tolist() and after.below == before.below
    assert set(np.flatnonzero(after.good) + 1) == set(np.flatnonzero(before.good) + 1) | {skipped, passed}


def test_skipping_never_drops_more(result, file) -> None:
    full = result.with_labels(file)

    def change(held: LabelFile) -> LabelFile:
        return replace(
            held, answers={text: one if text.number % 2 else "skipped" for text, one in held.answers.items()}
        )

    edit(file, change)
    assert result.with_labels(file).dropped <= full.dropped


def refused(result: CleanResult, file: Path) -> str:
    with pytest.raises(Mistake) as mistake:
        result.with_labels(file)
    return f"{mistake.value.what} {mistake.value.why}"


def test_labels_of_another_judge_or_set_are_refused(result, file) -> None:
    edit(file, lambda held: replace(held, origin=replace(held.origin, scores="0" * 40)))
    assert "about other scores" in refused(result, file)
    edit(
        file,
        lambda held: replace(
            held, answers={replace(text, key="0" * 40): one for text, one in held.answers.items()}
        ),
    )
    assert "about another set" in refused(result, file)


def first_changed(change: dict, held: LabelFile) -> LabelFile:
    answers = {
        replace(text, **change) if text.number == 1 else text: one for text, one in held.answers.items()
    }
    return replace(held, answers=answers)


def test_texts_that_were_not_drawn_or_have_changed_are_refused(result, file) -> None:
    whole = file.read_text()
    for change, says in (
        ({"text": "another text"}, "no longer what was labelled"),
        ({"image_key": "0" * 40}, "no longer what was labelled"),
        ({"number": 11}, "was not drawn"),
        ({"number": 10**9}, "other scores"),
    ):
        file.write_text(whole)
        edit(file, partial(first_changed, change))
        assert says in refused(result, file)


def test_a_file_without_an_answer_is_refused(result, file) -> None:
    edit(file, lambda held: replace(held, answers=dict.fromkeys(held.answers, "skipped")))
    assert "Not one text is labelled" in refused(result, file)
    edit(file, lambda held: replace(held, answers={}))
    assert "Not one text is labelled" in refused(result, file)


def test_a_ledger_that_was_changed_and_a_run_without_scores_are_refused(result, file, tmp_path) -> None:
    table = pq.read_table(result.ledger.path)
    place = tmp_path / "copy"
    place.mkdir()
    (place / "run.json").write_text(json.dumps(result.facts))
    pq.write_table(table.slice(1), place / "pairs.parquet")
    copy = CleanResult.load(place)
    assert "holds no scores" in refused(copy, file)
    (place / "scores.parquet").write_bytes((result.out / "scores.parquet").read_bytes())
    assert "has changed" in refused(copy, file)
    few = CleanResult(place, {**result.facts, "calibration": {"decides": False, "why": "Too few."}, "scores": KeptScores.of(place / "pairs.parquet", place / "scores.parquet").identity})  # fmt: skip
    with pytest.raises(Mistake, match="nothing to label"):
        few.label_sample()
