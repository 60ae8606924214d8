"""What each guidance method makes of the two predictions, against its paper's formula and diffusers' own pipelines."""

from __future__ import annotations

import copy
import logging
from typing import Any

import numpy as np
import pytest
import torch

from diffatlas.errors import CapabilityError
from diffatlas.steering.methods import GuidancePlan
from diffatlas.steering.perturb import depths, perturbed, take_rows
from tests.steering.steered_calls import apart, call, steered

SCALE = 6.0


def flat(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float64).ravel()


def rescaled(c: np.ndarray, u: np.ndarray, share: float) -> np.ndarray:
    """Lin et al. 2023, equations 15 and 16."""
    guided = u + SCALE * (c - u)
    return share * guided * (c.std(ddof=1) / guided.std(ddof=1)) + (1 - share) * guided


def test_rescale(sd_pipe: Any) -> None:
    _, trace = steered(sd_pipe, [GuidancePlan(SCALE, "rescale", {"rescale": 0.7})])
    for step in trace.steps:
        expected = rescaled(flat(step.cond_pred), flat(step.uncond_pred), 0.7)
        np.testing.assert_allclose(flat(step.noise_pred), expected, atol=1e-4)


def test_adaptive_projected_guidance_with_its_memory(sd_pipe: Any) -> None:
    options = {"eta": 0.25, "norm": 0.2, "momentum": -0.5}
    _, trace = steered(sd_pipe, [GuidancePlan(SCALE, "apg", options)])
    average, bounded = 0.0, 0
    for step in trace.steps:  # Sadat et al. 2024, algorithm 1, around the unconditional prediction
        c, u = flat(step.cond_pred), flat(step.uncond_pred)
        average = (c - u) - 0.5 * average
        length = np.linalg.norm(average)
        bounded += length > 0.2
        diff = average * min(1.0, 0.2 / length)
        unit = c / np.linalg.norm(c)
        parallel = (diff @ unit) * unit
        expected = u + SCALE * (diff - parallel + 0.25 * parallel)
        np.testing.assert_allclose(flat(step.noise_pred), expected, atol=1e-4)
    assert bounded  # or the norm would not have been tested


def test_zero_star(sd3_pipe: Any) -> None:
    _, trace = steered(sd3_pipe, [GuidancePlan(SCALE, "cfg_zero_star", {"zero_steps": 2})])
    for step in trace.steps:  # Fan et al. 2025, algorithm 1
        c, u = flat(step.cond_pred), flat(step.uncond_pred)
        fitted = (c @ u) / (u @ u) * u
        expected = np.zeros_like(c) if step.index < 2 else fitted + SCALE * (c - fitted)
        np.testing.assert_allclose(flat(step.noise_pred), expected, atol=1e-4)


def test_tangential(sd_pipe: Any) -> None:
    _, trace = steered(sd_pipe, [GuidancePlan(SCALE, "tangential")])
    for step in trace.steps:  # Kwon et al. 2025: u is projected on the direction that the two share most
        c, u = flat(step.cond_pred), flat(step.uncond_pred)
        _, axes = np.linalg.eigh(np.array([[c @ c, c @ u], [c @ u, u @ u]]))
        shared = axes[0, -1] * c + axes[1, -1] * u
        projected = (u @ shared) / (shared @ shared) * shared
        np.testing.assert_allclose(flat(step.noise_pred), projected + SCALE * (c - projected), atol=1e-4)


def test_interval(sd_pipe: Any) -> None:
    _, trace = steered(sd_pipe, [GuidancePlan(SCALE, "interval", {"start": 0.3, "stop": 0.7})], steps=10)
    on = []
    for step in trace.steps:
        c, u = step.cond_pred, step.uncond_pred
        guided = np.abs(step.noise_pred - (u + SCALE * (c - u))).max() < 1e-5
        on.append(guided)
        assert guided or np.abs(step.noise_pred - c).max() < 1e-6
    assert [i for i, guided in enumerate(on) if guided] == [3, 4, 5, 6]


def test_defaults_are_filled_in(sd_pipe: Any) -> None:
    spelled, _ = steered(sd_pipe, [GuidancePlan(SCALE, "apg", {"eta": 0.0, "norm": 15.0, "momentum": -0.5})])
    np.testing.assert_array_equal(steered(sd_pipe, [GuidancePlan(SCALE, "apg")])[0], spelled)


def test_perturbed_attention_is_that_of_diffusers_pipelines(
    sd_pipe: Any, sdxl_pipe: Any, pixart_pipe: Any
) -> None:
    from diffusers import PixArtSigmaPAGPipeline, StableDiffusionPAGPipeline, StableDiffusionXLPAGPipeline

    for pipe, cls, layers in (
        (sd_pipe, StableDiffusionPAGPipeline, ["mid"]),
        # Of this small one, a level beside the middle works at 8 x 8 places too.
        (sdxl_pipe, StableDiffusionXLPAGPipeline, ["mid", "down_blocks.1", "up_blocks.0"]),
        (pixart_pipe, PixArtSigmaPAGPipeline, ["blocks.1"]),
    ):
        parts = {name: copy.deepcopy(part) for name, part in pipe.components.items()}
        flags = {"requires_safety_checker": False} if cls is StableDiffusionPAGPipeline else {}
        reference = cls(**parts, pag_applied_layers=layers, **flags)
        reference.set_progress_bar_config(disable=True)
        asked = call(pipe, (7, 8), SCALE) | {"pag_scale": 3.0}
        asked["negative_prompt"] = ["a blue square"] * 2
        asked.pop("width"), asked.pop("height")
        expected = reference(**asked, width=64, height=64).images.numpy()
        plans = [GuidancePlan(SCALE, "pag", {"scale": 3.0})] * 2
        ours, _ = steered(pipe, plans, seeds=(7, 8))
        assert apart(ours, expected) < 2e-4, cls.__name__


def test_skipped_layers_are_those_of_diffusers_own_option(sd3_pipe: Any) -> None:
    options = {"scale": 2.8, "start": 0.2, "stop": 0.7}
    expected = sd3_pipe(
        **call(sd3_pipe, (7, 8), SCALE, steps=6),
        skip_guidance_layers=depths(len(sd3_pipe.transformer.transformer_blocks), "slg"),
        skip_layer_guidance_scale=2.8,
        skip_layer_guidance_start=0.2,
        skip_layer_guidance_stop=0.7,
    ).images.numpy()
    ours, _ = steered(sd3_pipe, [GuidancePlan(SCALE, "slg", options)] * 2, seeds=(7, 8), steps=6)
    assert apart(ours, expected) < 2e-4


def test_a_skipped_block_of_a_unet_is_one_that_does_nothing(sd_pipe: Any) -> None:
    generator = torch.Generator().manual_seed(2)
    x, text = torch.randn(2, 4, 16, 16, generator=generator), torch.randn(2, 5, 32, generator=generator)
    worse = copy.deepcopy(sd_pipe.unet)
    for block in worse.mid_block.attentions[0].transformer_blocks:
        block.forward = lambda hidden_states, *args, **kwargs: hidden_states
    with torch.no_grad():
        expected = worse(x, 500, text).sample
        with perturbed(sd_pipe.unet, "slg"):
            ours = sd_pipe.unet(x, 500, text).sample
        assert (sd_pipe.unet(x, 500, text).sample - ours).abs().max() > 1e-4
    assert torch.equal(ours, expected)


@pytest.mark.parametrize("name", ["sd3", "flux_cfg", "qwen", "flux2", "zimage", "pixart"])
@pytest.mark.parametrize("method", ["pag", "slg"])
def test_transformers_of_every_make_can_be_perturbed(name: str, method: str, request: Any) -> None:
    pipe = request.getfixturevalue(f"{name}_pipe")
    plan = GuidancePlan(4.0, method, {"start": 0.0, "stop": 1.0})
    with_it, trace = steered(pipe, [plan], steps=3)
    without, _ = steered(pipe, [GuidancePlan(4.0)], steps=3)
    assert np.isfinite(with_it).all()
    assert apart(with_it, without) > 1e-4
    assert len(trace.steps) == 3


def test_perturbation_adds_to_the_conditional_prediction_where_there_is_no_guidance(sd_pipe: Any) -> None:
    """Ahn et al. 2024, eq. 15: the same at a scale of 1 whether or not the other prediction is made."""
    plan = GuidancePlan(1.0, "pag", {"scale": 2.0})
    alone, trace = steered(sd_pipe, [plan])
    assert trace.steps[0].uncond_pred is None
    batch, _ = steered(sd_pipe, [plan, GuidancePlan(1.0 + 1e-6, "pag", {"scale": 2.0}), GuidancePlan(3.0)])
    assert apart(batch[:1], alone) < 2e-4
    assert apart(batch[1:2], alone) < 2e-4


def test_what_cannot_be_perturbed_says_so(sd_pipe: Any, flux_pipe: Any) -> None:
    unet = copy.deepcopy(sd_pipe.unet)
    unet.mid_block = None
    for method in ("pag", "slg"):
        with pytest.raises(CapabilityError, match="no transformer") as caught:
            perturbed(unet, method)
        assert caught.value.field == "guidance_method"
        with pytest.raises(CapabilityError, match="no list"):
            perturbed(torch.nn.Linear(2, 2), method)


def test_attention_that_is_computed_otherwise_says_so(sd_pipe: Any) -> None:
    from diffusers.models.attention_processor import AttnProcessor

    pipe = copy.deepcopy(sd_pipe)
    pipe.unet.set_attn_processor(AttnProcessor())
    with pytest.raises(CapabilityError, match="scaled_dot_product_attention"):
        steered(pipe, [GuidancePlan(4.0, "pag")])


def test_the_depths_of_stable_diffusion_35_are_the_recommended_ones() -> None:
    assert depths(24, "slg") == [7, 8, 9]
    assert depths(1, "slg") == depths(1, "pag") == [0]
    for count in range(1, 60):
        for method in ("slg", "pag"):
            assert all(0 <= i < count for i in depths(count, method))
            assert depths(count, method)


def test_the_samples_of_a_batch_are_cut_out_of_all_inputs() -> None:
    value = {
        "hidden": torch.arange(4.0),
        "nested": {"time_ids": torch.zeros(4, 6), "list": [1, 2, 3, 4], "pair": (torch.ones(4, 2), 5)},
        "img_ids": torch.zeros(4, 3),
        "timestep": torch.tensor(3.0),
        "flag": None,
    }
    cut = take_rows(value, 4, slice(2, 4))
    assert cut["hidden"].tolist() == [2.0, 3.0]
    assert cut["nested"]["time_ids"].shape == (2, 6)
    assert cut["nested"]["list"] == [3, 4]
    assert cut["nested"]["pair"][0].shape == (2, 2)
    assert cut["img_ids"].shape == (4, 3)
    assert cut["timestep"].ndim == 0


def test_no_warning_that_guiders_are_experimental(sd_pipe: Any) -> None:
    seen: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())

    log = logging.getLogger("diffusers.guiders.guider_utils")
    handler = Keep()
    log.addHandler(handler)
    try:
        steered(sd_pipe, [GuidancePlan(4.0, "apg")], steps=2)
    finally:
        log.removeHandler(handler)
    assert not any("experimental" in message for message in seen)
    assert not log.disabled


def test_of_a_unet_the_levels_as_coarse_as_that_of_stable_diffusion_are_perturbed() -> None:
    from diffusers import UNet2DConditionModel

    from diffatlas.steering.perturb import _unet_blocks

    kinds = ("CrossAttnDownBlock2D",) * 4, ("CrossAttnUpBlock2D",) * 4
    unet = UNet2DConditionModel(
        sample_size=32, down_block_types=kinds[0], up_block_types=kinds[1], block_out_channels=(8,) * 4,
        layers_per_block=1, cross_attention_dim=8, attention_head_dim=2, norm_num_groups=4,
    )  # fmt: skip
    names = {id(module): name for name, module in unet.named_modules()}
    places = {".".join(names[id(block)].split(".")[:2]) for block in _unet_blocks(unet)}
    # Sides 32, 16, 8, 4 on the way down, 4 in the middle, 4, 8, 16, 32 on the way up.
    assert places == {"mid_block.attentions", "down_blocks.2", "down_blocks.3", "up_blocks.0", "up_blocks.1"}
    unet.register_to_config(sample_size=64)
    unet.down_blocks[3].attentions = unet.up_blocks[0].attentions = None
    assert {names[id(block)].split(".")[0] for block in _unet_blocks(unet)} == {"mid_block"}
