"""pairloom: learn from image-text pairs, find the bad ones, rewrite them."""

__version__ = "0.1.0"
