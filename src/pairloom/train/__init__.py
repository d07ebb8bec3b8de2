"""Training: from a request to a model folder. The loop, its optimisers and its checkpoints are independent of the modality;
only `chunks` (two towers), `reward` (the image of a text) and `starting` (the size of a model) refer to images."""
