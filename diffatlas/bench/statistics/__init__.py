"""Statistics of verdicts on images, where the images of a prompt are not independent of each other.

``values`` are what was judged, one number an image: 0 and 1, or a score between them. ``prompts`` say, image by image,
of which prompt it is. What is resampled, flipped and counted is the prompt.
"""

from diffatlas.bench.statistics.agreement import Agreement, agreement
from diffatlas.bench.statistics.clusters import (
    intra_prompt_correlation,
    prompt_means,
    seed_effect,
    variance_shares,
)
from diffatlas.bench.statistics.compared import Compared, compare, holm, mcnemar
from diffatlas.bench.statistics.corrected import Corrected, corrected_rate
from diffatlas.bench.statistics.rates import Rate, mean_rate, rate, resample
from diffatlas.bench.statistics.within import OverAll, Verdicts, Within, over_all, within_prompts

__all__ = [
    "Agreement",
    "Compared",
    "Corrected",
    "OverAll",
    "Rate",
    "Verdicts",
    "Within",
    "agreement",
    "compare",
    "corrected_rate",
    "holm",
    "intra_prompt_correlation",
    "mcnemar",
    "mean_rate",
    "over_all",
    "prompt_means",
    "rate",
    "resample",
    "seed_effect",
    "variance_shares",
    "within_prompts",
]
