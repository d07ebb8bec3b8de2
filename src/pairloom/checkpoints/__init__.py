"""Files of weights that others published: reading, renaming of tensors, the local hub cache."""

from pairloom.checkpoints.hub import cached

__all__ = ["cached"]
