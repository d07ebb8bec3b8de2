"""The main job: audit, judge, calibrate, caption, filter, prove, report."""
