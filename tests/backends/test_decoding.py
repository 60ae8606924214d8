"""`LocalBackend.decode`: the pipeline's own decoder, for latents that are kept."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from diffatlas.backends import open_backend
from diffatlas.capture.preview import LinearMap, linear_map
from diffatlas.capture.spec import Capture
from diffatlas.errors import BackendFailure, CapabilityError, UnknownModel
from diffatlas.run import collect

FAMILIES = ("sd", "sdxl", "sd3", "flux", "pixart")


@pytest.mark.parametrize("name", FAMILIES)
def test_the_last_latents_decode_to_the_images(backend, folders, asked, name):
    params = asked.replace(model=str(folders(name)), width=96, height=64, num_images_per_prompt=2)
    run = collect(backend.trace(params)).raise_for_error()
    pictures = backend.decode(run.params, run.steps[-1].latents)
    assert pictures.shape == (2, 64, 96, 3)
    assert pictures.dtype == np.uint8
    assert np.abs(pictures.astype(int) - np.stack(run.images)).max() <= 1
    assert pictures.std() > 1  # a flat picture would prove nothing


def test_it_is_the_vaes_own_decoding(backend, asked):
    pipe = backend.pipeline(asked.model)
    latents = torch.randn(3, 4, 8, 12, generator=torch.Generator().manual_seed(0))
    state = torch.get_rng_state()
    ours = backend.decode(asked, latents.numpy())
    with torch.no_grad():
        decoded = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample
    theirs = pipe.image_processor.postprocess(decoded, output_type="np")
    assert np.abs(ours - 255 * theirs).max() <= 0.5 + 1e-3
    assert torch.equal(torch.get_rng_state(), state)


def test_it_waits_for_the_run_in_progress(backend, asked):
    reached, released, done = threading.Event(), threading.Event(), []
    latents = np.zeros((1, 4, 16, 16), np.float32)
    pipe = backend.pipeline(asked.model)

    def hold(*_):
        reached.set()
        released.wait(30)

    hook = pipe.unet.register_forward_pre_hook(hold)
    try:
        run = threading.Thread(target=lambda: list(backend.trace(asked)))
        run.start()
        assert reached.wait(30)
        with pytest.raises(BackendFailure, match="busy"):
            backend.decode(asked, latents, wait=0.01)
        assert backend.is_loaded(asked.model)  # this does not wait
        waiting = threading.Thread(target=lambda: done.append(backend.decode(asked, latents, wait=30)))
        waiting.start()
        released.set()
        waiting.join(30)
        run.join(30)
    finally:
        released.set()
        hook.remove()
    assert done[0].shape == (1, 64, 64, 3)
    # It let go of the pipeline, also after the refusal.
    assert list(backend.trace(asked))[-1].kind == "finished"


def test_latents_of_another_form_are_refused(backend, asked):
    for shape in ((1, 8, 16, 16), (1, 64, 16), (4, 16), (1, 4, 5, 16, 16)):
        with pytest.raises(CapabilityError, match="cannot be decoded") as caught:
            backend.decode(asked, np.zeros(shape, np.float32))
        assert "previews" not in str(caught.value)
    assert backend.decode(asked, np.zeros((1, 4, 16, 16), np.float16)).shape == (1, 64, 64, 3)
    with pytest.raises(UnknownModel):
        backend.decode(asked.replace(model="no such model"), np.zeros((1, 4, 16, 16), np.float32))


def test_what_is_resident_is_known(folders, asked):
    backend = open_backend("local", device="cpu")
    assert not backend.is_loaded(asked.model)
    backend.pipeline(asked.model)
    assert backend.is_loaded(asked.model)
    assert not backend.is_loaded(str(folders("sd3")))
    assert not backend.is_loaded("no such model")
    backend.close()
    assert not backend.is_loaded(asked.model)


@pytest.mark.parametrize("decoder", ["linear", "vae"])
def test_a_run_says_how_its_latents_become_colours(backend, folders, asked, decoder):
    params = asked.replace(model=str(folders("flux")), width=96)
    run = collect(backend.trace(params, Capture(previews=2, preview_decoder=decoder))).raise_for_error()
    told, fitted = run.provenance["latent_rgb"], linear_map(backend.pipeline(params.model))
    np.testing.assert_array_equal(LinearMap.from_dict(told).weight, fitted.weight)
    np.testing.assert_array_equal(LinearMap.from_dict(told).bias, fitted.bias)
    assert run.provenance["latent_grid"] == [8, 12]
    run = collect(backend.trace(params, Capture(previews="off"))).raise_for_error()
    assert "latent_rgb" not in run.provenance


@pytest.mark.parametrize(
    "wrong", [{"weight": [[1, 2]], "bias": [1, 2, 3]}, {"weight": [[1, 2, 3]], "bias": [1]}]
)
def test_a_map_of_another_shape_is_refused(wrong):
    with pytest.raises(ValueError, match="linear map"):
        LinearMap.from_dict(wrong)
