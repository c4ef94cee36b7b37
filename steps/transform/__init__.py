"""Batch transform: every object below a prefix through a model, one `.out` object for each."""
