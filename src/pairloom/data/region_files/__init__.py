"""Layouts of regions on disk, one file a layout, found by its name.

A layout has
    CLAIM                      one line, for people
    sniff(path) -> bool        by content; exactly one layout says yes to a path
    index(path) -> dict        name of each record, as the layout has it (a picture's file name or id) -> where it lies
    read(path, where)          -> Detected; Unreadable with the reason where the record cannot be used
`data/region_set.py` joins records to pictures and checks what was read. Nothing is ever unpickled.
"""
