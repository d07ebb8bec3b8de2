"""Attention, transformers, embedders, masks: torch only, and no paper by name."""
