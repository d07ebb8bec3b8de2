"""Regions of a training request: where they lie, and which settings of the system its set and its regions decide."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import fields, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from pairloom.config import override
from pairloom.data.asked import kind_of, open_examples
from pairloom.data.clips import SUFFIXES, read_clips
from pairloom.data.datasets.answers import VQA_LIST, common_answers
from pairloom.data.detected import Detected
from pairloom.data.feed import RegionFeed
from pairloom.data.pixels import Unreadable
from pairloom.data.region_set import HOW, RegionSet, layout_of, open_regions
from pairloom.errors import Mistake
from pairloom.model import Model
from pairloom.model.builder import feed_of, new_system
from pairloom.train.order import TrainRequest

READS = {
    "answers": "questions",
    "class_pairs": "pairs",
}  # a kind of dataset -> the kind of examples that it reads, where its name is another
COMPARED = 9  # pictures whose regions say how wide they are
TRIED = 100  # records among which one that can be used is looked for


def read_regions(request: TrainRequest) -> RegionSet | None:
    """The regions that the request's system reads: those it names, or the set itself where its pictures are regions (NLVR).

    None for a system of pixels. Mistake where regions are named for such a system, or where there are none for one of regions.
    """
    if not isinstance(feed_of(request.module, _config(request)), RegionFeed):
        if request.regions is not None:
            why = "It has an image network of its own."
            raise Mistake(f"{request.name} reads pictures, not regions.", why, "Leave out --regions.")
        return None
    if request.regions is None and not layout_of(request.data):
        why = "No --regions are named, and the set has none of its own."
        raise Mistake(f"{request.name} reads regions, not pictures.", why, HOW)
    return open_regions(request.regions or request.data)


def completed(request: TrainRequest, regions: RegionSet | None, begun: Model | None = None) -> TrainRequest:
    """The request with the settings of the system that it leaves to its data: how wide its regions are, how many classes their
    detector has, how many pictures its statements are about, which answers its questions have. begun: the model that it starts
    with, whose own list of answers stays."""
    config, chosen = _config(request), {word.partition("=")[0] for word in request.of("model")}
    open_to = {entry.name for entry in fields(config)} - chosen
    decided: dict[str, Any] = {}
    kind = kind_of(request.data)[0]
    if "pictures" in open_to and not config.pictures and kind == "statements":
        decided["pictures"] = len(next(iter(open_examples(request.data, "statements"))).images)
    if "judges" in open_to and kind == "statements":
        decided["judges"] = True  # what it begins with may never have learned it
    if "clip_features" in open_to and request.init is None:
        decided["clip_features"] = _clip_width(request.data)
    if "answer_list" in open_to and kind == "questions":
        own = begun.config.answer_list if begun is not None and begun.name == request.name else ()
        most = config.answers if "answers" in chosen else max(config.answers, VQA_LIST)
        listed = own or common_answers(request.data, most)
        decided |= {"answers": len(listed), "answer_list": json.dumps(listed)}
    elif "answer_list" in open_to and "answers" in open_to and request.init is None:
        decided["answers"] = 0  # nothing teaches them here, and a model is not asked what it never learned
    if regions is not None and request.init is None:
        detected = _some(regions)
        decided |= {"features": detected.features.shape[1]}
        kinds = {"classes": detected.class_probabilities, "attributes": detected.attribute_probabilities}
        decided |= {name: 0 if shares is None else shares.shape[1] for name, shares in kinds.items()}
    words = tuple(f"model.{name}={value}" for name, value in decided.items() if name in {*open_to, "answers"})
    return replace(request, settings=(*request.settings, *words))


def kinds_of(request: TrainRequest) -> tuple[str, ...]:
    """The kinds of sets that the request's system is trained on, with its settings; first the one that its set is."""
    with torch.device("meta"):
        system = new_system(request.name, _config(request), " ".join(request.of("model")) or request.preset)
    own = kind_of(request.data)[0] or "pairs"
    return tuple(sorted(system.trains_on, key=lambda kind: READS.get(kind, kind) != own))


def _config(request: TrainRequest) -> Any:
    presets = request.module.PRESETS
    return override(presets.get(request.preset, request.module.TINY), request.of("model"))


def _clip_width(data: Path) -> int:
    """How many features the clips of a folder have: those of the first file that can be read, or 0."""
    for file in sorted(one for one in data.rglob("*") if one.suffix in SUFFIXES):
        try:
            return read_clips(file).features.shape[1]
        except Unreadable:
            continue
    return 0


def _some(regions: RegionSet) -> Detected:
    """Regions of a picture, as wide as most of the first ones are. Mistake where none of many can be used."""
    reasons: list[str] = []
    usable: list[Detected] = []
    for record in islice(regions, TRIED):
        try:
            usable.append(regions[record])
        except Unreadable as error:
            reasons.append(f"{record}: {error}")
        if len(usable) == COMPARED:
            break
    if not usable:
        raise Mistake(f"The regions in {regions.path} cannot be used.", f"{reasons[0]}.", HOW)
    width = Counter(one.features.shape[1] for one in usable).most_common(1)[0][0]
    return next(one for one in usable if one.features.shape[1] == width)
