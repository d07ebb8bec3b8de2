"""Metrics: functions of numbers and strings that return numbers. They do not use torch."""
