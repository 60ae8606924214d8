from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.configuration_utils import FrozenDict

from diffatlas.capture import Capture, observe, preview
from diffatlas.capture.latent_grid import token_grid, unpack
from diffatlas.errors import CapabilityError
from tests.pipelines import arguments

#: Pipelines whose last x0 is their final latents: the schedule ends at sigma 0 with a first-order step.
EXACT_END = ["sdxl", "sd3", "flux", "pixart", "qwen", "zimage", "flux2"]


@pytest.mark.parametrize("name", EXACT_END)
def test_last_decoded_preview_is_the_image(name: str, request: pytest.FixtureRequest) -> None:
    """Scaling, shift, normalisation and unpacking are right only if the pipeline's own picture comes out."""
    pipe = request.getfixturevalue(f"{name}_pipe")
    with observe(pipe, Capture(previews=100, preview_decoder="vae")) as trace:
        images = pipe(**arguments(pipe, width=96, height=64, prompts=("a red circle", "two stars"))).images
    last = trace.steps[-1].preview
    assert last.shape == (2, 64, 96, 3)
    assert last.dtype == np.uint8
    assert np.abs(last.astype(float) - 255 * images).max() <= 1.0
    assert np.abs(trace.steps[0].preview.astype(float) - last).max() > 10


class _LinearVAE(torch.nn.Module):
    """A VAE whose decoder is a known affine map of each latent, and whose encoder is its inverse."""

    dtype, device = torch.float32, torch.device("cpu")

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.config = FrozenDict(config)
        self.matrix = torch.tensor([[0.5, 0.1, 0.0], [-0.2, 0.4, 0.1], [0.0, 0.3, -0.6]])
        self.offset = torch.tensor([0.1, -0.05, 0.2])

    def encode(self, x: torch.Tensor, return_dict: bool = True) -> tuple[torch.Tensor]:
        x = torch.nn.functional.avg_pool2d(x, 4)
        z = torch.einsum("bchw,cd->bdhw", x - self.offset[None, :, None, None], self.matrix.inverse())
        return (z,)

    def decode(self, z: torch.Tensor, return_dict: bool = True) -> tuple[torch.Tensor]:
        rgb = torch.einsum("bchw,cd->bdhw", z, self.matrix) + self.offset[None, :, None, None]
        return (torch.nn.functional.interpolate(rgb, scale_factor=4),)


@pytest.mark.parametrize(
    "config",
    [
        {"scaling_factor": 0.18215},
        {"scaling_factor": 0.3611, "shift_factor": 0.1159},
        {"latents_mean": [0.1, -0.2, 0.3], "latents_std": [0.5, 1.5, 2.0]},
    ],
)
def test_linear_map_recovers_a_linear_decoder(config: dict[str, Any]) -> None:
    vae = _LinearVAE(config)
    pipe = SimpleNamespace(vae=vae, vae_scale_factor=4)
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(2, 3, 6, 8, generator=generator) * 0.1
    linear = preview.linear_map(pipe)(latents.numpy())
    decoded = preview.decode(pipe, latents)[:, ::4, ::4]
    assert linear.shape == (2, 6, 8, 3)
    assert np.abs(linear.astype(int) - decoded).max() <= 1
    np.testing.assert_allclose(preview.from_vae(vae, preview.to_vae(vae, latents)), latents, atol=1e-6)


def test_linear_map_is_fitted_once_per_vae(sd_pipe: Any) -> None:
    first = preview.linear_map(sd_pipe)
    state = torch.get_rng_state()
    assert preview.linear_map(sd_pipe) is first
    other = SimpleNamespace(vae=copy.deepcopy(sd_pipe.vae), vae_scale_factor=sd_pipe.vae_scale_factor)
    again = preview.linear_map(other)
    assert again is not first
    np.testing.assert_array_equal(again.weight, first.weight)  # always the same pictures
    assert torch.equal(torch.get_rng_state(), state)


def test_linear_map_is_the_least_squares_fit(sd_pipe: Any) -> None:
    """On its own samples no other linear map is closer to the decoder: the residual is orthogonal to them."""
    vae, factor = sd_pipe.vae, sd_pipe.vae_scale_factor
    linear = preview.linear_map(sd_pipe)
    pictures = torch.from_numpy(preview._fit_pictures(preview.FIT_SIDE * factor))
    with torch.no_grad():
        z = vae.encode(pictures).latent_dist.mean
        decoded = torch.nn.functional.avg_pool2d(vae.decode(z).sample / 2 + 0.5, factor)
    x = (z * vae.config.scaling_factor).permute(0, 2, 3, 1).reshape(-1, 4).numpy()
    y = decoded.permute(0, 2, 3, 1).reshape(-1, 3).numpy()
    residual = y - (x @ linear.weight + linear.bias)
    scale = np.abs(y).max() * len(x)
    assert np.abs(residual.sum(0)).max() < 1e-5 * scale
    assert np.abs(x.T @ residual).max() < 1e-5 * scale * np.abs(x).max()


def test_linear_map_imitates_the_shapes_decoder(shapes_pipe: Any) -> None:
    """It is fitted on coloured patches; on the model's own scenes it must still explain what the decoder draws."""
    from diffatlas.shapes.data import SceneStream

    with torch.no_grad():
        z = shapes_pipe.vae.encode(SceneStream(5).batch(16).images * 2 - 1).latent_dist.mode()
    drawn = preview.decode(shapes_pipe, z).reshape(16, 16, 4, 16, 4, 3).mean((2, 4))
    residual = preview.linear_map(shapes_pipe)(z.numpy()) - drawn
    assert (residual**2).sum() < 0.05 * ((drawn - drawn.mean((0, 1, 2))) ** 2).sum()


def test_preview_sizes(sd_pipe: Any) -> None:
    for size, shape in ((None, (16, 24)), (96, (64, 96)), (12, (8, 12))):
        with observe(sd_pipe, Capture(previews="every", preview_size=size)) as trace:
            sd_pipe(**arguments(sd_pipe, steps=1, width=96, height=64))
        assert trace.steps[0].preview.shape == (1, *shape, 3)


def test_packed_latents_are_laid_out_by_row_and_column(flux_pipe: Any) -> None:
    """FLUX packs 2 x 2 patches; an image that is not square shows a swapped or guessed grid."""
    grid = torch.arange(4 * 16 * 24.0).reshape(1, 4, 16, 24)
    packed = flux_pipe._pack_latents(grid, 1, 4, 16, 24)
    ids = flux_pipe._prepare_latent_image_ids(1, 8, 12, "cpu", torch.float32)
    assert token_grid({"img_ids": ids}) == (8, 12)
    assert torch.equal(unpack(flux_pipe, packed, (8, 12)), grid)
    with pytest.raises(CapabilityError, match="96 tokens"):
        unpack(flux_pipe, packed, None)
    with pytest.raises(CapabilityError, match="8 channels"):
        unpack(flux_pipe, torch.zeros(1, 8, 4, 4), None)


def test_video_latents_are_refused_only_for_previews() -> None:
    with pytest.raises(CapabilityError, match="video"):
        unpack(None, torch.zeros(1, 4, 5, 8, 8), None)


@torch.no_grad()
def test_without_a_vae_only_the_previews_are_missing(sd_pipe: Any) -> None:
    """A loop of one's own over the parts of a pipeline, which has no call."""
    bare = SimpleNamespace(unet=sd_pipe.unet, scheduler=sd_pipe.scheduler)
    bare.scheduler.set_timesteps(2)
    x = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    text = torch.zeros(1, 77, sd_pipe.text_encoder.config.hidden_size)
    with observe(bare, Capture(previews="every")) as trace:
        for t in bare.scheduler.timesteps:
            x = bare.scheduler.step(bare.unet(x, t, text).sample, t, x).prev_sample
    assert "no VAE" in trace.missing["previews"]
    assert [s.preview for s in trace.steps] == [None, None]
    np.testing.assert_array_equal(trace.steps[-1].latents, x.numpy())


def test_not_a_number_becomes_black() -> None:
    assert preview.to_uint8(np.array([np.nan, -1.0, 0.5, 2.0])).tolist() == [0, 0, 128, 255]
