"""Losses: functions of tensors that return scalars. They own no parameters: a temperature is an argument."""
