"""Pairs of which those of one class are no negatives of each other, where every picture of the set has a class (metadata `class`);
else as `pairs`. Does not know: networks."""

from __future__ import annotations

from pairloom.data.datasets import pairs
from pairloom.data.order import Rows


class Dataset(pairs.Dataset):
    """Dataset adapter (see `data/datasets`)."""

    def ids(self) -> Rows:
        """[M] equal numbers for pictures of one class."""
        classes = self.index.class_ids()
        return super().ids() if classes is None else classes
