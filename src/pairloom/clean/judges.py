"""Judges: scorers of "do this picture and this text belong together?" that can be saved, loaded and passed to `clean`.

A judge is one model, or several cross-fitted ones (folds): the content hash of a picture names its fold, whose model was
trained without the pictures of that fold. This holds for pictures of the set and for new ones, so that the saved judge gives
the pairs of its own set the scores of the ledger. A fold with references scores pointwise mutual information (see
`JudgeFold`); one without has the best score of its system. The calibration turns scores into P(match) and decisions.

Does not know: the audit's findings, how a fold was trained.

n requests (a picture and a text), S pixels a side.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError

import pairloom
from pairloom import model as models
from pairloom.blocks.tensors import tensors_of
from pairloom.clean import audit
from pairloom.clean.calibrate import Calibration
from pairloom.clean.folds import Floats, JudgeFold, fold_of, read_references, write_references
from pairloom.clean.ledger import DROP, KEEP
from pairloom.data.disk import atomic_write
from pairloom.data.pair import content_hash
from pairloom.data.pixels import Unreadable
from pairloom.errors import Mistake
from pairloom.model import Model, read_json
from pairloom.runtime import Speed
from pairloom.runtime.threads import one_thread
from pairloom.tasks.judge import judge as score_texts
from pairloom.verbs import demand_way
from pairloom.weights import load as load_model

Picture = bytes | Path | str | Image.Image
FILE, VERSION = "judge.json", 1
GROUP = 32  # pictures that a plain model encodes together


@runtime_checkable
class PictureSource(Protocol):
    """Interface of a source of pictures, by row."""

    def keys(self, rows: Sequence[int]) -> list[str]:
        """Content hash of each row's encoded picture."""
        ...

    def pixels(self, rows: Sequence[int], size: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Pixels [n S S 3], resized as in the audit, and which of them are readable [n]."""
        ...

    def encoded(self, rows: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """Encoded pictures as (row, bytes), of these distinct rows in rising order, without unreadable ones."""
        ...


@runtime_checkable
class PairJudge(Protocol):
    """Interface of a judge. It is pickled to every worker, so it refers to large files by path and loads them when needed.

    name: its name in run.json.
    """

    @property
    def name(self) -> str: ...

    def way(self) -> str:
        """Name of its score, such as "match head"."""
        ...

    def score(self, pictures: PictureSource, rows: Sequence[int], texts: Sequence[str]) -> Floats:
        """Scores [n] of n requests (row, text), higher is better; -inf where a picture cannot be read."""
        ...


@dataclass(frozen=True)
class Judgement:
    """Judgement of n requests: scores, P(match) (NaN where it is unknown) and decisions, "keep" or "drop"."""

    scores: Floats
    p_match: Floats
    decisions: list[str]
    by: str


@dataclass(frozen=True)
class Judge:
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

    # scores of pictures as users have them

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
        shown = [pictures] if isinstance(pictures, (bytes, str, Path, Image.Image)) else list(pictures)
        wanted = [texts] if isinstance(texts, str) else list(texts)
        owner = (
            image_of if image_of is not None else range(len(shown)) if len(shown) > 1 else [0] * len(wanted)
        )
        if len(owner) != len(wanted):
            raise ValueError(
                f"{len(shown)} pictures, {len(wanted)} texts: give the picture of each text by image_of"
            )
        return self.score(GivenPictures(shown), list(owner), wanted)

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
        """Judge texts: scores, P(match) and decisions; see `scores` for the arguments."""
        scores = self.scores(pictures, texts, image_of)
        return Judgement(scores, self.p_match(scores), self.decide(scores), self.by)

    def _calibrated(self) -> Calibration:
        if self.calibration is None:
            raise Mistake(
                "This judge has no calibration.",
                "P(match) is learnt from planted mismatches of a set.",
                "Clean a set with it: clean(pairs, out, judge=...); out/models/judge then has a calibration.",
            )
        return self.calibration

    # scores by row

    def way(self) -> str:
        return self.by

    def score(self, pictures: PictureSource, rows: Sequence[int], texts: Sequence[str]) -> Floats:
        """Scores [n] of n requests (row, text). All 0 for a judge without folds, whose set was too small to train on."""
        scores = np.zeros(len(rows))
        if not self.folds or not len(rows):
            return scores
        keys = dict(zip(distinct := sorted(set(rows)), pictures.keys(distinct)))
        folds = np.array([fold_of(keys[row], len(self.folds)) for row in rows])
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
                image = model.pixels.read(data, scaled=self.speed == "fast")
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

    def calibrated(self, calibration: Calibration | None) -> Judge:
        """The same judge with another calibration."""
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
        "pairloom": pairloom.__version__, "judge": VERSION, "name": judge.name, "by": judge.by, "size": judge.size,
        "model": judge.source, "folds": list(folds), "references": list(references),
        "calibration": None if judge.calibration is None else judge.calibration.to_dict(),
    }  # fmt: skip
    with atomic_write(folder / FILE, replace=True) as out:
        out.write((json.dumps(described, indent=1) + "\n").encode())


def is_judge(folder: Path | str) -> bool:
    """Whether a folder holds a saved judge."""
    return (Path(folder) / FILE).is_file()


def load_judge(folder: Path | str, device: torch.device | str = "cpu") -> Judge:
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
    try:
        places = [folder / place for place in known["folds"]] or [known["model"]]
        files = known["references"] or [None]
        folds = tuple(
            JudgeFold(load_model(place).to(device).eval(), read_references(folder, file))
            for place, file in zip(places, files, strict=True)
            if place is not None
        )
        calibration = None if known["calibration"] is None else Calibration.from_dict(known["calibration"])
        return Judge(folds, known["by"], known["name"], known["size"], calibration, known["model"])
    except (KeyError, TypeError, ValueError, OSError, SafetensorError) as error:
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


def open_judge(where: Path | str, device: torch.device | str = "cpu", speed: Speed | None = None) -> Judge:
    """Load the judge in a folder, or the model there as a judge."""
    if not is_judge(where):
        return judge_of_model(where, device, speed)
    if speed == "fast":
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
    def judge(self) -> Judge:
        return _opened(self.where, self.device, self.speed, _changed(self.where))

    @property
    def name(self) -> str:
        return self.where

    def way(self) -> str:
        return self.judge.by

    def score(self, pictures: PictureSource, rows: Sequence[int], texts: Sequence[str]) -> Floats:
        return self.judge.score(pictures, rows, texts)


def _changed(where: str) -> int:
    """Time of the last change of a folder's description."""
    files = [Path(where) / name for name in (FILE, "config.json")]
    return max((file.stat().st_mtime_ns for file in files if file.is_file()), default=0)


@lru_cache(maxsize=1)
def _opened(where: str, device: str, speed: Speed | None, _: int) -> Judge:
    return open_judge(where, device, speed)


class GivenPictures:
    """Picture source of a list of files, encoded bytes or PIL images; row i is picture i."""

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self.pictures = pictures

    @cached_property
    def _read(self) -> list[bytes | None]:
        return [_bytes_of(picture) for picture in self.pictures]

    def keys(self, rows: Sequence[int]) -> list[str]:
        return [content_hash(self._read[row] or b"") for row in rows]

    def pixels(self, rows: Sequence[int], size: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        return shrunk((self._read[row] for row in rows), size)

    def encoded(self, rows: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        for row in rows:
            data = self._read[row]
            if data is not None:
                yield row, data


def _bytes_of(picture: Picture) -> bytes | None:
    """Encoded bytes of a picture; None where a file cannot be read. A PIL image is encoded without loss."""
    if isinstance(picture, bytes):
        return picture
    if isinstance(picture, Image.Image):
        from io import BytesIO

        file = BytesIO()
        picture.save(file, "PNG")
        return file.getvalue()
    try:
        return Path(picture).read_bytes()
    except OSError:
        return None


def shrunk(encoded: Iterator[bytes | None], size: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Pixels [n S S 3], resized as in the audit, black for unreadable pictures, and which pictures are readable [n]."""
    pixels, readable = [], []
    for data in encoded:
        try:
            pixels.append(audit.thumbnail(data or b"", size))
            readable.append(True)
        except (Unreadable, OSError):
            pixels.append(np.zeros((size, size, 3), np.uint8))
            readable.append(False)
    return np.stack(pixels), np.array(readable, bool)
