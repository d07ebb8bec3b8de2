"""Scores of pairs by a model that reads regions: a plain model beside the judges of `judges.py`, whose pictures are pixels.

Does not know: calibration, folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from pairloom.clean.picture_source import Floats
from pairloom.data.cut import CutTexts, cut_texts
from pairloom.data.pair import Pair
from pairloom.data.pixels import Unreadable
from pairloom.data.region_set import open_regions, picture_names
from pairloom.model import Model
from pairloom.model.pictures import look
from pairloom.runtime import Speed
from pairloom.tasks.judge import judge as score_texts
from pairloom.verbs import demand_way
from pairloom.weights import load

GROUP = 32  # pictures whose texts are scored together


@dataclass(frozen=True)
class RegionJudgeAt:
    """Reference to a model on disk and to the regions that it reads, which tasks contain; each process opens them once."""

    where: str
    regions: str
    device: str = "cpu"
    speed: Speed = "exact"

    @property
    def model(self) -> Model:
        return _opened(self.where, self.regions, self.device, self.speed)

    def way(self) -> str:
        """The name of its score. Mistake where the model does not score captions."""
        return demand_way(self.model.system)

    def cut(self, texts: Sequence[str]) -> CutTexts:
        """Which texts are longer than the model reads."""
        return cut_texts(self.model.tokens, texts, self.model.config.length)

    def score(
        self, pairs: Sequence[Pair], rows: Sequence[int], texts: Sequence[str]
    ) -> tuple[Floats, dict[int, str]]:
        """Scores [n] of n requests (row of `pairs`, text), -inf where there are no regions; and row -> why there are none."""
        scores, problems = np.full(len(rows), -np.inf), dict[int, str]()
        wanted: dict[int, list[int]] = {}
        for at, row in enumerate(rows):
            wanted.setdefault(row, []).append(at)
        waiting: list[tuple[Any, list[int]]] = []
        for row, places in wanted.items():
            pair = pairs[row]
            try:
                regions = look(
                    self.model, picture_names(pair.image_key, pair.name, pair.image), pair.image.read
                )
            except Unreadable as error:
                problems[row] = str(error)
                continue
            waiting.append((regions, places))
            if len(waiting) == GROUP:
                self._group(waiting, texts, scores)
                waiting = []
        self._group(waiting, texts, scores)
        return scores, problems

    @torch.no_grad()
    def _group(self, group: Sequence[tuple[Any, list[int]]], texts: Sequence[str], scores: Floats) -> None:
        if not group:
            return
        at = [index for _, each in group for index in each]
        owner = [place for place, (_, each) in enumerate(group) for _ in each]
        batch = self.model.batch([one for one, _ in group], [texts[index] for index in at], image_of=owner)
        scores[at] = score_texts(self.model.system, batch)[0].double().cpu().numpy()


@lru_cache(maxsize=2)
def _opened(where: str, regions: str, device: str, speed: Speed) -> Model:
    return replace(load(where).to(device).eval().at_speed(speed), regions=open_regions(regions))
