"""The shell's commands, a module for each group of them; `program` puts them together."""

from diffatlas.cli.program import app, main, run

__all__ = ["app", "main", "run"]
