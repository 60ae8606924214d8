"""Keeping runs: a folder per run, written as the run goes, and an index to find them by."""

from __future__ import annotations

from diffatlas.library.find import Found
from diffatlas.library.format import RunInfo
from diffatlas.library.store import Library, Usage
from diffatlas.library.stored import StoredRun

__all__ = ["Found", "Library", "RunInfo", "StoredRun", "Usage"]
