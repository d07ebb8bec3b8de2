"""The drawn world: scenes, pictures and texts with known truth."""
