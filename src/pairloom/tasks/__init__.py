"""Tasks: algorithms that run on a model. Each requires abilities and methods (verbs.py), never a class."""
