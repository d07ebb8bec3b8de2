"""One paper, one file: its claim, a legend, Config (the numbers of the paper), TINY, System."""
