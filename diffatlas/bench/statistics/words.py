"""What statistics are called in sentences."""

from __future__ import annotations


def p_words(p: float) -> str:
    """Return a p-value in words: "p = 0.034", "p < 0.001"."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}" if p < 0.995 else "p = 1"
