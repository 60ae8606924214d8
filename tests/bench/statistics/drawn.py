"""Verdicts drawn from a model whose rate and correlation are known."""

import numpy as np


def verdicts(random, prompts=40, images=4, rate=0.4, correlation=0.6):
    """Return verdicts (0 and 1) and the prompt of each: a beta-binomial draw, of that correlation within a prompt."""
    scale = (1 - correlation) / correlation
    chance = random.beta(rate * scale, (1 - rate) * scale, prompts)
    values = random.random((prompts, images)) < chance[:, None]
    return values.astype(float).ravel(), np.repeat(np.arange(prompts), images).tolist()
