"""Judges: scorers of "do this picture and this text belong together?" that can be saved, loaded and passed to `clean`.

A judge is one model, or several cross-fitted ones (folds): the content hash of a picture names its fold, whose model was
trained without the pictures of that fold. This holds for pictures of the set and for new ones, so that the saved judge gives
the pairs of its own set the scores of the ledger. A fold with references scores pointwise mutual information (see
`JudgeFold`); one without has the best score of its system. The calibration turns scores into P(match) and decisions.

Does not know: the audit's findings, how a fold was trained.

n requests (a picture and a text), S pixels a side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError

from pairloom import model as models
from pairloom.blocks.tensors import tensors_of
from pairloom.checkpoints.settings import JsonSettings
from pairloom.clean.calibrate import Calibration
from pairloom.clean.calibrated_judge import CalibratedJudge
from pairloom.clean.folds import JudgeFold, fold_of, read_references, write_references
from pairloom.clean.judge_file import FILE, VERSION, is_judge, write_judge
from pairloom.clean.picture_source import Floats, PictureSource
from pairloom.clean.ridge_judge import RidgeJudge
from pairloom.data.cut import CutTexts, cut_texts
from pairloom.data.pair import content_hash
from pairloom.data.pixels import Unreadable
from pairloom.errors import Mistake
from pairloom.model import Model, read_json
from pairloom.runtime import Speed
from pairloom.runtime.speeds import SCALED
from pairloom.runtime.threads import one_thread
from pairloom.tasks.judge import judge as score_texts
from pairloom.verbs import demand_way
from pairloom.weights import load as load_model

GROUP = 32  # pictures that a plain model encodes together


@dataclass(frozen=True)
class Judge(CalibratedJudge):
    """Image-text judge: cross-fitted folds, or one model, with the calibration of its set.

    size: pixels a side of the pictures of folds with references. source: path of a plain model, to which a saved judge refers
    without copying it. speed: of the inference engine for a plain model (None: no engine).
    """

    folds: tuple[JudgeFold, ...]
    by: str
    name: str = "self"
    size: int = 64
    calibration: Calibration | None = None
    source: str | None = None
    speed: Speed | None = field(default=None, compare=False)

    def fold_of(self, image_key: str) -> int:
        return fold_of(image_key, len(self.folds)) if self.folds else 0

    def score(self, pictures: PictureSource, rows: Sequence[int], texts: Sequence[str]) -> Floats:
        """Scores [n] of n requests (row, text). All 0 for a judge without folds, whose set was too small to train on."""
        scores = np.zeros(len(rows))
        if not self.folds or not len(rows):
            return scores
        keys = dict(zip(distinct := sorted(set(rows)), pictures.keys(distinct)))
        folds = np.array([self.fold_of(keys[row]) for row in rows])
        for number, fold in enumerate(self.folds):
            at = np.flatnonzero(folds == number)
            if len(at):
                places = at.tolist()
                chosen = [rows[place] for place in places], [texts[place] for place in places]
                scores[at] = (
                    self._plain(fold.model, pictures, *chosen)
                    if fold.references is None
                    else self._contrast(fold, pictures, *chosen)
                )
        return scores

    def _contrast(
        self, fold: JudgeFold, pictures: PictureSource, rows: Sequence[int], texts: Sequence[str]
    ) -> Floats:
        seen, owner = np.unique(np.asarray(rows), return_inverse=True)
        pixels, readable = pictures.pixels(seen.tolist(), self.size)
        with one_thread():
            scores = fold.contrast(pixels, owner, texts)
        return np.where(readable[owner], scores, -np.inf)

    def _plain(
        self, model: Model, pictures: PictureSource, rows: Sequence[int], texts: Sequence[str]
    ) -> Floats:
        """Scores of a plain model, on the pictures in its own size. Each picture is encoded once."""
        wanted: dict[int, list[int]] = {}
        for at, row in enumerate(rows):
            wanted.setdefault(row, []).append(at)
        scores = np.full(len(rows), -np.inf)
        waiting: list[tuple[Image.Image, list[int]]] = []
        for row, data in pictures.encoded(sorted(wanted)):
            try:
                image = model.pixels.read(data, scaled=self.speed in SCALED)
            except Unreadable:
                continue
            waiting.append((image, wanted[row]))
            if len(waiting) == GROUP:
                self._group(model, waiting, texts, scores)
                waiting = []
        self._group(model, waiting, texts, scores)
        return scores

    @torch.no_grad()
    def _group(
        self, model: Model, group: list[tuple[Image.Image, list[int]]], texts: Sequence[str], scores: Floats
    ) -> None:
        if not group:
            return
        at = [index for _, each in group for index in each]
        owner = [place for place, (_, each) in enumerate(group) for _ in each]
        batch = model.batch([image for image, _ in group], [texts[index] for index in at], image_of=owner)
        scores[at] = score_texts(model.system, batch)[0].double().cpu().numpy()

    # saving

    def calibrated(self, calibration: Calibration | None, words: Calibration | None = None) -> Judge:
        """The same judge with another calibration; it tells no words."""
        return replace(self, calibration=calibration)

    def save(self, folder: Path | str) -> Path:
        """Save the judge as a folder: judge.json, and its first fold as a model folder, so that `load` and all commands can
        read it.

        Further folds are in folds/, references in references/. For a plain model judge.json has the path of the model.
        """
        folder = Path(folder)
        places = ["." if not number else f"folds/{number}" for number in range(len(self.folds))]
        references = [
            f"references/{number}.safetensors" if fold.references is not None else None
            for number, fold in enumerate(self.folds)
        ]
        for fold, place, file in zip(self.folds, places, references):
            if self.source is None:
                models.save(fold.model, folder / place)
            if fold.references is not None and file is not None:
                write_references(folder / file, fold.references)
        plain = self.source is not None
        write_description(folder, self, [] if plain else places, [] if plain else references)
        return folder

    @cached_property
    def identity(self) -> str:
        """Content hash of everything that the judge's scores depend on."""
        parts = [f"{self.by} {self.size} {self.source}".encode()]
        for fold in self.folds:
            parts += [
                tensor.detach().cpu().numpy().tobytes() for tensor in tensors_of(fold.model.system).values()
            ]
            parts.append(fold.model.tokens.to_json().encode())
            if fold.references is not None:
                parts += [
                    fold.references.pictures.cpu().numpy().tobytes(),
                    fold.references.texts.cpu().numpy().tobytes(),
                ]
        return content_hash(*parts)


def write_description(
    folder: Path, judge: Judge, folds: Sequence[str], references: Sequence[str | None]
) -> None:
    """Write judge.json, last, since it marks a complete judge. folds, references: paths relative to the folder."""
    described = {
        "kind": "models", "name": judge.name, "by": judge.by, "size": judge.size,
        "model": judge.source, "folds": list(folds), "references": list(references),
    }  # fmt: skip
    write_judge(folder, described, judge.calibration)


def load_judge(folder: Path | str, device: torch.device | str = "cpu") -> CalibratedJudge:
    """Load a saved judge, with the scores of its ledger. Mistake where there is none, or one of another version."""
    folder = Path(folder)
    known = read_json(folder / FILE)
    if "judge" not in known:
        raise Mistake(
            f"There is no judge in {folder}.",
            f"A judge's folder has a {FILE}.",
            "Give models/judge of a finished run of `pairloom clean`.",
        )
    if known["judge"] != VERSION:
        raise Mistake(
            f"The judge in {folder} has version {known['judge']}; this pairloom reads version {VERSION}.",
            f"It was written by pairloom {known.get('pairloom', 'of an unknown version')}.",
            "Clean its set again, or use that version of pairloom.",
        )
    described = JsonSettings(folder / FILE, known)
    try:
        by, name, size = described.text("by"), described.text("name"), described.whole("size", most=1 << 14)
        calibration = None if known["calibration"] is None else Calibration.from_dict(known["calibration"])
        if known["kind"] == "ridge":
            words = known["word_calibration"]
            ridge = RidgeJudge.load(folder, known, calibration, str(device))
            return ridge.calibrated(calibration, None if words is None else Calibration.from_dict(words))
        places = [folder / place for place in known["folds"]] or [known["model"]]
        files = known["references"] or [None]
        folds = tuple(
            JudgeFold(load_model(place).to(device).eval(), read_references(folder, file))
            for place, file in zip(places, files, strict=True)
            if place is not None
        )
        return Judge(folds, by, name, size, calibration, described.text("model") if known["model"] else None)
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        RuntimeError,
        OSError,
        SafetensorError,
    ) as error:
        raise Mistake(
            f"The judge in {folder} is not whole.",
            f"{type(error).__name__}: {error}",
            "Copy the whole folder.",
        ) from error


def judge_of_model(
    where: Path | str, device: torch.device | str = "cpu", speed: Speed | None = None
) -> Judge:
    """A judge of one plain model. Mistake where the model does not score captions, with its abilities."""
    model = load_model(where).to(device)
    way = demand_way(model.system)
    source = str(Path(where).resolve()) if Path(where).exists() else str(where)
    answering = model.at_speed(speed) if speed else model
    return Judge((JudgeFold(answering),), way, str(where), model.pixels.size, None, source, speed)


def open_judge(
    where: Path | str, device: torch.device | str = "cpu", speed: Speed | None = None
) -> CalibratedJudge:
    """Load the judge in a folder, or the model there as a judge."""
    if not is_judge(where):
        return judge_of_model(where, device, speed)
    if speed not in (None, "exact"):
        why = "Its scores are those of its ledger, which another engine would change."
        raise Mistake(f"{where} is a judge, which has one speed.", why, "Leave out --speed.")
    return load_judge(where, device)


@dataclass(frozen=True)
class JudgeAt:
    """Reference to a judge on disk (a judge's or a model's folder), which tasks contain; each process loads it once."""

    where: str
    device: str = "cpu"
    speed: Speed | None = None

    @property
    def judge(self) -> CalibratedJudge:
        return _opened(self.where, self.device, self.speed, _changed(self.where))

    @property
    def name(self) -> str:
        return self.where

    def way(self) -> str:
        return self.judge.by

    def fold_of(self, image_key: str) -> int:
        return self.judge.fold_of(image_key)

    def score(self, pictures: PictureSource, rows: Sequence[int], texts: Sequence[str]) -> Floats:
        return self.judge.score(pictures, rows, texts)

    @property
    def tells_words(self) -> bool:
        return isinstance(self.judge, RidgeJudge) and self.judge.tells_words

    def wrong_words(
        self, pictures: PictureSource, rows: Sequence[int], texts: Sequence[str]
    ) -> list[list[tuple[str, float]]]:
        return self._words.wrong_words(pictures, rows, texts)

    def exchange(self, text: str, others: Sequence[str], seed: int) -> str | None:
        return self._words.exchange(text, others, seed)

    @property
    def _words(self) -> RidgeJudge:
        assert isinstance(self.judge, RidgeJudge)
        return self.judge


def _changed(where: str) -> int:
    """Time of the last change of a folder's description."""
    files = [Path(where) / name for name in (FILE, "config.json")]
    return max((file.stat().st_mtime_ns for file in files if file.is_file()), default=0)


@lru_cache(maxsize=1)
def _opened(where: str, device: str, speed: Speed | None, _: int) -> CalibratedJudge:
    return open_judge(where, device, speed)


def cut_by(judge: CalibratedJudge, texts: Iterable[str]) -> CutTexts:
    """The texts that are longer than a judge's models read; none for a ridge regression, which reads whole texts."""
    if not isinstance(judge, Judge) or not judge.folds:
        return CutTexts()
    model = judge.folds[0].model
    return cut_texts(model.tokens, texts, model.config.length)
