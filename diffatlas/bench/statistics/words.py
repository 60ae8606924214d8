"""What statistics are called in sentences."""

from __future__ import annotations


def p_words(p: float) -> str:
    """Return a p-value in words: "p = 0.034", "p < 0.001"."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}" if p < 0.995 else "p = 1"


def found_words(detectable: float) -> str:
    """Return a clause on the smallest difference that would have been found (`Compared.detectable`)."""
    if detectable >= 1:
        return "no difference would have been found: there are too few prompts"
    return f"{detectable:.2f} would have been found"
