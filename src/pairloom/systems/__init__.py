"""Systems: one paper a file, with its claim, the letters of its shapes, Config (the paper's numbers), TINY and System."""
