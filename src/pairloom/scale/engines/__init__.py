"""Engines that run shard functions: a file each, with `run(function, items, workers)`."""
