"""Numbers in, numbers out. Knows no torch."""
