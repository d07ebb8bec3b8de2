"""Files, pixels, strings. Knows no network layers."""
