"""Training: from a request to a model folder. The loop, its optimisers and its checkpoints know no modality; only `chunks`
(two towers), `reward` (which image a text is of) and `starting` (the size of a model) speak of images."""
