"""The second look, at single words: parts, the shared budget, decisions and reasons."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parent))

import colours
import oracle

from pairloom.clean.audited_shard import AuditedShard
from pairloom.clean.calibrate import Calibration
from pairloom.clean.decisions import Judged, Rules, decide
from pairloom.clean.run import clean
from pairloom.clean.word_scores import FITS, WordsOfText, text_score
from pairloom.data.pair import seed_of
from pairloom.metrics.calibrate import Isotonic

CURVE = Calibration(Isotonic(np.array([-2.0, 2.0]), np.array([0.1, 0.9])), None, "", {"decides": True})


@dataclass(frozen=True)
class WordOracle(oracle.Judge):
    """Judges whole texts by the room that the picture's name says, and words by the colour, each with a little noise."""

    @property
    def tells_words(self) -> bool:
        return True

    def score(self, pictures: AuditedShard, rows: Sequence[int], texts: Sequence[str]) -> np.ndarray:
        names = pictures.column("name")
        fits = [text.endswith(f" {room(names[row])}") for row, text in zip(rows, texts)]
        return np.array([(3 if fit else -3) + noise(text, row) for fit, row, text in zip(fits, rows, texts)])

    def wrong_words(
        self, pictures: AuditedShard, rows: Sequence[int], texts: Sequence[str]
    ) -> list[list[tuple[str, float]]]:
        right = {row: oracle.truth(data) for row, data in pictures.encoded(sorted(set(rows)))}
        return [
            [
                (word, (-4.0 if word in right[row] else 4.0) + noise(text, row))
                for word in text.split()
                if word in colours.COLOURS
            ]
            for row, text in zip(rows, texts)
        ]

    def exchange(self, text: str, others: Sequence[str], seed: int) -> str | None:
        (colour,) = (word for word in text.split() if word in colours.COLOURS)
        rest = [other for other in colours.COLOURS if other != colour]
        return text.replace(colour, rest[seed % len(rest)])


def room(name: str) -> int:
    return int(Path(name).stem) % 20


def noise(text: str, row: int) -> float:
    return seed_of(text, row) % 1000 / 500 - 1


def test_the_reason_names_the_words() -> None:
    rules = Rules(0.0, 0.5, word_threshold=-1.0, p_word_threshold=0.3)
    text = Judged("a red ball", score=2.0, p_match=0.9, word_score=-3.0, p_words=0.1, wrong_words=("red",))
    (dropped,) = decide((), "", [text], [], rules).decisions
    assert dropped.decision == "drop"
    assert (
        dropped.reason
        == "P(match) is 90%. \u201cred\u201d may not fit the picture: P(all words are right) is at least 10%."
    )
    (kept,) = decide((), "", [text], [], Rules(0.0, 0.5)).decisions
    assert kept.decision == "keep" and "\u201cred\u201d" in kept.reason


def test_a_proposal_needs_both_probabilities() -> None:
    good = Judged("a blue ball", "synthetic:x", score=3.0, p_match=0.9, word_score=3.0, p_words=0.9)
    bad = Judged(
        "a red ball",
        "synthetic:x",
        score=4.0,
        p_match=0.95,
        word_score=-3.0,
        p_words=0.1,
        wrong_words=("red",),
    )
    outcome = decide((), "", [], [bad, good], Rules(0.0, 0.5))
    assert outcome.texts == [("a blue ball", "synthetic:x")]
    assert [item.decision for item in outcome.decisions] == ["reject", "add"]
    assert "\u201cred\u201d may not fit" in outcome.decisions[0].reason


def test_words_that_may_well_be_wrong_are_doubted() -> None:
    words = WordsOfText(("red", "ball"), (1.7, -1.5))
    assert words.score == -1.7 and words.doubted(CURVE) == ("red",)
    assert WordsOfText((), ()).doubted(CURVE) == ()
    assert words.doubted(replace(CURVE, threshold=1.6)) == ("red", "ball")  # both are below the limit


def test_a_text_counts_as_its_worst_word() -> None:
    assert text_score([]) == FITS and text_score([-1.0, 2.5]) == -2.5


def test_wrong_colours_are_found_named_and_dropped(tmp_path: Path) -> None:
    raw, dice, wrong = tmp_path / "raw", random.Random(3), set()
    raw.mkdir()
    for index in range(600):
        colour, chance = dice.choice([*colours.COLOURS]), dice.random()
        text = colours.said(colour, "plain")
        if chance < 0.15:
            wrong.add(f"{index:05d}")
            text = colours.said(dice.choice([other for other in colours.COLOURS if other != colour]), "plain")
        number = room(str(index)) + (dice.randrange(1, 20) if chance > 0.9 else 0)
        (raw / f"{index:05d}.png").write_bytes(colours.picture(colour, "plain", seed=index))
        (raw / f"{index:05d}.txt").write_text(f"{text} in room {number % 20}\n")
    out = tmp_path / "out"
    facts = clean(
        raw, out, replace(oracle.SETTINGS, captions=False, false_drop=0.1), judge=WordOracle()
    ).facts
    table = pq.read_table(out / "pairs.parquet").to_pylist()
    assert facts["words"]["decides"] and facts["calibration"]["decides"]
    shared = [facts[name]["false_drop_used"] for name in ("calibration", "words")]
    assert sum(shared) <= 0.1 and facts["calibration"]["false_drop_budget"] == 0.1 - shared[1]
    named = {Path(row["name"]).stem for row in table if row["wrong_words"]}
    dropped = {Path(row["name"]).stem for row in table if row["wrong_words"] and row["decision"] == "drop"}
    assert named <= wrong and len(named) > 0.6 * len(wrong) and len(dropped) > 0.9 * len(named)
    assert all(
        "wrong_word" in row["findings"] and "\u201c" in row["reason"] for row in table if row["wrong_words"]
    )
    assert facts["words"]["doubted"] <= len(named)
