"""Cases whose runs are made by hand: paths, predictions, estimates and attention at random, without a model."""

from dataclasses import replace

import numpy as np

from diffatlas.attention.tokens import Token, words
from diffatlas.bench.tasks import Include, Task
from diffatlas.bench.why import Case
from tests.attended_runs import run_of

TWO = (Include(noun="circle", color="red"), Include(noun="square", color="blue"))


def table(prompt):
    """A token a word, after that of the beginning."""
    own = [Token(k + 1, "clip", word, k, False, word) for k, word in enumerate(words(prompt))]
    return [Token(0, "clip", "<|startoftext|>", None, True), *own]


def task(name="a", include=TWO, prompt="a red circle and a blue square"):
    return Task(id=name, prompt=prompt, tag="two", include=tuple(include))


def case(seed, failed, own=None, number=0, turn=0.0, steps=4, **changes):
    """A case. turn: how far the guidance is turned away from the prediction, in radians, at every step."""
    random = np.random.default_rng(seed)
    run = run_of(seed, steps=steps, previews=False)
    made = []
    for step in run.steps:
        cond, other = random.normal(size=(2, 1, 4, 16, 16))
        # The part of `other` at right angles to the prediction.
        other -= cond * (cond * other).sum() / (cond**2).sum()
        other *= np.linalg.norm(cond) / np.linalg.norm(other)
        guidance = np.cos(turn) * cond + np.sin(turn) * other
        x0 = random.normal(size=(1, 4, 16, 16))
        made.append(replace(step, cond_pred=cond, uncond_pred=cond - guidance, x0_pred=x0))
    run = replace(run, steps=tuple(made), **changes)
    return Case(own or task(), number, run, failed, None if failed is None else float(not failed))


def cases(prompts=6, planted=0.0, seed=0):
    """Four images of each prompt, two of them failing, whose guidance is turned by ``planted`` more, in radians."""
    random = np.random.default_rng(seed)
    found = []
    for p in range(prompts):
        own, base = task(f"p{p}"), random.uniform(0.3, 1.0)
        for number, failed in enumerate(random.permutation([True, True, False, False]).tolist()):
            turn = base + planted * failed + random.normal() * 0.02
            found.append(case(100 * p + number, failed, own, number, turn))
    return found
