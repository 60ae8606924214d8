"""What statistics are called in sentences."""

from __future__ import annotations

from diffatlas.bench.statistics.detectable import detectable_difference
from diffatlas.bench.statistics.rates import Rate


def p_words(p: float) -> str:
    """Return a p-value in words: "p = 0.034", "p < 0.001"."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}" if p < 0.995 else "p = 1"


def rate_sentences(whole: Rate) -> list[str]:
    """Return what the images of a bench are worth, and what a bench of its size could show, a sentence each."""
    if whole.correlation is None:
        alike = "How much alike two images of one prompt are is not known: that takes several seeds, not all alike."
    else:
        said = f"{whole.correlation:.2f}".replace("-", "−")
        alike = f"Two images of one prompt are judged alike with a correlation of {said}."
    worth = (
        f"{whole.images} images of {whole.prompts} prompts are worth about {whole.effective:.0f} independent ones: a "
        f"design effect of {whole.design_effect:.1f}."
    )
    least = detectable_difference(whole)
    shown = (
        f"Another model would have to be better or worse by {least:.2f} for a bench of this size to show it four times "
        "of five; on the same prompts perhaps by less."
    )
    if least >= 1:
        shown = "A bench of this size is too small to show a difference from another model."
    return [alike, worth, shown]


def found_words(detectable: float) -> str:
    """Return a clause on the smallest difference that would have been found (`Compared.detectable`)."""
    if detectable >= 1:
        return "no difference would have been found: there are too few prompts"
    return f"{detectable:.2f} would have been found"
