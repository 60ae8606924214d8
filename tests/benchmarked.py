"""Running a benchmark once, as small as can be: it raises where it did not do what it times."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run_short(name: str) -> str:
    """Return what ``python -m benchmarks.NAME --short`` prints; it must end well."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", "--short"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
