"""Annotation files of tasks that ask more than pairs can: one file, one published layout.

A module says `sniff(path)` -> "questions", "statements", "dialogs", "documents" or "" where the layout is not its own, and
`read(path)` -> the examples, streaming; a broken one carries a problem. CLAIM names the layout in a line.
"""
