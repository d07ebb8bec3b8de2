"""Caption metrics: all of them for captions against references, and the reason for each that could not be computed.

The texts are raw; they are tokenised here by `words`.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pairloom.errors import Mistake
from pairloom.metrics import diversity, java, overlap
from pairloom.metrics.overlap import Frequencies, Score
from pairloom.metrics.words import tokenize


@dataclass(frozen=True)
class Report:
    """Values of the caption metrics. scores: metric -> corpus value and each image's own, in the order of `images`. describes:
    statistics of the captions alone.

    not_computed: metric -> reason. frequencies: the source of CIDEr's document frequencies; values are comparable only with
    the same ones.
    """

    images: tuple[str, ...]
    scores: Mapping[str, Score]
    describes: Mapping[str, float]
    not_computed: Mapping[str, str]
    frequencies: str

    def values(self) -> dict[str, float | str]:
        """Metric -> value, or "not computed: reason"."""
        row: dict[str, float | str] = {name: score.value for name, score in self.scores.items()}
        return {
            **row,
            **self.describes,
            **{name: f"not computed: {why}" for name, why in self.not_computed.items()},
        }


def evaluate(
    captions: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    known: Frequencies | None = None,
    with_java: bool = True,
) -> Report:
    """Score one caption an image against its references.

    captions: image -> text; references: image -> texts, for at least the same images. known: CIDEr's document
    frequencies; None takes them from the references of these very images, as coco-caption does.
    Raises Mistake where an image has no caption or no reference.
    """
    images = tuple(captions)
    lacking = [image for image in images if not references.get(image)]
    if not images or lacking:
        what = (
            f"{len(lacking)} of {len(images)} captioned images have no reference."
            if images
            else "There is no caption."
        )
        raise Mistake(
            what,
            f"The first is '{lacking[0]}'." if lacking else "",
            "Give each image a caption and a reference.",
        )
    candidates = tokenize(captions[image] for image in images)
    wanted = [tokenize(references[image]) for image in images]
    scores = {f"BLEU-{n}": score for n, score in enumerate(overlap.bleu(candidates, wanted).scores, 1)}
    scores["ROUGE-L"] = overlap.rouge_l(candidates, wanted)
    absent: dict[str, str] = {}
    if known or len(images) > 1:
        scores["CIDEr-D"] = overlap.cider_d(candidates, wanted, known)
        scores["CIDEr"] = overlap.cider(candidates, wanted, known)
    else:
        absent |= dict.fromkeys(("CIDEr-D", "CIDEr"), "document frequencies of a single image are all equal")
    for name, program in (("METEOR", java.meteor), ("SPICE", java.spice)):
        why = java.missing(name) if with_java else "not asked for"
        try:
            if not why:
                scores[name] = program(candidates, wanted)
        except (OSError, ValueError, ImportError, subprocess.CalledProcessError) as error:
            why = f"{type(error).__name__}: {error}"
        if why:
            absent[name] = why
    source = (
        f"given table of {known.images} images" if known else f"the references of these {len(images)} images"
    )
    return Report(images, scores, _describe(candidates), absent, source)


def _describe(candidates: Sequence[str]) -> dict[str, float]:
    return {
        "words a caption": sum(len(text.split()) for text in candidates) / len(candidates),
        "vocabulary": float(diversity.vocabulary(candidates)),
        "distinct-1": diversity.distinct(candidates, 1),
        "distinct-2": diversity.distinct(candidates, 2),
        "repetition": diversity.repetition(candidates),
        "different captions": len(set(candidates)) / len(candidates),
    }
