"""How threads wait that have nothing to compute."""

from __future__ import annotations

import os


def let_threads_sleep() -> None:
    """Let idle threads of OpenMP sleep, unless the user has said how they wait (OMP_WAIT_POLICY).

    It holds for a torch that is imported later. They would spin, and starve whoever shares the cores: a browser that
    draws, or the other threads of the same program.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
