"""The real services, where a key for them is in the environment: `pytest -m live`. Each makes one image."""

from __future__ import annotations

import pytest

from diffatlas.backends import open_backend
from diffatlas.params import GenerationParams
from diffatlas.registry import HOSTED, list_models
from diffatlas.run import collect


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.live(name)) for name in HOSTED])
def test_an_image_arrives_from_the_real_service(name: str) -> None:
    backend = open_backend(name)
    backend.check_key()
    model = list_models(name)[0]
    params = GenerationParams(
        model=model.id,
        prompt="a red circle to the left of a blue square",
        seed=7,
        num_inference_steps=model.steps or 30,
        guidance_scale=1.0 if model.guidance is None else model.guidance,
    )
    run = collect(backend.trace(params)).raise_for_error()
    assert run.status == "complete"
    assert run.images[0].std() > 1
