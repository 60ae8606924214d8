"""The transformer of the same world: that it trains as its pipeline will run it."""

import numpy as np
import pytest
import torch

from diffatlas.registry import models_folder
from diffatlas.shapes.data import SceneStream
from diffatlas.shapes.model import build_parts, build_pipeline, load_parts, save_pipeline
from diffatlas.shapes.predict import (
    ZERO_TOKENS,
    conditioning,
    count_zero_tokens,
    ids_of,
    predict,
    shorten,
    spoil,
)
from diffatlas.shapes.train_denoiser import DenoiserTrainer
from diffatlas.shapes.validate import validate
from tests.shapes.narrow import narrow, share_of_loss_after

CAPTIONS = ["a red circle to the left of a blue square", "", "three green stars"]


@pytest.fixture
def parts():
    torch.manual_seed(0)
    parts = build_parts("dit")
    parts["vae"].load_state_dict(load_parts(models_folder() / "shapes")["vae"].state_dict())
    return parts


def test_one_counted_token_acts_as_all_that_are_equal(parts):
    transformer = parts["transformer"].eval()
    # New weights give the same for every input; these do not.
    with torch.no_grad():
        for p in transformer.parameters():
            p.add_(0.05 * torch.randn(p.shape))
    told = conditioning(parts, ids_of(parts, CAPTIONS))
    assert told.context.shape == (3, 25, 160)
    noisy, t = torch.randn(3, 4, 16, 16), torch.tensor([900.0, 500.0, 10.0])
    whole = torch.cat([told.context, torch.zeros(3, ZERO_TOKENS - 1, 160)], dim=1)
    with torch.no_grad():
        want = predict(parts, noisy, t, told._replace(context=whole))
        alone = predict(parts, noisy, t, told)
        count_zero_tokens(transformer)
        got = predict(parts, noisy, t, told)
    torch.testing.assert_close(got, want, atol=2e-5, rtol=1e-4)
    assert (alone - want).abs().max() > 100 * (got - want).abs().max()


def test_a_shortened_pipeline_draws_the_same():
    folder = models_folder() / "shapes-dit"
    asked = {"num_inference_steps": 3, "guidance_scale": 3.0, "output_type": "np"}
    images = []
    for change in (lambda pipe: None, shorten):
        pipe = build_pipeline(load_parts(folder))
        change(pipe)
        noise = [torch.Generator().manual_seed(k) for k in range(2)]
        images.append(pipe(CAPTIONS[::2], generator=noise, **asked).images)
    assert np.abs(images[0] - images[1]).max() < 1e-3


def test_it_is_told_what_the_pipeline_will_tell_it(parts):
    pipe = build_pipeline(parts)
    told = conditioning(parts, ids_of(parts, CAPTIONS))
    context, _, pooled, _ = pipe.encode_prompt(
        CAPTIONS, None, None, do_classifier_free_guidance=False, device=torch.device("cpu")
    )
    assert context.shape == (3, 24 + ZERO_TOKENS, 160)
    torch.testing.assert_close(told.context[:, :24], context[:, :24])
    assert not context[:, 24:].any()
    torch.testing.assert_close(told.pooled, pooled)


def test_what_is_predicted_is_what_the_scheduler_takes(parts):
    """From pure noise one step along the true velocity ends at the latents."""
    latents, noise = SceneStream(3).batch(2).latents, torch.randn(2, 4, 16, 16)
    spoiled = spoil(parts, latents, noise, torch.ones(2))
    torch.testing.assert_close(spoiled.noisy, noise)
    scheduler = parts["scheduler"]
    scheduler.set_timesteps(1)
    assert float(scheduler.timesteps[0]) == float(spoiled.timesteps[0])
    stepped = scheduler.step(spoiled.target, scheduler.timesteps[0], spoiled.noisy).prev_sample
    torch.testing.assert_close(stepped, latents, atol=1e-5, rtol=1e-5)


def parameters_of(parts):
    return sum(
        p.numel() for part in parts.values() if isinstance(part, torch.nn.Module) for p in part.parameters()
    )


def test_it_trains_and_its_folder_is_a_stock_pipeline(parts, tmp_path):
    from diffusers import StableDiffusion3Pipeline

    # In half precision, beside which its files hold little.
    assert 2 * parameters_of(parts) < 14.5e6
    parts = narrow(parts)
    trainer = DenoiserTrainer(parts, seed=1, device="cpu", rate=4e-2)
    assert share_of_loss_after(trainer, 10) < 0.9
    averaged = trainer.averaged_parts()
    assert not any(block._forward_hooks for block in averaged["transformer"].transformer_blocks)
    save_pipeline(averaged, tmp_path / "dit")
    weights = sum(path.stat().st_size for path in (tmp_path / "dit").rglob("*.safetensors"))
    assert weights < 2 * parameters_of(averaged) + 0.5e6
    plain = StableDiffusion3Pipeline.from_pretrained(tmp_path / "dit")
    asked = {"num_inference_steps": 2, "guidance_scale": 3.0, "output_type": "np"}
    image = plain("a red circle", generator=torch.Generator().manual_seed(0), **asked).images[0]
    assert image.shape == (64, 64, 3)
    found = validate(load_parts(tmp_path / "dit"), n=8)
    assert found.losses == validate(load_parts(tmp_path / "dit"), n=8).losses
    assert found.timesteps[0] < found.timesteps[-1] < 1000
