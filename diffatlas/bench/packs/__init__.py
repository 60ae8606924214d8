"""Packs of tasks: read from files, written to them, and those that are shipped."""
