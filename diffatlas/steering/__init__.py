"""Changing a run on purpose: its guidance, sample by sample, and its noise. What only reads is in `capture`."""

#: Raised by one whenever steering makes something else of the same request. Part of the cache key of a steered run.
STEERING_FORMAT = 1
