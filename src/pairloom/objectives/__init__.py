"""Tensors in, scalars out. Knows no parameters: a temperature is handed in."""
