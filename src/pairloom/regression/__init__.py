"""Kernel ridge regression between features of pictures and texts: what the judge `self` and the model `ridge` are made of."""
