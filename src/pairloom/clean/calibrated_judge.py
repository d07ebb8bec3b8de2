"""Calibrated judge: scores, P(match) and decisions for pictures as users have them, whatever computes the scores.

Does not know: models, files of a judge.

n requests (a picture and a text).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pairloom.clean.calibrate import Calibration
from pairloom.clean.ledger import DROP, KEEP
from pairloom.clean.picture_source import Floats, GivenPictures, Picture, PictureSource
from pairloom.clean.word_scores import JudgesWords, WordsOfText
from pairloom.errors import Mistake


@dataclass(frozen=True)
class Judgement:
    """Judgement of n requests: scores, P(match) (NaN where it is unknown) and decisions, "keep" or "drop". p_words: the least
    P(all words of the text are right), NaN where no word was judged; wrong_words: those that may well be wrong, of each text."""

    scores: Floats
    p_match: Floats
    decisions: list[str]
    by: str
    p_words: Floats
    wrong_words: list[tuple[str, ...]]


class CalibratedJudge(ABC):
    """Base class of judges that can be saved, loaded and handed to `clean`.

    by: name of the score, such as "match head". name: of the judge in run.json. calibration: of its set (None: not yet);
    word_calibration: that of single words (None: it does not tell them).
    """

    by: str
    name: str
    calibration: Calibration | None
    word_calibration: Calibration | None = None

    @abstractmethod
    def score(self, pictures: PictureSource, rows: Sequence[int], texts: Sequence[str]) -> Floats:
        """Scores [n] of n requests (row, text), higher is better; -inf where a picture cannot be read."""

    @abstractmethod
    def calibrated(
        self, calibration: Calibration | None, words: Calibration | None = None
    ) -> CalibratedJudge:
        """The same judge with another calibration, and another one of single words."""

    @abstractmethod
    def save(self, folder: Path | str) -> Path:
        """Save the judge as a folder."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """Content hash of everything that the judge's scores depend on."""

    def way(self) -> str:
        return self.by

    def fold_of(self, image_key: str) -> int:
        """The fold of a picture: scores in it come from what was fitted without its pictures. 0 for a judge without folds."""
        return 0

    def scores(
        self,
        pictures: Sequence[Picture] | Picture,
        texts: Sequence[str] | str,
        image_of: Sequence[int] | None = None,
    ) -> Floats:
        """Scores [n], higher is better, of text i with picture image_of[i] (without image_of picture i; a single picture: of
        all texts).

        Pictures are files, encoded bytes or PIL images; the score is -inf where one cannot be read. For folds with
        references, and the encoded pictures of the ledger's run, the scores equal the ledger's to the last bit; a plain
        model's scores agree up to rounding.
        """
        return self.score(*_requests(pictures, texts, image_of))

    def p_match(self, scores: Floats) -> Floats:
        """P(match) of scores; NaN where they are not finite. Mistake where the judge has no calibration."""
        finite = np.isfinite(scores)
        chances = np.full(np.shape(scores), np.nan)
        chances[finite] = self._calibrated().p_match(np.asarray(scores)[finite])
        return chances

    def decide(self, scores: Floats) -> list[str]:
        """Decisions: "drop" for each score below the threshold, else "keep"; all "keep" without a threshold."""
        threshold = self._calibrated().threshold
        return [DROP if threshold is not None and score < threshold else KEEP for score in scores]

    def __call__(
        self,
        pictures: Sequence[Picture] | Picture,
        texts: Sequence[str] | str,
        image_of: Sequence[int] | None = None,
    ) -> Judgement:
        """Judge texts: scores, P(match), wrong words and decisions; see `scores` for the arguments."""
        source, owner, wanted = _requests(pictures, texts, image_of)
        scores = self.score(source, owner, wanted)
        decisions, chances = self.decide(scores), np.full(len(wanted), np.nan)
        doubted: list[tuple[str, ...]] = [()] * len(wanted)
        known = self.word_calibration
        if known is not None and isinstance(self, JudgesWords):
            for at, entries in enumerate(self.wrong_words(source, owner, wanted)):
                words = WordsOfText([word for word, _ in entries], [odds for _, odds in entries])
                if entries:
                    chances[at] = known.p_match(np.array([words.score]))[0]
                    doubted[at] = words.doubted(known)
                    if known.threshold is not None and words.score < known.threshold:
                        decisions[at] = DROP
        return Judgement(scores, self.p_match(scores), decisions, self.by, chances, doubted)

    def _calibrated(self) -> Calibration:
        if self.calibration is None:
            raise Mistake(
                "This judge has no calibration.",
                "P(match) is learnt from planted mismatches of a set.",
                "Clean a set with it: clean(pairs, out, judge=...); out/models/judge then has a calibration.",
            )
        return self.calibration


def _requests(
    pictures: Sequence[Picture] | Picture, texts: Sequence[str] | str, image_of: Sequence[int] | None
) -> tuple[GivenPictures, list[int], list[str]]:
    """Pictures, the picture of each text, and texts, as a user gives them (see `CalibratedJudge.scores`)."""
    shown = [pictures] if isinstance(pictures, (bytes, str, Path, Image.Image)) else list(pictures)
    wanted = [texts] if isinstance(texts, str) else list(texts)
    owner = image_of if image_of is not None else range(len(shown)) if len(shown) > 1 else [0] * len(wanted)
    if len(owner) != len(wanted):
        raise ValueError(
            f"{len(shown)} pictures, {len(wanted)} texts: give the picture of each text by image_of"
        )
    return GivenPictures(shown), list(owner), wanted
