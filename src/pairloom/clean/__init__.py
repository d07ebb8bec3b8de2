"""Cleaning of a set of image-text pairs: audit, judge, calibrate, caption, filter, prove, report."""
