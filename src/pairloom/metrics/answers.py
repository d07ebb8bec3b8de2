"""Metrics of answers: VQA accuracy with its normalisation of answers (Antol et al., 2015), consistency over groups (NLVR2),
and NDCG over rated candidates (VisDial).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

MARKS = ';/[]"{}()=+\\_-><@`,?!'
NUMBERS = {
    word: str(number)
    for number, word in enumerate("zero one two three four five six seven eight nine ten".split())
} | {"none": "0"}
ARTICLES = {"a", "an", "the"}
DIGITS = re.compile(r"\d,\d")
STOP = re.compile(r"\.(?!\d)")
STOPS = (
    32  # most full stops that are taken out: the published evaluation hands a flag of 32 over as the count
)
# The contractions that the published evaluation restores the apostrophe of. Of those with two apostrophes it also restores
# the spellings that lack one of them.
SHORT = """
'ow's'at 'twas ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd
he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am might've mightn't mightn't've must've mustn't needn't not've
o'clock oughtn't shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd
someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've there're there's they'd
they'd've they'll they're they've wasn't we'd've we've weren't what'll what're what's what've when's where'd where's
where've who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'd've
y'all'll you'd you'd've you'll you're you've
"""


def _misspelt(word: str) -> set[str]:
    """The word without one of its apostrophes."""
    parts = word.split("'")
    return {
        "'".join([*parts[:at], parts[at] + parts[at + 1], *parts[at + 2 :]]) for at in range(len(parts) - 1)
    }


CONTRACTIONS = {wrong: word for word in SHORT.split() for wrong in _misspelt(word)} | {
    "somebody'd": "somebodyd"
}


def plain(answer: str) -> str:
    """VQA's normalisation of an answer: no punctuation, no articles, numbers up to ten as digits, contractions with their
    apostrophes."""
    text = answer
    inside = DIGITS.search(answer) is not None
    for mark in MARKS:
        apart = inside or f"{mark} " in answer or f" {mark}" in answer
        text = text.replace(mark, "" if apart else " ")
    words = [NUMBERS.get(word, word) for word in STOP.sub("", text, count=STOPS).lower().split()]
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)


def vqa_accuracy(answer_given: str, answers: Sequence[str]) -> float:
    """VQA accuracy of an answer: min(1, people who gave it / 3), averaged over leaving out each of the people once.

    As in the published code, answers are compared without normalisation where all people gave the same one, letter for
    letter. ValueError without `answers`.
    """
    if not answers:
        raise ValueError("nobody's answers to compare with")
    normalised, people = " ".join(answer_given.split()), [" ".join(answer.split()) for answer in answers]
    if len(set(people)) > 1:
        normalised, people = plain(normalised), [plain(answer) for answer in people]
    same = [one == normalised for one in people]
    return float(np.mean([min(1.0, (sum(same) - own) / 3) for own in same]))


def consistency(right: ArrayLike, group: Sequence[object]) -> float:
    """Consistency (NLVR2): share of the groups whose examples are all right. ValueError where there are none."""
    marks = np.asarray(right, dtype=bool)
    if marks.shape != (len(group),) or not len(group):
        raise ValueError(
            f"one group for each of the {marks.size} examples is needed, and one example at least"
        )
    whole: dict[object, bool] = {}
    for name, mark in zip(group, marks.tolist()):
        whole[name] = whole.get(name, True) and mark
    return sum(whole.values()) / len(whole)


def ndcg(scores: ArrayLike, relevance: ArrayLike) -> float:
    """Normalised discounted cumulative gain (VisDial 2018): the discounted gain of the k highest scores over that of an ideal
    order, where k is the number of relevant candidates.

    scores, relevance: [C]; among equal scores the first comes first. ValueError where no candidate is relevant.
    """
    ranking_scores, worth = np.asarray(scores, dtype=np.float64), np.asarray(relevance, dtype=np.float64)
    if ranking_scores.shape != worth.shape or ranking_scores.ndim != 1:
        raise ValueError(
            f"scores [C] and relevance [C] are needed, got {ranking_scores.shape} and {worth.shape}"
        )
    count = int((worth > 0).sum())
    if not count:
        raise ValueError("no candidate is relevant")
    weights = 1 / np.log2(np.arange(count) + 2)
    gains = worth[np.argsort(-ranking_scores, kind="stable")[:count]]
    return float((gains * weights).sum() / (np.sort(worth)[::-1][:count] * weights).sum())


def means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each number over the rows that have it."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}
