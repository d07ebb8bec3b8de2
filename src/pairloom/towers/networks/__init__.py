"""Networks of image towers: one family a file, found by its name.

A file has `CLAIM` (one line for the docs), `MODEL_TYPES` (the `model_type` of transformers' configs), `sniff(names)`, which says
whether the names of a file's tensors are this family's in any layout, and `build(weights) -> Encoder`.
"""
