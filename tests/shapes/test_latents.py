"""The two kinds of latent space: the one that is prescribed, and one that a VAE finds itself."""

import copy
import dataclasses

import pytest
import torch

from diffatlas.registry import models_folder
from diffatlas.shapes import train_vae as training
from diffatlas.shapes.data import SceneStream
from diffatlas.shapes.latents import is_learned, read
from diffatlas.shapes.model import build_parts, build_vae, load_parts
from diffatlas.shapes.train_denoiser import CHANNEL_WEIGHTS, DenoiserTrainer
from diffatlas.shapes.train_vae import learned_losses, standardise, train_vae, vae_quality
from diffatlas.shapes.validate import SEED, validate
from tests.shapes.narrow import narrow

#: Over which the learned space is standardised here.
SCENES = 96


@pytest.fixture(scope="module")
def shipped():
    return load_parts(models_folder() / "shapes")["vae"]


@pytest.fixture(scope="module")
def learned():
    """A VAE after a moment of finding a space of its own."""
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "STANDARD_SCENES", SCENES)
        return train_vae(build_vae(), minutes=0.05, batch=8, seed=0, learned=True)


def test_a_vae_is_known_by_what_it_reads(shipped, learned):
    assert not is_learned(shipped)
    assert is_learned(learned)
    assert is_learned(build_vae())


def test_a_learned_space_has_unit_variance(learned):
    # The scenes it was standardised on: on others, a sampling error as large as their grounds differ would be added.
    images = SceneStream(1).batch(SCENES).images
    with torch.no_grad():
        latents = read(learned, images)
    torch.testing.assert_close(latents.mean((0, 2, 3)), torch.zeros(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(latents.std((0, 2, 3)), torch.ones(4), atol=1e-3, rtol=0)


def test_a_learned_space_comes_to_draw_what_it_reads():
    torch.manual_seed(0)
    vae, stream, noise = build_vae().train(), SceneStream(0), torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=8e-3)
    before = vae_quality(vae.eval(), n=16)["reconstruct_psnr"]
    for _ in range(30):
        data = stream.batch(4)
        # A corner of each scene: the VAE is made of convolutions, which do not know how large a picture is.
        data = dataclasses.replace(data, images=data.images[..., :32, :32])
        drawing, divergence = learned_losses(vae.train(), data, noise)
        assert divergence >= 0
        optimizer.zero_grad()
        (drawing + divergence).backward()
        optimizer.step()
    found = vae_quality(vae.eval(), n=16)
    assert found["decode_psnr"] == found["reconstruct_psnr"] > before + 4


def test_standardising_leaves_the_images_and_the_certainty_as_they_were():
    torch.manual_seed(1)
    vae = build_vae()
    with torch.no_grad():
        vae.quant_conv.bias.copy_(torch.tensor([3.0, -1.0, 0.5, 2.0, -2.0, -3.0, -1.0, 0.0]))
        images = SceneStream(5).batch(32).images
        before = vae.encode(images * 2 - 1).latent_dist
        drawn = vae.decode(before.mean).sample
        standardise(vae, images)
        after = vae.encode(images * 2 - 1).latent_dist
        scale = before.mean.std((0, 2, 3))[:, None, None]
        torch.testing.assert_close(vae.decode(after.mean).sample, drawn, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(after.std * scale, before.std, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(after.mean.std((0, 2, 3)), torch.ones(4), atol=1e-3, rtol=0)


def test_a_denoiser_learns_the_space_of_its_own_vae(learned, shipped):
    for vae, own in ((learned, True), (shipped, False)):
        trainer = DenoiserTrainer({**build_parts(), "vae": vae}, seed=1, device="cpu", rate=1e-3)
        data = trainer.stream.batch(4)
        with torch.no_grad():
            same = torch.allclose(data.latents, read(vae, data.images), atol=1e-5)
        assert same == own
        assert trainer.weights.flatten().tolist() == ([1.0] * 4 if own else list(CHANNEL_WEIGHTS))


def test_validation_is_in_the_space_of_the_vae(learned):
    """A model that predicts 0 has the loss of the target, which is -latents where all is noise."""
    wide = copy.deepcopy(learned)
    with torch.no_grad():
        wide.quant_conv.weight[:4] *= 3
        wide.quant_conv.bias[:4] *= 3
        power = float(read(wide, SceneStream(SEED).batch(16).images).pow(2).mean())
    found = validate({**narrow(build_parts()), "vae": wide}, n=16)
    assert power > 4
    assert found.blind[-1] == pytest.approx(power, rel=0.1)
