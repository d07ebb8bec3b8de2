"""Languages of a set: short texts in another language are found, rare texts of the main one are left alone."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import colours
import numpy as np
import pytest

from pairloom.clean import audit_languages
from pairloom.clean.audit import AuditTask, audit_shard
from pairloom.clean.audit_languages import LanguageTask, judge_languages
from pairloom.clean.audit_set import check
from pairloom.clean.set_languages import SetLanguages, detect
from pairloom.data.shards import open_set, save_set
from pairloom.scale import Execution
from pairloom.world import World

NOISE = {"other_language": 0.3, "wrong_attribute": 0.7}


def drawn(count: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Texts of a drawn world, a tenth of them noise, and which are in another language [n]."""
    world = World(count, seed, "simple", styles=("terse", "full"), noise=0.1, shares=NOISE)
    rows = list(world.rows())
    return [row.text for row in rows], np.array([row.truth.noise == "other_language" for row in rows])


@pytest.mark.parametrize("seed", range(3))
def test_texts_in_other_languages_are_found_and_no_other(seed: int) -> None:
    texts, foreign = drawn(2000, seed)
    languages = SetLanguages.learn(texts)
    certain, doubted = languages.other(texts)
    assert languages.main == "en" and set(languages.names) == {"de", "en", "es", "fr"}
    assert certain[foreign].mean() >= 0.95 and not certain[~foreign].any()
    assert not (certain & doubted).any()


def test_a_lone_text_is_a_doubt_and_no_certainty() -> None:
    english = [text for text, other in zip(*drawn(600, 0)) if not other]
    languages = SetLanguages.learn([*english, "красный мяч на траве у дома"])
    certain, doubted = languages.other(["красный мяч на траве у дома", "a red ball", "robot"])
    assert certain.tolist() == [False] * 3 and doubted.tolist() == [True, False, False]


def test_a_set_of_one_language_has_no_other() -> None:
    assert not SetLanguages.learn(["ein roter Ball auf der Wiese", "ein Haus am Strand"] * 20).several
    assert SetLanguages.learn([]).main_share() < audit_languages.MAIN


def test_languages_are_read_as_they_were_written() -> None:
    texts, _ = drawn(600, 1)
    languages = SetLanguages.learn(texts)
    again = SetLanguages.from_json(json.dumps(json.loads(languages.to_json())))
    for one, other in zip(languages.other(texts), again.other(texts)):
        assert np.array_equal(one, other)


def test_every_text_has_probabilities() -> None:
    table = detect(["", "😀", "\n", "赤いボール", "\ud800", "a" * 5000])
    assert np.isfinite(table).all() and np.allclose(table.sum(1), 1)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """300 pairs in three tars, a tenth of the texts in other languages; their indices."""
    root = tmp_path_factory.mktemp("languages")
    texts, foreign = drawn(300, 2)
    texts = ["https://example.org/a.jpg", *texts[1:]]
    pairs = list(open_set(colours.write(root / "folder", 300)).pairs())
    pairs = [pair.with_texts((type(pair.texts[0])(text),)) for pair, text in zip(pairs, texts)]
    return save_set(pairs, root / "raw", "webdataset", size=100), np.flatnonzero(foreign[1:]) + 1


def test_the_audit_finds_them_in_any_shard_with_and_without_parts(mixed, tmp_path: Path) -> None:
    pairs, foreign = mixed
    alone = check(pairs)
    parts = check(pairs, Execution(workers=2), folder=tmp_path, size=32)
    assert alone.textwise["other_language"].tolist() == parts.textwise["other_language"].tolist()
    certain, doubted = (set(alone.textwise[code].tolist()) for code in audit_languages.CODES)
    assert certain <= set(foreign.tolist()) and len((certain | doubted) & set(foreign.tolist())) >= 0.9 * len(
        foreign
    )
    assert certain and not certain & doubted
    entry = alone.audit()["other_language"]
    assert entry["severity"] == "bad" and entry["examples"][0]["text"] in [
        text.text for pair in pairs.pairs() for text in pair.texts
    ]


def test_texts_that_are_bad_anyway_are_no_sample_and_are_passed_over(mixed, tmp_path: Path) -> None:
    pairs, _ = mixed
    facts = audit_shard(AuditTask(pairs.shards[0], sample=10))
    assert len(facts.sample) == 10 and "https://example.org/a.jpg" not in facts.sample
    everything = audit_shard(AuditTask(pairs.shards[0]))
    assert len(everything.sample) == 99 and set(facts.sample) <= set(everything.sample)
    file = tmp_path / "languages.json"
    file.write_text(SetLanguages.learn(["ein roter Ball auf der Wiese"] * 20).to_json())
    assert all(0 not in places for places in judge_languages(LanguageTask(pairs.shards[0], file)))


def test_a_set_of_many_languages_is_left_alone(mixed, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs, _ = mixed
    monkeypatch.setattr(audit_languages, "MAIN", 0.99)
    assert not any(len(check(pairs).textwise[code]) for code in audit_languages.CODES)


def test_real_captions_are_left_alone(real_data: Path) -> None:
    photos = json.loads((real_data / "coco-sample" / "dataset.json").read_text())["images"]
    with open(real_data / "fsa" / "metadata.csv") as file:
        fsa = [row["text"] for row in csv.DictReader(file)]
    emoji = [
        line for file in sorted((real_data / "emoji").glob("*.txt")) for line in file.read_text().split("\n")
    ]
    for texts in ([one["raw"] for photo in photos for one in photo["sentences"]], fsa, emoji):
        languages = SetLanguages.learn(texts)
        assert languages.main == "en" and not any(flags.any() for flags in languages.other(texts))
