"""Keeping runs: a folder per run, written as the run goes."""

from __future__ import annotations

from diffatlas.library.format import RunInfo
from diffatlas.library.store import Library
from diffatlas.library.stored import StoredRun

__all__ = ["Library", "RunInfo", "StoredRun"]
