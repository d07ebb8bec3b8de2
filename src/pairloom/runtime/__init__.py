"""Runtime: how a system is run on the machine at hand. Knows no tasks, no files."""
