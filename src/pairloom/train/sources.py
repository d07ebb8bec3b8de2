"""Data of a run: its sets, read once and split into training and held-out examples, and the tokenizer trained on them."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pairloom import registry
from pairloom.data.mixture import Mixture
from pairloom.data.region_set import RegionSet
from pairloom.data.tokens import Tokens
from pairloom.errors import Mistake
from pairloom.frozen import encode_once, tower_rows
from pairloom.model import Model
from pairloom.train.order import TrainRequest
from pairloom.train.region_inputs import kinds_of

SAMPLE = 200_000  # most texts that a tokenizer is trained on
HELD_OUT = 1000  # most examples held out


@dataclass(frozen=True)
class Loaders:
    """Loaders of a run. learn: of the training examples; held_out: of the held-out ones, None where there are too few; mixed:
    `learn` mixed with the other sets, where there are any."""

    learn: Any
    held_out: Any
    mixed: Mixture | None = None


@dataclass(frozen=True)
class Sources:
    """The main set of a run, and the sets that are mixed in, each with its weight."""

    main: Any
    others: tuple[tuple[Any, float], ...] = ()

    @property
    def skipped(self) -> dict[str, int]:
        """Number of examples of the main set that cannot be used, by reason."""
        return dict(self.main.index.skipped)

    @property
    def count(self) -> int:
        """Number of texts of the main set."""
        count: int = self.main.count
        return count

    def tokenizer(self, vocabulary: int, clean: str = "") -> Tokens:
        """Train a tokenizer on every n-th text of all sets. clean: how it cleans texts first."""
        sets = [self.main, *(other for other, _ in self.others)]
        texts = (text for one in sets for group in one.words() for text in group)
        every = 1 + sum(one.count for one in sets) // SAMPLE
        return Tokens.train(itertools.islice(texts, 0, None, every), vocabulary, clean)

    def batches(self, model: Model, request: TrainRequest) -> Loaders:
        """Loaders for a model."""

        def loader(source: Any, rows: Any, training: bool) -> Any:
            batches = source.loader(model.tokens, model.config, model.feed, rows, training, request.workers)
            return batches if tower is None else encode_once(batches, tower, request.out)

        tower = tower_rows(model.system)

        learning, held_out = self.main.split(request.held_out)
        learn = loader(self.main, learning, True)
        aside = loader(self.main, held_out[:HELD_OUT], False) if len(held_out) > 1 else None
        if not self.others:
            return Loaders(learn, aside)
        more = [loader(other, other.split(request.held_out)[0], True) for other, _ in self.others]
        weights = (1.0, *(weight for _, weight in self.others))
        return Loaders(learn, aside, Mixture((learn, *more), weights))


def open_sources(request: TrainRequest, aside: Path | None, regions: RegionSet | None = None) -> Sources:
    """Read the sets of a request as examples of the kind that its system is trained on. aside: a folder for files of these
    sets; regions: of their pictures, for a system that reads those."""
    kinds = kinds_of(request)
    if request.negatives is not None:
        return Sources(_with_negatives(request, kinds, aside))
    adapter = registry.find("data.datasets", kinds[0]).Dataset
    more = () if regions is None else (regions,)
    others = tuple((adapter(path, aside, *more), weight) for path, weight in map(_weighed, request.mix))
    return Sources(adapter(request.data, aside, *more), others)


def _with_negatives(request: TrainRequest, kinds: tuple[str, ...], aside: Path | None) -> Any:
    """The pictures of the set with their hard negatives from the table."""
    if request.mix or "negatives" not in kinds:
        alone = "A table of them is a set by itself."
        raise Mistake(
            "Negatives cannot be used here.",
            alone if request.mix else f"{request.name} does not learn from them.",
            f"Leave out {'--mix' if request.mix else '--negatives'}.",
        )
    return registry.find("data.datasets", "negatives").Dataset(request.data, aside, request.negatives)


def _weighed(word: str) -> tuple[Path, float]:
    """Parse PATH=WEIGHT. Mistake for another form, and for a weight that is not above 0."""
    path, equals, number = word.rpartition("=")
    try:
        weight = float(number)
    except ValueError:
        weight = 0.0
    if not equals or not 0 < weight < math.inf:
        raise Mistake(f"'{word}' is no set with a weight.", "", "Write PATH=WEIGHT, say --mix pairs=0.2.")
    return Path(path), weight
