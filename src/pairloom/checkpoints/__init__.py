"""Files of weights that others published: reading, renaming of tensors, the local hub cache."""
