"""Laying packed latents out without the pipeline, against what the pipeline itself does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from diffatlas.capture import Capture, latent_grid, observe
from tests.pipelines import arguments

PACKED = ["flux", "qwen", "flux2"]


@pytest.mark.parametrize("name", PACKED)
def test_patches_are_laid_out_as_the_pipeline_does(name: str, request: pytest.FixtureRequest) -> None:
    pipe = request.getfixturevalue(f"{name}_pipe")
    with observe(pipe, Capture(previews="every")) as trace:
        pipe(**arguments(pipe, steps=2, width=96, height=64, prompts=("a red circle", "two stars")))
    told = trace.latent_provenance
    assert told["latent_grid"] == [8, 12]
    assert ("mean" in told["latent_layout"]) == (name == "flux2")
    for step in trace.steps:
        ours = latent_grid.lay_out(step.x0_pred, told)
        theirs = latent_grid.unpack(pipe, torch.from_numpy(step.x0_pred), (8, 12))
        assert ours.shape == (2, 4, 16, 24)
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["sd", "sd3"])
def test_a_grid_of_latents_needs_no_layout(name: str, request: pytest.FixtureRequest) -> None:
    pipe = request.getfixturevalue(f"{name}_pipe")
    with observe(pipe, Capture(previews=100)) as trace:
        pipe(**arguments(pipe, steps=1))
    assert set(trace.latent_provenance) == {"latent_rgb"}
    x = trace.steps[0].latents
    assert latent_grid.lay_out(x, trace.latent_provenance) is x
    frame = x[:, :, None].astype(np.float16)
    np.testing.assert_array_equal(latent_grid.lay_out(frame, {}), x.astype(np.float16))


def test_without_previews_only_the_grid_is_told(flux_pipe: Any, sd_pipe: Any) -> None:
    with observe(flux_pipe) as trace:
        flux_pipe(**arguments(flux_pipe, steps=1, width=96, height=64))
    assert trace.latent_provenance == {"latent_grid": [8, 12]}
    assert latent_grid.lay_out(trace.steps[0].latents, trace.latent_provenance) is None
    with observe(sd_pipe) as trace:
        sd_pipe(**arguments(sd_pipe, steps=1))
    assert trace.latent_provenance == {}


def test_a_packing_of_another_order_is_not_claimed() -> None:
    """This one keeps the channels last within a patch, which `unpack_patches` would scramble."""

    def other(latents: torch.Tensor, height: int, width: int, vae_scale_factor: int) -> torch.Tensor:
        rows, columns = height // (2 * vae_scale_factor), width // (2 * vae_scale_factor)
        x = latents.reshape(-1, rows, columns, 2, 2, 4).permute(0, 5, 1, 3, 2, 4)
        return x.reshape(-1, 4, 2 * rows, 2 * columns)

    class Pipe:
        vae, vae_scale_factor = SimpleNamespace(config={"latent_channels": 4}), 4

        def _unpack_latents(self, latents: Any, height: int, width: int, vae_scale_factor: int) -> Any:
            return other(latents, height, width, vae_scale_factor)

    x = torch.randn(1, 6, 16, generator=torch.Generator().manual_seed(0))
    assert latent_grid.describe_packing(Pipe(), x, (2, 3)) == {"latent_grid": [2, 3]}
    assert latent_grid.describe_packing(Pipe(), x, None) == {}  # 6 tokens are no square
    assert latent_grid.describe_packing(Pipe(), torch.zeros(1, 4, 8, 8), None) == {}


def test_tokens_that_are_no_patches_are_refused() -> None:
    with pytest.raises(ValueError, match="no 2 x 3 patches"):
        latent_grid.unpack_patches(np.zeros((1, 7, 16)), (2, 3), {"patch": 2})
    with pytest.raises(ValueError, match="no 2 x 3 patches"):
        latent_grid.unpack_patches(np.zeros((1, 6, 15)), (2, 3), {"patch": 2})


def test_the_grid_follows_the_aspect_of_the_image() -> None:
    assert latent_grid.grid_of(96, width=96, height=64) == (8, 12)
    assert latent_grid.grid_of(96, width=64, height=96) == (12, 8)
    assert latent_grid.grid_of(4096, width=1024, height=1024) == (64, 64)
    assert latent_grid.grid_of(63 * 64, width=1024, height=1016) == (63, 64)  # sizes that were rounded down
    assert latent_grid.grid_of(97, width=64, height=64) is None
