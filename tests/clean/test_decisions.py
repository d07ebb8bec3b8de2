"""Every decision about a pair, by hand."""

from dataclasses import replace

import numpy as np
import pytest

from pairloom.clean.calibrate import Calibration
from pairloom.clean.decisions import Judged, Rules, decide
from pairloom.clean.faults import EVIDENCE, FAULTS
from pairloom.clean.shard_decisions import CalibratedRules, read_outcomes, write_outcomes
from pairloom.metrics.calibrate import Isotonic

RULES = Rules(threshold=0.0, p_threshold=0.4, accept=0.5)


def decisions(outcome):
    return [item.decision for item in outcome.decisions]


def test_a_good_text_stays_and_its_reason_names_p():
    outcome = decide([], "", [Judged("a dog", score=1.0, p_match=0.9)], [], RULES)
    assert decisions(outcome) == ["keep"]
    assert outcome.texts == [("a dog", "original")]
    assert "90%" in outcome.decisions[0].reason


def test_a_doubted_text_needs_that_it_matches_more_likely_than_not():
    for code in sorted(EVIDENCE):
        weak, strong = (Judged("Shop Now", findings=[code], score=1.0, p_match=p) for p in (0.49, 0.51))
        outcome = decide([], "", [weak, strong], [], RULES)
        assert decisions(outcome) == ["drop", "keep"]
        assert FAULTS[code].says in outcome.decisions[0].reason and "50%" in outcome.decisions[0].reason
    others = [
        Judged("a dog", findings=[code], score=1.0, p_match=0.45)
        for code in ("markup", "conflict", "too_long")
    ]
    assert decisions(decide([], "", others, [], RULES)) == ["keep"] * 3


def test_a_doubt_makes_bad_texts_half_of_all_where_fewer_are_bad():
    rules = replace(RULES, bad_share=0.1)  # the odds of P(match) fall by nine
    assert rules.given_doubt(0.9) == pytest.approx(0.5) and rules.given_doubt(0.99) == pytest.approx(11 / 12)
    assert rules.given_doubt(0.0) == 0.0 and rules.given_doubt(1.0) == 1.0
    assert replace(RULES, bad_share=0.7).given_doubt(0.6) == pytest.approx(0.6) == RULES.given_doubt(0.6)
    weak, strong = (Judged("Shop Now", findings=["spam"], score=1.0, p_match=p) for p in (0.89, 0.91))
    outcome = decide([], "", [weak, strong, replace(weak, findings=["markup"])], [], rules)
    assert decisions(outcome) == ["drop", "keep", "keep"] and "given a doubt" in outcome.decisions[0].reason


def test_doubts_delete_nothing_where_the_judge_abstains_or_has_no_score():
    for text in (
        Judged("Shop Now", findings=["spam"], score=-9.0, p_match=0.01),
        Judged("Shop Now", findings=["spam"]),
    ):
        outcome = decide([], "", [text], [], Rules(threshold=None))
        assert decisions(outcome) == ["keep"] and FAULTS["spam"].says in outcome.decisions[0].reason
    assert decisions(decide([], "", [Judged("Shop Now", findings=["spam"])], [], RULES)) == ["keep"]


def test_a_caption_with_a_doubt_is_not_proposed():
    proposals = [
        Judged("stock photo", "synthetic:self", ["boilerplate"], score=3.0, p_match=0.99),
        Judged("a cat", "synthetic:self", ["cut_off"], score=1.0, p_match=0.6),
    ]
    outcome = decide([], "", [], proposals, RULES)
    assert outcome.texts == [("a cat", "synthetic:self")]
    assert FAULTS["boilerplate"].says in outcome.decisions[-2].reason


def test_an_unmatched_text_is_dropped_and_the_reason_names_limit_and_budget():
    outcome = decide([], "", [Judged("a dog", score=-1.0, p_match=0.1)], [], RULES)
    assert decisions(outcome) == ["drop"] and outcome.texts == []
    assert all(part in outcome.decisions[0].reason for part in ("10%", "40%", "5%"))


def test_the_first_accepted_proposal_replaces_it():
    proposals = [
        Judged("a dog house", "synthetic:self", score=0.1, p_match=0.4),
        Judged("a cat", "synthetic:self", score=1.0, p_match=0.6),
        Judged("two cats", "synthetic:self", score=2.0, p_match=0.8),
    ]
    outcome = decide([], "", [Judged("a dog", score=-1.0, p_match=0.1)], proposals, RULES)
    assert decisions(outcome) == ["replace", "reject", "add", "reject"]
    assert outcome.texts == [("a cat", "synthetic:self")]


def test_a_proposal_under_the_bar_is_no_replacement():
    outcome = decide(
        [],
        "",
        [Judged("a dog", score=-1.0, p_match=0.1)],
        [Judged("x", "synthetic:self", score=0.1, p_match=0.49)],
        RULES,
    )
    assert decisions(outcome) == ["drop", "reject"] and outcome.texts == []


def test_what_is_dropped_as_an_original_is_not_accepted_as_a_proposal():
    rules = Rules(threshold=2.0, p_threshold=0.7, accept=0.5)
    old, new = (
        Judged("a dog", score=1.0, p_match=0.6),
        Judged("a cat", "synthetic:self", score=1.0, p_match=0.6),
    )
    outcome = decide([], "", [old], [new], rules)
    assert decisions(outcome) == ["drop", "reject"] and "under the 70%" in outcome.decisions[1].reason
    outcome = decide([], "", [old], [replace(new, score=2.0, p_match=0.7)], rules)
    assert decisions(outcome) == ["replace", "add"]


def test_one_good_text_of_several_keeps_the_pair_and_needs_no_replacement():
    texts = [Judged("a dog", score=1.0, p_match=0.9), Judged("a car", score=-1.0, p_match=0.1)]
    outcome = decide([], "", texts, [Judged("a pup", "synthetic:self", score=3.0, p_match=0.99)], RULES)
    assert decisions(outcome) == ["keep", "drop", "reject"]
    assert outcome.texts == [("a dog", "original")]


def test_the_papers_union_adds_to_kept_texts():
    rules = Rules(threshold=0.0, p_threshold=0.4, add=True)
    outcome = decide(
        [],
        "",
        [Judged("a dog", score=1.0, p_match=0.9)],
        [Judged("a pup", "synthetic:self", score=3.0, p_match=0.99)],
        rules,
    )
    assert outcome.texts == [("a dog", "original"), ("a pup", "synthetic:self")]


def test_keep_alt_text_leaves_the_original_behind_the_caption():
    rules = Rules(threshold=0.0, p_threshold=0.4, keep_alt_text=True)
    outcome = decide(
        [],
        "",
        [Judged("Lot 12, Boston", score=-1.0, p_match=0.1)],
        [Judged("a chair", "synthetic:self", score=3.0, p_match=0.9)],
        rules,
    )
    assert outcome.texts == [("a chair", "synthetic:self"), ("Lot 12, Boston", "original")]


def test_a_judge_that_cannot_tell_drops_nothing_by_score_and_takes_nothing_in():
    rules = Rules(threshold=None)
    outcome = decide(
        [],
        "",
        [Judged("a dog", score=-9.0, p_match=0.01)],
        [Judged("x", "synthetic:self", score=9.0, p_match=1.0)],
        rules,
    )
    assert decisions(outcome) == ["keep", "reject"] and outcome.texts == [("a dog", "original")]


def test_the_audit_drops_by_rule_even_without_a_judge():
    outcome = decide([], "", [Judged("IMG_2034.jpg", findings=["file_name"])], [], Rules(threshold=None))
    assert decisions(outcome) == ["drop"] and "file name" in outcome.decisions[0].reason


def test_a_broken_picture_drops_every_text_with_the_problem_in_words():
    outcome = decide(["unreadable"], "truncated after 12 bytes", [Judged("a"), Judged("b")], [], RULES)
    assert decisions(outcome) == ["drop", "drop"] and outcome.texts == []
    assert "truncated after 12 bytes" in outcome.decisions[0].reason


def test_a_picture_without_text_is_a_row_and_can_be_captioned():
    assert decisions(decide([], "", [], [], RULES)) == ["drop"]
    outcome = decide([], "", [], [Judged("a cat", "synthetic:self", score=1.0, p_match=0.9)], RULES)
    assert decisions(outcome) == ["add"] and outcome.texts == [("a cat", "synthetic:self")]


def test_outcomes_come_back_from_their_part_as_they_were(tmp_path):
    proposals = [Judged("a cat", "synthetic:self", (), 1.0, 0.6)]
    outcomes = [
        decide([], "", [Judged("a dog", "original", (), -1.0, 0.1)], proposals, RULES),
        decide(["unreadable"], "cut off", [], [], RULES),
        decide(["alpha"], "", [Judged("a car", "original", ("too_long",), 1.5, 0.9)], [], RULES),
    ]
    write_outcomes(tmp_path / "part.parquet", outcomes)
    assert list(read_outcomes(tmp_path / "part.parquet")) == outcomes


def test_a_cut_text_is_dropped_below_the_limit_and_else_a_doubt():
    text = Judged(
        "a red ball l", findings=("cut_off",), score=1.0, p_match=0.9, end_score=-3.0, p_complete=0.1
    )
    (kept,) = decide([], "", [text], [], RULES).decisions
    says = "P(match) is 90%. The text seems to be cut off: P(it is complete) is at least 10%."
    assert kept.decision == "keep" and kept.reason == says
    (dropped,) = decide([], "", [text], [], replace(RULES, end_threshold=-2.0)).decisions
    assert dropped.decision == "drop" and dropped.reason == says
    whole = replace(text, findings=(), end_score=2.0, p_complete=0.99)
    assert decisions(decide([], "", [whole], [], replace(RULES, end_threshold=-2.0))) == ["keep"]
    by_rule = replace(text, end_score=2.0, p_complete=0.99)  # the audit doubts it, its ending does not
    (doubted,) = decide([], "", [by_rule], [], replace(RULES, end_threshold=-2.0)).decisions
    assert doubted.decision == "keep" and "cut off in the middle" in doubted.reason


def test_a_proposal_has_no_ending_that_is_judged():
    proposal = Judged("a cat", "synthetic:self", score=1.0, p_match=0.6)
    outcome = decide([], "", [], [proposal], replace(RULES, end_threshold=-2.0))
    assert decisions(outcome) == ["add"]


def test_the_finding_of_a_cut_text_comes_from_its_probability_or_the_limit():
    curve = Isotonic(np.array([-2.0, 2.0]), np.array([0.1, 0.9]))
    endings = Calibration(curve, None, "", {"decides": False})
    rules = CalibratedRules(Calibration(None, None, "", {}), RULES, endings=endings)

    def codes(score, known=rules, audited=()):
        (text,) = known.judged(["a"], ["original"], [audited], [1.0], endings=[score])
        return text.findings

    assert (
        codes(-1.9) == ("cut_off",) and codes(1.0) == () and codes(None) == () and codes(float("nan")) == ()
    )
    assert codes(-1.9, audited=("cut_off",)) == ("cut_off",)
    limited = replace(rules, endings=replace(endings, threshold=1.5))
    assert codes(1.0, limited) == ("cut_off",) and codes(1.6, limited) == ()


def test_cut_texts_survive_being_written(tmp_path):
    text = Judged("a red b", findings=("cut_off",), score=1.0, p_match=0.9, end_score=-3.5, p_complete=0.25)
    outcome = decide([], "", [text], [], RULES)
    write_outcomes(tmp_path / "part.parquet", [outcome])
    (again,) = read_outcomes(tmp_path / "part.parquet")
    assert again.decisions[0].judged == text
