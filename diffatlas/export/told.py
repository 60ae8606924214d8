"""What is said of a run beside its numbers: what could not be recorded, and that its latents were changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from diffatlas.events import Step

#: What a name in ``provenance["missing"]`` stands for.
NAMES = {
    "steps": "some of the steps",
    "latents": "the latents",
    "start_latents": "the states that the steps started from",
    "noise_pred": "the predictions",
    "cond_pred": "the conditional and the unconditional prediction",
    "uncond_pred": "the unconditional prediction",
    "other_preds": "the other predictions",
    "x0_pred": "the estimates x0",
    "sigma": "the noise levels",
    "initial_sigma": "the first noise level",
    "timestep": "the timesteps",
    "total_steps": "the number of steps to come",
    "metrics": "the measures",
    "cosine_to_end": "the cosine to the end",
    "previews": "previews",
    "attention": "attention",
    "text": "the words of later steps",
    "images": "the final image",
    "call": "what was asked",
    "random_state": "all of the noise",
    "calls": "another call",
    "record": "the run in the library",
}
#: So many numbers of steps are told before the rest is counted.
MOST = 8


def not_recorded(provenance: Mapping[str, Any]) -> list[str]:
    """Return what a run's provenance says is missing of it: "Not recorded: previews. The model has no VAE."."""
    missing = provenance.get("missing")
    if not isinstance(missing, Mapping):
        return []
    return [f"Not recorded: {NAMES.get(name, name)}. {why}" for name, why in missing.items()]


def changed_before(steps: Iterable[Step]) -> list[int]:
    """Return the steps (from 1) before which the latents were changed."""
    return [s.index + 1 for s in steps if s.start_latents is not None or "between_length" in s.metrics]


def changed(steps: Sequence[int]) -> list[str]:
    """Return the sentence that says before which steps (from 1) the latents were changed; none where there are none."""
    if not steps:
        return []
    told = [str(step) for step in steps[:MOST]]
    if len(steps) > MOST:
        told.append(f"{len(steps) - MOST} more")
    listed = told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"
    word = "step" if len(steps) == 1 else "steps"
    return [
        f"The latents were changed between steps, before {word} {listed}: lengths are of the true states."
    ]
