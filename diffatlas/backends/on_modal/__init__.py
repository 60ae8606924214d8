"""Runs on Modal, without the package `modal`: frames, the worker, a run that is followed, prices, errors in words."""
