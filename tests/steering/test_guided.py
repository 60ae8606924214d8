"""Each sample of one pipeline call is guided by its own plan."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from diffatlas.capture import observe
from diffatlas.errors import CapabilityError
from diffatlas.guidance import METHODS
from diffatlas.steering.form import find_form
from diffatlas.steering.guided import own_scale, steer_guidance
from diffatlas.steering.methods import GuidancePlan
from tests.steering.steered_calls import apart, call, plain, steered

PIPELINES = ["sd", "sdxl", "sd3", "flux", "flux_cfg", "pixart", "qwen", "zimage", "flux2"]
#: Rounding of a batch against single runs, over four steps.
CLOSE = 1e-4


@pytest.fixture
def pipe(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(f"{request.param}_pipe")


@pytest.mark.parametrize("pipe", PIPELINES, indirect=True)
def test_scales_that_share_a_batch_give_what_the_pipeline_gives_for_each(pipe: Any) -> None:
    scales = (1.5, 4.0, 9.0)
    batch, _ = steered(pipe, [GuidancePlan(s) for s in scales], seeds=(7, 8, 7))
    alone = np.concatenate([plain(pipe, seed, s) for seed, s in zip((7, 8, 7), scales, strict=True)])
    assert apart(batch, alone) < CLOSE
    # The scales matter, so that this could fail.
    assert apart(batch[2:], plain(pipe, 7, 1.5)) > 5 * CLOSE


@pytest.mark.parametrize("pipe", ["sd", "sdxl", "sd3", "flux_cfg", "flux2"], indirect=True)
@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0])
def test_scales_up_to_one_are_the_conditional_prediction_alone(pipe: Any, scale: float) -> None:
    batch, _ = steered(pipe, [GuidancePlan(scale), GuidancePlan(4.0)])
    assert apart(batch[:1], plain(pipe, 7, scale)) < CLOSE


def test_a_pipeline_that_counts_from_zero_keeps_counting_so(zimage_pipe: Any) -> None:
    """Z-Image guides above 0, by cond + s (cond - uncond)."""
    batch, _ = steered(zimage_pipe, [GuidancePlan(0.0), GuidancePlan(1.0), GuidancePlan(4.0)])
    for i, scale in enumerate((0.0, 1.0, 4.0)):
        assert apart(batch[i : i + 1], plain(zimage_pipe, 7, scale)) < CLOSE


@pytest.mark.parametrize("pipe", ["shapes", "sd", "sd3", "qwen"], indirect=True)
def test_the_pipelines_own_guidance_is_left_bit_for_bit(pipe: Any) -> None:
    own = pipe(**call(pipe, (7, 7), 4.0)).images.numpy()
    same, _ = steered(pipe, [GuidancePlan(4.0)] * 2)
    np.testing.assert_array_equal(same, own)
    # Also where another sample of the batch is changed.
    mixed, _ = steered(pipe, [GuidancePlan(4.0), GuidancePlan(8.0, "apg")])
    np.testing.assert_array_equal(mixed[0], own[0])
    assert np.abs(mixed[1] - own[1]).max() > 0


@pytest.mark.parametrize("pipe", ["sd", "flux_cfg", "zimage"], indirect=True)
@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_in_a_batch_is_what_it_is_alone(pipe: Any, method: str) -> None:
    plan = GuidancePlan(5.0, method, {"start": 0.2, "stop": 0.9} if method == "slg" else None)
    batch, _ = steered(pipe, [GuidancePlan(3.0), plan, GuidancePlan(1.0, method)], seeds=(8, 7, 7))
    alone, _ = steered(pipe, [plan])
    assert apart(batch[1:2], alone) < CLOSE
    assert apart(alone, plain(pipe, 7, 5.0)) > 5 * CLOSE
    assert apart(batch[:1], plain(pipe, 8, 3.0)) < CLOSE


@pytest.mark.parametrize("pipe", ["flux_cfg", "sd"], indirect=True)
def test_the_observer_sees_raw_predictions_and_what_the_scheduler_received(pipe: Any) -> None:
    """Zeros tell nothing of which prediction is which; the pipeline's own guided one does."""
    _, trace = steered(pipe, [GuidancePlan(4.0, "cfg_zero_star", {"zero_steps": 1})])
    with observe(pipe) as unsteered:
        pipe(**call(pipe))
    first, reference = trace.steps[0], unsteered.steps[0]
    assert not first.noise_pred.any()
    np.testing.assert_array_equal(first.cond_pred, reference.cond_pred)
    np.testing.assert_array_equal(first.uncond_pred, reference.uncond_pred)
    assert trace.steps[1].noise_pred.any()


def test_a_perturbed_call_is_not_taken_for_one_of_the_pipelines_own(sd_pipe: Any) -> None:
    _, trace = steered(sd_pipe, [GuidancePlan(4.0, "pag")])
    step = trace.steps[0]
    unperturbed = step.uncond_pred + 4.0 * (step.cond_pred - step.uncond_pred)
    assert apart(step.noise_pred, unperturbed) > 1e-4
    with observe(sd_pipe) as unsteered:
        sd_pipe(**call(sd_pipe))
    np.testing.assert_array_equal(step.cond_pred, unsteered.steps[0].cond_pred)


def test_methods_need_two_predictions(flux_pipe: Any) -> None:
    with pytest.raises(CapabilityError, match="one prediction") as caught:
        steered(flux_pipe, [GuidancePlan(4.0, "apg")])
    assert caught.value.field == "guidance_method"


def test_both_perturbations_may_share_a_batch(sd_pipe: Any) -> None:
    plans = [
        GuidancePlan(4.0, "pag"),
        GuidancePlan(4.0, "slg", {"start": 0.0, "stop": 1.0}),
        GuidancePlan(4.0),
    ]
    batch, _ = steered(sd_pipe, plans)
    for i, plan in enumerate(plans):
        assert apart(batch[i : i + 1], steered(sd_pipe, [plan])[0]) < CLOSE
    assert apart(batch[:1], batch[1:2]) > 5 * CLOSE


def test_scales_without_a_known_effect_are_run_one_by_one(flux_cfg_pipe: Any) -> None:
    """Without a negative prompt this FLUX makes one prediction, and takes no guidance either."""
    with pytest.raises(CapabilityError, match="one by one") as caught:
        steered(flux_cfg_pipe, [GuidancePlan(2.0), GuidancePlan(4.0)], guided=False)
    assert caught.value.field == "batch"


def test_an_unknown_formula_takes_methods_and_its_own_scale_but_no_other(sd_pipe: Any) -> None:
    # A rescaled prediction (Lin et al. 2023) stands for a formula that is not known.
    asked = call(sd_pipe, (7, 7), 9.0) | {"guidance_rescale": 1.0}
    alone = sd_pipe(**call(sd_pipe, (7, 7), 9.0), guidance_rescale=1.0).images.numpy()
    plans = [GuidancePlan(9.0), GuidancePlan(9.0, "interval", {"start": 0.0, "stop": 0.0})]
    with steer_guidance(sd_pipe, plans, 9.0):
        images = sd_pipe(**asked).images.numpy()
    np.testing.assert_array_equal(images[0], alone[0])
    assert apart(images[1:], plain(sd_pipe, 7, 1.0)) < CLOSE
    asked = call(sd_pipe, (7, 7), 9.0) | {"guidance_rescale": 1.0}
    with (
        pytest.raises(CapabilityError, match="one by one") as caught,
        steer_guidance(sd_pipe, [GuidancePlan(9.0), GuidancePlan(3.0)], 9.0),
    ):
        sd_pipe(**asked)
    assert caught.value.field == "batch"


def test_equal_predictions_are_no_obstacle(sd_pipe: Any) -> None:
    plans = [GuidancePlan(4.0), GuidancePlan(9.0, "apg"), GuidancePlan(2.0, "pag")]
    batch, _ = steered(sd_pipe, plans, negative="a red circle")
    alone = plain(sd_pipe, 7, 4.0, negative="a red circle")
    assert apart(batch[:1], alone) < CLOSE
    assert apart(batch[1:2], alone) < CLOSE
    assert apart(batch[2:], alone) > 5 * CLOSE


def test_one_sample_of_nan_leaves_the_others_alone(sd_pipe: Any) -> None:
    def spoil(module: Any, args: Any, kwargs: Any, output: Any) -> Any:
        output[0][1::2] = torch.nan
        return output

    hook = sd_pipe.unet.register_forward_hook(spoil, with_kwargs=True)
    try:
        plans = [GuidancePlan(4.0), GuidancePlan(6.0, "tangential")]
        batch, _ = steered(sd_pipe, plans)
    finally:
        hook.remove()
    assert np.isnan(batch[1]).all()
    assert apart(batch[:1], plain(sd_pipe, 7, 4.0)) < CLOSE


@pytest.mark.parametrize("pipe", ["sd", "flux_cfg"], indirect=True)
@pytest.mark.parametrize("ending", ["normal", "exception"])
def test_the_pipeline_is_left_as_it_was(pipe: Any, ending: str) -> None:
    pipe(**call(pipe))
    denoiser = getattr(pipe, "unet", None) or pipe.transformer

    def state() -> Any:
        hooks = [
            {name: dict(value) for name, value in vars(m).items() if name.endswith("_hooks")}
            for m in denoiser.modules()
        ]
        return (
            hooks,
            sorted(vars(pipe.scheduler)),
            sorted(vars(pipe)),
            [m.training for m in denoiser.modules()],
        )

    def on_step_end(pipe: Any, i: int, t: Any, kwargs: Any) -> Any:
        if ending == "exception" and i == 1:
            raise ZeroDivisionError
        return kwargs

    before = state()
    for method in ("pag", "slg"):
        plans = [GuidancePlan(4.0, method, {"start": 0.0, "stop": 1.0})]
        try:
            with steer_guidance(pipe, plans, 4.0):
                pipe(**call(pipe), callback_on_step_end=on_step_end)
        except ZeroDivisionError:
            assert ending == "exception"
    assert state() == before


def test_the_scale_of_the_call_is_one_that_leaves_most_as_it_is() -> None:
    assert own_scale([GuidancePlan(1.0), GuidancePlan(3.0, "apg"), GuidancePlan(7.0)]) == 7.0
    assert own_scale([GuidancePlan(1.0), GuidancePlan(3.0, "apg")]) == 3.0
    assert own_scale([GuidancePlan(0.0), GuidancePlan(1.0)]) == 1.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("formula", ["plain", "shifted", "normed", None])
def test_a_formula_is_known_by_its_result(dtype: Any, formula: str | None) -> None:
    generator = torch.Generator().manual_seed(1)
    c, u = (torch.randn(2, 4, 8, 8, generator=generator).to(dtype) for _ in range(2))
    s = 5.0
    made = {
        "plain": u + s * (c - u),
        "shifted": c + s * (c - u),
        "normed": (u + s * (c - u))
        * (c.norm(dim=-1, keepdim=True) / (u + s * (c - u)).norm(dim=-1, keepdim=True)),
        None: u + s * (c - u).clamp(-0.5, 0.5),
    }[formula]
    assert find_form(made, c, u, s).formula == formula
