"""Benchmarks: one benchmark a file, and the machinery that runs them."""
