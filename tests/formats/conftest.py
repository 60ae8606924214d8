"""Runs of the embedded model, made once."""

from __future__ import annotations

from dataclasses import replace

import pytest

import diffatlas
from diffatlas import Capture, GenerationParams
from diffatlas.formats.named import Named
from diffatlas.run import Run


def make(**changes) -> Run:
    previews = changes.pop("previews", "every")
    params = {"prompt": "a red circle to the left of a blue square", "seed": 7, "num_inference_steps": 5}
    return diffatlas.trace(
        GenerationParams(**params | {"guidance_scale": 3.0} | changes), Capture(previews=previews)
    )


@pytest.fixture(scope="session")
def run() -> Run:
    """Five guided steps, every one previewed."""
    return make()


@pytest.fixture(scope="session")
def sparse() -> Run:
    """Ten steps without guidance, every fourth previewed."""
    return make(seed=8, num_inference_steps=10, guidance_scale=1.0, previews=4, negative_prompt="grey")


@pytest.fixture
def layers(run, sparse) -> list[Named]:
    return [Named("first layer", run, "#7c2d36"), Named("second layer", sparse, "#2f7cb5")]


@pytest.fixture
def odd_runs(run) -> dict[str, Run]:
    """Runs that lack something, or hold what no healthy run does."""
    import numpy as np

    steps = run.steps
    sick = replace(steps[2], latents=steps[2].latents * np.nan, metrics={}, sigma=float("inf"))
    bare = tuple(
        replace(s, latents=None, metrics={}, preview=None, cond_pred=None, uncond_pred=None) for s in steps
    )
    error = {"code": "non_finite", "message": "NaN in <step> 3 & after.", "field": None}
    return {
        "stopped before the first step": replace(run, steps=(), images=(), status="stopped", provenance={}),
        "one step": replace(run, steps=steps[:1], images=()),
        "no initial latents": replace(run, initial_latents=None, initial_sigma=None, total_steps=None),
        "nothing captured": replace(run, steps=bare, provenance={"versions": "?", "revision": None}),
        "not finite": replace(
            run, steps=(*steps[:2], sick), images=(), status="failed", error=error, seconds=None
        ),
    }
